// How a stretch of genre looks: its colour, and its label where there is room.

import { element } from "./dom.js";
import { colour, swatch } from "./palette.js";

// A stretch has its name where the whole of it fits, a mark and a border where those do.
const NAME_PIXELS = (genre) => 36 + 7.5 * genre.length;
const MARK_PIXELS = 26;
const THIN_PIXELS = 6;

/** The surer, the stronger. */
export function tint({ genre, confidence }, active = false) {
  const share = Math.round((active ? 26 : 8) + 16 * confidence);
  return `color-mix(in srgb, ${colour(genre)} ${share}%, transparent)`;
}

/** A mark and a name; inside wavesurfer.js's shadow root the style sheet reaches them by their parts. */
export function label(genre) {
  const mark = swatch(genre);
  mark.setAttribute("part", `mark ${mark.dataset.pattern}`);
  return element("div", { class: "label", children: [mark, element("span", { part: "named", text: genre })] });
}

/** Leave of a stretch and its label what fits into so many pixels. */
export function fitLabel(stretch, content, pixels) {
  stretch.style.borderRightWidth = pixels < THIN_PIXELS ? "0" : "";
  content.style.display = pixels < MARK_PIXELS ? "none" : "";
  content.lastChild.style.display = pixels < NAME_PIXELS(content.textContent) ? "none" : "";
}
