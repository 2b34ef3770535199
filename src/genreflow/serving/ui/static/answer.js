// The answer about a track: what the whole is, how likely each genre, and the stretches as a table.

import { byId, element } from "./dom.js";
import { percent, plural, preciseClock } from "./format.js";
import { paint, swatch } from "./palette.js";

const SHOWN_BARS = 8;

/** One sentence for an answer, for screen readers and the title. */
export function sentence(name, { genre, confidence, probabilities }) {
  if (genre !== null) return `${name}: ${genre}, ${percent(confidence)}.`;
  return `${name}: not sure; the closest is ${Object.keys(probabilities)[0]}, ${percent(confidence)}.`;
}

export function showAnswer(answer) {
  const { genre, confidence, probabilities, short, model } = answer;
  const likeliest = Object.keys(probabilities)[0];
  const verdict = byId("verdict");
  verdict.classList.toggle("unsure", genre === null);
  verdict.replaceChildren(
    ...(genre === null ? [] : [swatch(genre)]),
    element("span", { class: "genre", text: genre ?? "Not sure" }),
    ...(genre === null ? [] : [element("span", { class: "share", text: percent(confidence) })]),
  );
  const notes = [];
  if (genre === null) notes.push(`The model is not sure enough to name a genre; the closest is ${likeliest} with ${percent(confidence)}.`);
  if (short) notes.push("The audio is shorter than what the model hears at a time, so take this with a grain of salt.");
  if (model.leaking) notes.push("The model was measured on data it partly knew: its figures flatter.");
  byId("verdict-note").textContent = notes.join(" ");
  byId("verdict-note").hidden = !notes.length;
  const bars = Object.entries(probabilities).map(([label, share]) => bar(label, share));
  byId("bars").replaceChildren(...bars.slice(0, SHOWN_BARS));
  const rest = bars.slice(SHOWN_BARS);
  const more = byId("more");
  more.hidden = !rest.length;
  more.querySelector("summary").textContent = plural(rest.length, "more genre");
  more.querySelector("ol").replaceChildren(...rest);
  byId("results").hidden = false;
}

function bar(label, share) {
  const fill = paint(element("span", { class: "fill" }), label);
  fill.style.width = `${100 * share}%`;
  return element("li", {
    children: [
      element("span", { class: "label", text: label }),
      element("span", { class: "track", "aria-hidden": "true", children: [fill] }),
      element("span", { class: "number", text: percent(share) }),
    ],
  });
}

/** The stretches as a table; `seek`, where there is something to play, is called with the start of one that is chosen. */
export function showStretches(found, seek) {
  byId("stretches").replaceChildren(
    ...found.map(({ start, end, genre, confidence }) => {
      const from = seek
        ? element("button", { type: "button", class: "link", text: preciseClock(start), "aria-label": `Go to ${preciseClock(start)}` })
        : element("span", { text: preciseClock(start) });
      if (seek) from.addEventListener("click", () => seek(start));
      return element("tr", {
        children: [
          element("td", { class: "number", children: [from] }),
          element("td", { class: "number", text: preciseClock(end) }),
          element("td", { children: [swatch(genre), element("span", { text: genre })] }),
          element("td", { class: "number", text: percent(confidence) }),
        ],
      });
    }),
  );
}

/** Mark the stretch that plays, and keep it in view inside its list. */
export function markStretch(index) {
  const rows = byId("stretches").children;
  byId("stretches").querySelector("[aria-current]")?.removeAttribute("aria-current");
  const row = rows[index];
  if (!row) return;
  row.setAttribute("aria-current", "true");
  const list = row.closest(".scroller");
  const { top, bottom } = row.getBoundingClientRect();
  const outer = list.getBoundingClientRect();
  const head = list.querySelector("thead").offsetHeight;
  if (top < outer.top + head) list.scrollTop -= outer.top + head - top;
  else if (bottom > outer.bottom) list.scrollTop += bottom - outer.bottom;
}

export function hideAnswer() {
  byId("results").hidden = true;
}
