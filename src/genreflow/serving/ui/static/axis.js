// Times below what is drawn.

import { element } from "./dom.js";
import { clock } from "./format.js";

const TICK_SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800];
const TICK_PIXELS = 72;
const LAST_TICK_PIXELS = 36;

/** As many times as have room on an axis of `duration` seconds. */
export function drawAxis(axis, duration) {
  const width = axis.clientWidth;
  const most = Math.max(2, width / TICK_PIXELS);
  const step = TICK_SECONDS.find((seconds) => duration / seconds <= most) ?? TICK_SECONDS.at(-1);
  const marks = [];
  for (let at = 0; at < duration; at += step) {
    if (at && (1 - at / duration) * width < LAST_TICK_PIXELS) break;
    const mark = element("span", { text: clock(at) });
    mark.style.left = `${(100 * at) / duration}%`;
    marks.push(mark);
  }
  axis.replaceChildren(...marks);
}
