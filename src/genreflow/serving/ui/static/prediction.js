// The prediction for a track: genre, probabilities, and the table of regions.

import { byId, element, linkButton } from "./dom.js";
import { formatCount, formatPercent, formatPreciseTime } from "./format.js";
import { styleAsGenre, swatch } from "./genres.js";

/** @import {Prediction} from "./api.js" */
/** @import {GenreRegion} from "./timeline.js" */

const MAX_BARS = 8; // further genres are in a closed <details>

const mostLikely = ({ probabilities }) => Object.keys(probabilities)[0];

/**
 * What stands in place of a genre where there is none.
 *
 * @param {Prediction} prediction
 * @returns {string}
 */
export const describeReason = ({ reason }) => (reason === "unfamiliar" ? "Unfamiliar" : "Uncertain");

/**
 * A prediction as a sentence, for screen readers.
 *
 * @param {string} name Of the track.
 * @param {Prediction} prediction
 * @returns {string}
 */
export function describePrediction(name, prediction) {
  const percent = formatPercent(prediction.confidence);
  if (prediction.genre !== null) return `${name}: ${prediction.genre}, ${percent}.`;
  if (prediction.reason === "unfamiliar") return `${name}: unfamiliar, unlike the music this model was trained on.`;
  return `${name}: uncertain, most likely ${mostLikely(prediction)}, ${percent}.`;
}

/** @param {Prediction} prediction */
export function showPrediction(prediction) {
  showGenre(prediction);
  const bars = Object.entries(prediction.probabilities).map(([genre, probability]) => bar(genre, probability));
  byId("probabilities").replaceChildren(...bars.slice(0, MAX_BARS));
  const others = bars.slice(MAX_BARS);
  const details = byId("other-genres");
  details.hidden = !others.length;
  details.querySelector("summary").textContent = formatCount(others.length, "more genre");
  details.querySelector("ol").replaceChildren(...others);
  byId("prediction").hidden = false;
}

function showGenre(prediction) {
  const { genre, reason, confidence, short, model } = prediction;
  const heading = byId("predicted-genre");
  heading.classList.toggle("uncertain", genre === null);
  heading.replaceChildren(
    ...(genre === null ? [] : [swatch(genre)]),
    element("span", { class: "genre", text: genre ?? describeReason(prediction) }),
    ...(genre === null ? [] : [element("span", { class: "confidence", text: formatPercent(confidence) })]),
  );
  const notes = [];
  if (reason === "unfamiliar") {
    notes.push("This audio is unlike the music this model was trained on, so the genres below mean little.");
  } else if (reason === "uncertain") {
    const candidate = `${mostLikely(prediction)} (${formatPercent(confidence)})`;
    notes.push(`The model is not confident enough to choose a genre. The most likely one is ${candidate}.`);
  }
  if (short) notes.push("The audio is shorter than one segment of the model, so the prediction is less reliable.");
  if (model.leaking) notes.push("The model's metrics are optimistically biased (train/test leakage).");
  byId("prediction-notes").textContent = notes.join(" ");
  byId("prediction-notes").hidden = !notes.length;
}

function bar(genre, probability) {
  const fill = styleAsGenre(element("span", { class: "bar-fill" }), genre);
  fill.style.width = `${100 * probability}%`;
  return element("li", {
    children: [
      element("span", { class: "label", text: genre }),
      element("span", { class: "bar", "aria-hidden": "true", children: [fill] }),
      element("span", { class: "number", text: formatPercent(probability) }),
    ],
  });
}

/**
 * Fill the table of regions.
 *
 * @param {GenreRegion[]} regions
 * @param {((seconds: number) => void) | null} seek Called with the start of a chosen region; null if the track cannot
 *   be played.
 */
export function showRegions(regions, seek) {
  byId("regions").replaceChildren(
    ...regions.map(({ start, end, genre, confidence }) => {
      const time = formatPreciseTime(start);
      const startNode = seek
        ? linkButton(time, () => seek(start), { "aria-label": `Go to ${time}` })
        : element("span", { text: time });
      return element("tr", {
        children: [
          element("td", { class: "number", children: [startNode] }),
          element("td", { class: "number", text: formatPreciseTime(end) }),
          element("td", { children: [swatch(genre), element("span", { text: genre })] }),
          element("td", { class: "number", text: formatPercent(confidence) }),
        ],
      });
    }),
  );
}

/**
 * Mark the region at the playhead and scroll the table to it.
 *
 * @param {number} index
 */
export function markRegion(index) {
  const body = byId("regions");
  body.querySelector("[aria-current]")?.removeAttribute("aria-current");
  const row = body.children[index];
  if (!row) return;
  row.setAttribute("aria-current", "true");
  const scrollArea = row.closest(".scroll-area");
  const { top, bottom } = row.getBoundingClientRect();
  const visible = scrollArea.getBoundingClientRect();
  const visibleTop = visible.top + scrollArea.querySelector("thead").offsetHeight;
  if (top < visibleTop) scrollArea.scrollTop -= visibleTop - top;
  else if (bottom > visible.bottom) scrollArea.scrollTop += bottom - visible.bottom;
}

export function hidePrediction() {
  byId("prediction").hidden = true;
}
