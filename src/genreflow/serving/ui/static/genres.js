// How a genre looks: its colour and pattern, its swatch, and its label inside a region of the timeline.
//
// The ten colours in style.css are distinguishable with every kind of colour blindness. Genres 11 to 20 repeat them
// with stripes, 21 to 30 with dots. A colour is never the only sign of a genre: its name is always beside it.

import { element } from "./dom.js";

/** @import {GenreRegion} from "./timeline.js" */

const N_COLORS = 10;
const PATTERNS = ["solid", "stripes", "dots"];
// Widths from which a region has room for its name, its swatch and a border [CSS px].
const nameWidth = (genre) => 36 + 7.5 * genre.length;
const SWATCH_WIDTH = 26;
const BORDER_WIDTH = 6;

/** @type {Map<string, number>} */
let indices = new Map();

/**
 * Assign colours in the order of the model's labels.
 *
 * @param {string[]} labels
 */
export function assignColors(labels) {
  indices = new Map(labels.map((label, index) => [label, index]));
}

function indexOf(genre) {
  if (!indices.has(genre)) indices.set(genre, indices.size);
  return indices.get(genre);
}

const genreColor = (genre) => `var(--genre-${indexOf(genre) % N_COLORS})`;

/**
 * Give an element the colour and the pattern of a genre; the style sheet reads both.
 *
 * @param {any} node
 * @param {string} genre
 * @returns {any} `node`
 */
export function styleAsGenre(node, genre) {
  node.style.setProperty("--genre-color", genreColor(genre));
  node.dataset.pattern = PATTERNS[Math.floor(indexOf(genre) / N_COLORS) % PATTERNS.length];
  return node;
}

/**
 * A small square in the colour of a genre.
 *
 * @param {string} genre
 * @returns {HTMLElement}
 */
export function swatch(genre) {
  return styleAsGenre(element("span", { class: "swatch", "aria-hidden": "true" }), genre);
}

/**
 * Background colour of a region: the higher the confidence, the more opaque.
 *
 * @param {GenreRegion} region
 * @param {boolean} [highlighted] True for the region at the playhead.
 * @returns {string}
 */
export function regionColor({ genre, confidence }, highlighted = false) {
  const opacity = Math.round((highlighted ? 26 : 8) + 16 * confidence);
  return `color-mix(in srgb, ${genreColor(genre)} ${opacity}%, transparent)`;
}

/**
 * Swatch and name of a genre. Inside the shadow root of wavesurfer.js the style sheet reaches them by their `part`.
 *
 * @param {string} genre
 * @returns {HTMLElement}
 */
export function regionLabel(genre) {
  const square = swatch(genre);
  square.setAttribute("part", `region-swatch ${square.dataset.pattern}`);
  return element("div", { class: "label", children: [square, element("span", { part: "region-name", text: genre })] });
}

/**
 * Hide what does not fit into a region.
 *
 * @param {any} region
 * @param {any} label Made by `regionLabel`.
 * @param {number} width [CSS px]
 */
export function fitRegionLabel(region, label, width) {
  region.style.borderRightWidth = width < BORDER_WIDTH ? "0" : "";
  label.style.display = width < SWATCH_WIDTH ? "none" : "";
  label.lastChild.style.display = width < nameWidth(label.textContent) ? "none" : "";
}
