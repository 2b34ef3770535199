// A colour and a pattern for each genre. The ten colours (in style.css) stay apart for every kind of colour blindness;
// the next ten genres have them again with stripes, the ten after with dots. A name always stands beside a colour.

import { element } from "./dom.js";

const COLOURS = 10;
const PATTERNS = ["solid", "stripes", "dots"];
let order = new Map();

/** Deal colours in the order of the model's labels. */
export function deal(labels) {
  order = new Map(labels.map((label, index) => [label, index]));
}

function place(genre) {
  if (!order.has(genre)) order.set(genre, order.size);
  return order.get(genre);
}

export function colour(genre) {
  return `var(--genre-${place(genre) % COLOURS})`;
}

export function pattern(genre) {
  return PATTERNS[Math.floor(place(genre) / COLOURS) % PATTERNS.length];
}

/** Let an element, its `--colour` and its pattern, stand for a genre. */
export function paint(node, genre) {
  node.style.setProperty("--colour", colour(genre));
  node.dataset.pattern = pattern(genre);
  return node;
}

export function swatch(genre) {
  return paint(element("span", { class: "swatch", "aria-hidden": "true" }), genre);
}
