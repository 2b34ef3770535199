// The genre over time: regions merged from overlapping segments, and the time axis.

import { element } from "./dom.js";
import { formatTime } from "./format.js";

/** @import {Segment} from "./api.js" */
/** @typedef {{start: number, end: number, genre: string, confidence: number}} GenreRegion Times in seconds. */

const TICK_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800]; // [s]
const MIN_TICK_WIDTH = 72; // [CSS px]
const MIN_LAST_TICK_WIDTH = 36;

/**
 * Merge overlapping segments into regions without overlaps or gaps.
 *
 * Each moment has the genre of the segment with the nearest centre. Neighbouring segments with the same genre become
 * one region, whose confidence is the mean of theirs.
 *
 * @param {Segment[]} segments In order of time.
 * @param {number} duration [s]
 * @returns {GenreRegion[]}
 */
export function mergeSegments(segments, duration) {
  const centre = ({ start, end }) => (start + end) / 2;
  const regions = [];
  segments.forEach((segment, index) => {
    const next = segments[index + 1];
    const end = next ? (centre(segment) + centre(next)) / 2 : duration;
    const last = regions.at(-1);
    if (last?.genre === segment.genre) {
      last.end = end;
      last.confidences.push(segment.confidence);
    } else {
      regions.push({ start: last ? last.end : 0, end, genre: segment.genre, confidences: [segment.confidence] });
    }
  });
  return regions.map(({ confidences, ...region }) => ({
    ...region,
    confidence: confidences.reduce((sum, value) => sum + value, 0) / confidences.length,
  }));
}

/**
 * Index of the region that contains a time (binary search).
 *
 * @param {GenreRegion[]} regions Not empty.
 * @param {number} seconds
 * @returns {number}
 */
export function regionIndexAt(regions, seconds) {
  let low = 0;
  let high = regions.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (regions[middle].start <= seconds) low = middle;
    else high = middle - 1;
  }
  return low;
}

/**
 * Draw the ticks of a time axis, as many as its width has room for.
 *
 * @param {HTMLElement} axis
 * @param {number} duration [s]
 */
export function drawTimeAxis(axis, duration) {
  const width = axis.clientWidth;
  const maxTicks = Math.max(2, width / MIN_TICK_WIDTH);
  const step = TICK_STEPS.find((seconds) => duration / seconds <= maxTicks) ?? TICK_STEPS.at(-1);
  const ticks = [];
  for (let time = 0; time < duration; time += step) {
    if (time && (1 - time / duration) * width < MIN_LAST_TICK_WIDTH) break;
    const tick = element("span", { text: formatTime(time) });
    tick.style.left = `${(100 * time) / duration}%`;
    ticks.push(tick);
  }
  axis.replaceChildren(...ticks);
}
