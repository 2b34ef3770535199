// Several tracks in a table.

import { byId, element } from "./dom.js";
import { clock, percent, plural } from "./format.js";
import { swatch } from "./palette.js";

const isLeft = ({ state }) => state === "waiting" || state === "working";

/** How many tracks have what, in one sentence. */
export function summary(tracks) {
  const count = (test) => tracks.filter(test).length;
  const parts = [
    [count(({ answer }) => answer && answer.genre !== null), "with a genre"],
    [count(({ answer }) => answer?.genre === null), "not sure"],
    [count(({ state }) => state === "failed"), "failed"],
  ];
  return `${plural(tracks.length, "file")}: ${parts.filter(([number]) => number).map(([number, what]) => `${number} ${what}`).join(", ")}`;
}

export class List {
  #rows = new Map(); // by track: its row, and the state that the row shows

  /** `onOpen(track)` and `onAgain(track)` are called for what is chosen. */
  constructor({ onOpen, onAgain }) {
    Object.assign(this, { onOpen, onAgain });
  }

  /** Draw what has changed of the tracks; `open` is the one on the deck, `running` whether work is under way. */
  draw(tracks, { open, running }) {
    const many = tracks.length > 1;
    byId("tracks").hidden = !many;
    const left = tracks.filter(isLeft).length;
    const done = tracks.length - left;
    byId("progress").hidden = !left;
    byId("progress").max = tracks.length || 1;
    byId("progress").value = done;
    byId("progress-text").textContent = left ? `${done} of ${tracks.length} done` : summary(tracks);
    byId("halt").hidden = !left;
    byId("halt").textContent = running ? "Pause" : "Continue";
    byId("csv").disabled = !done;
    if (!many) return;
    for (const track of tracks) {
      if (!this.#rows.has(track)) this.#rows.set(track, { row: byId("rows").appendChild(document.createElement("tr")) });
      const known = this.#rows.get(track);
      const state = `${track.state} ${track === open}`;
      if (known.state === state) continue;
      known.state = state;
      this.#fill(known.row, track, track === open);
    }
  }

  clear() {
    this.#rows.clear();
    byId("rows").replaceChildren();
  }

  #fill(row, track, isOpen) {
    const { state, answer, problem, name } = track;
    const focused = row.contains(document.activeElement);
    row.className = state;
    if (isOpen) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
    const title = state === "done" ? link({ text: name }, () => this.onOpen(track)) : element("span", { text: name });
    let cells;
    if (answer) {
      cells = answerCells(answer);
    } else if (problem) {
      const cell = element("td", { colspan: "3", class: "problem", text: problem.message });
      if (problem.again) cell.append(" ", link({ text: "Try again", "aria-label": `Try ${name} again` }, () => this.onAgain(track)));
      cells = [cell];
    } else {
      cells = [element("td", { colspan: "3", class: "muted", text: state === "working" ? "listening …" : "waiting" })];
    }
    row.replaceChildren(element("th", { scope: "row", children: [title] }), ...cells);
    if (focused) row.querySelector("button")?.focus();
  }
}

function answerCells({ genre, confidence, duration }) {
  const named = genre === null
    ? [element("span", { class: "unsure", text: "not sure" })]
    : [swatch(genre), element("span", { text: genre })];
  return [
    element("td", { children: named }),
    element("td", { class: "number", text: percent(confidence) }),
    element("td", { class: "number", text: clock(duration) }),
  ];
}

function link(attributes, act) {
  const button = element("button", { type: "button", class: "link", ...attributes });
  button.addEventListener("click", act);
  return button;
}
