// What is served: the model and what the service takes.

import { limits as fetchLimits, model as fetchModel } from "./api.js";
import { byId, element } from "./dom.js";
import { plural } from "./format.js";
import { deal, swatch } from "./palette.js";

let met = null;
let known = [];

/** The service's `limits` and `model`; asked for once, and again where that failed. */
export function meet() {
  met ??= introduce().catch((error) => {
    met = null;
    throw error;
  });
  return met;
}

/** The genres of the model, as far as the service has said. */
export const labels = () => known;

async function introduce() {
  const [limits, model] = await Promise.all([fetchLimits(), fetchModel()]);
  known = model.labels;
  deal(known);
  showModel(model);
  return { limits, model };
}

function showModel({ name, version, architecture, segment_seconds, sample_rate, leaking }) {
  byId("model").replaceChildren(
    element("strong", { text: name }),
    version ? ` version ${version}` : " without a version",
    ` · ${architecture} · ${plural(known.length, "genre")} · hears ${segment_seconds.toFixed(1)} s at a time, ${(sample_rate / 1000).toLocaleString("en")} kHz`,
    ...(leaking ? [element("strong", { text: " · measured on data it partly knew" })] : []),
  );
  byId("genres").replaceChildren(...known.map((label) => element("li", { children: [swatch(label), element("span", { text: label })] })));
}
