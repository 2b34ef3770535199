// The served model and the limits of the service: loaded once, shown at the foot of the page.

import { fetchLimits, fetchModel } from "./api.js";
import { byId, element } from "./dom.js";
import { formatCount } from "./format.js";
import { assignColors, swatch } from "./genres.js";

/** @import {Limits, ModelInfo} from "./api.js" */

let pending = null;
let labels = [];

/**
 * Load the model's description and the limits, once; a failed attempt is repeated by the next call.
 *
 * @returns {Promise<{limits: Limits, model: ModelInfo}>}
 */
export function loadModelInfo() {
  pending ??= fetchModelInfo().catch((error) => {
    pending = null;
    throw error;
  });
  return pending;
}

/**
 * The genres of the model.
 *
 * @returns {string[]} Empty until the model's description is loaded.
 */
export const modelLabels = () => labels;

async function fetchModelInfo() {
  const [limits, model] = await Promise.all([fetchLimits(), fetchModel()]);
  labels = model.labels;
  assignColors(labels);
  showModel(model);
  return { limits, model };
}

/** @param {ModelInfo} model */
function showModel({ name, version, architecture, segment_seconds, sample_rate, leaking, notice, embedder }) {
  const facts = [
    version ? `version ${version}` : "no version",
    architecture,
    formatCount(labels.length, "genre"),
    `${segment_seconds.toFixed(1)} s segments`,
    `${(sample_rate / 1000).toLocaleString("en")} kHz`,
    ...(embedder ? [`pretrained ${embedder.name} (licence: ${embedder.licence})`] : []),
  ];
  byId("model").replaceChildren(
    element("strong", { text: name }),
    ` ${facts.join(" · ")}`,
    ...(leaking ? [element("strong", { text: " · train/test leakage: metrics are optimistically biased" })] : []),
  );
  byId("model-notice").textContent = notice ?? "";
  byId("model-notice").hidden = !notice;
  byId("genres").replaceChildren(
    ...labels.map((label) => element("li", { children: [swatch(label), element("span", { text: label })] })),
  );
}
