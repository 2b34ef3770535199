// The list of tracks: a table on the page, and the same as CSV.

import { byId, element, linkButton } from "./dom.js";
import { formatCount, formatPercent, formatTime } from "./format.js";
import { swatch } from "./genres.js";
import { describeReason } from "./prediction.js";

/** @import {Track} from "./track-queue.js" */

const isPending = ({ state }) => state === "waiting" || state === "working";

/**
 * How many tracks were classified, are unfamiliar or uncertain, or failed.
 *
 * @param {Track[]} tracks
 * @returns {string}
 */
export function summarize(tracks) {
  const counts = {
    classified: tracks.filter(({ prediction }) => prediction && prediction.genre !== null).length,
    unfamiliar: tracks.filter(({ prediction }) => prediction?.reason === "unfamiliar").length,
    uncertain: tracks.filter(({ prediction }) => prediction?.reason === "uncertain").length,
    failed: tracks.filter(({ state }) => state === "failed").length,
  };
  const parts = Object.entries(counts).filter(([, count]) => count).map(([outcome, count]) => `${count} ${outcome}`);
  return `${formatCount(tracks.length, "file")}: ${parts.join(", ")}`;
}

export class TrackList {
  #rows = new Map(); // by track: {row, state}, where `state` is what the row shows
  #callbacks;

  /**
   * @param {object} callbacks
   * @param {(track: Track) => void} callbacks.onOpen
   * @param {(track: Track) => void} callbacks.onRetry
   */
  constructor(callbacks) {
    this.#callbacks = callbacks;
  }

  /**
   * Update the rows whose track has changed.
   *
   * @param {Track[]} tracks
   * @param {{openTrack: Track | null, running: boolean}} state
   */
  update(tracks, { openTrack, running }) {
    const pending = tracks.filter(isPending).length;
    const settled = tracks.length - pending;
    byId("track-list").hidden = tracks.length < 2;
    byId("progress").hidden = !pending;
    byId("progress").max = tracks.length || 1;
    byId("progress").value = settled;
    byId("progress-text").textContent = pending ? `${settled} of ${tracks.length} done` : summarize(tracks);
    byId("pause").hidden = !pending;
    byId("pause").textContent = running ? "Pause" : "Continue";
    byId("csv").disabled = !settled;
    if (tracks.length < 2) return;
    for (const track of tracks) {
      if (!this.#rows.has(track)) {
        this.#rows.set(track, { row: byId("track-rows").appendChild(document.createElement("tr")) });
      }
      const entry = this.#rows.get(track);
      const state = `${track.state} ${track === openTrack}`;
      if (entry.state === state) continue;
      entry.state = state;
      this.#fillRow(entry.row, track, track === openTrack);
    }
  }

  clear() {
    this.#rows.clear();
    byId("track-rows").replaceChildren();
  }

  #fillRow(row, track, isOpen) {
    const { onOpen, onRetry } = this.#callbacks;
    const { state, prediction, error, name } = track;
    const hadFocus = row.contains(document.activeElement);
    row.className = state;
    if (isOpen) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
    const title = state === "done" ? linkButton(name, () => onOpen(track)) : element("span", { text: name });
    let cells;
    if (prediction) {
      cells = predictionCells(prediction);
    } else if (error) {
      const cell = element("td", { colspan: "3", class: "error", "data-code": error.code, text: error.message });
      const label = { "aria-label": `Try ${name} again` };
      if (error.retryable) cell.append(" ", linkButton("Try again", () => onRetry(track), label));
      cells = [cell];
    } else {
      const text = state === "working" ? "Classifying …" : "Waiting";
      cells = [element("td", { colspan: "3", class: "muted", text })];
    }
    row.replaceChildren(element("th", { scope: "row", children: [title] }), ...cells);
    if (hadFocus) row.querySelector("button")?.focus();
  }
}

function predictionCells(prediction) {
  const { genre, confidence, duration } = prediction;
  const genreNodes = genre === null
    ? [element("span", { class: "uncertain", text: describeReason(prediction) })]
    : [swatch(genre), element("span", { text: genre })];
  return [
    element("td", { children: genreNodes }),
    element("td", { class: "number", text: formatPercent(confidence) }),
    element("td", { class: "number", text: formatTime(duration) }),
  ];
}

/**
 * Settled and pending tracks as CSV, with the columns of `genreflow classify`.
 *
 * @param {Track[]} tracks
 * @param {string[]} labels Of the model.
 * @returns {string}
 */
export function toCsv(tracks, labels) {
  const columns = ["file", "genre", "reason", "confidence", "unfamiliarity", "duration", "short", "error", "message"];
  const header = [...columns, ...labels.map((label) => `p_${label}`)];
  const rows = tracks.map(({ name, prediction, error }) => [
    name,
    prediction?.genre,
    prediction?.reason,
    prediction?.confidence,
    prediction?.unfamiliarity,
    prediction?.duration,
    prediction?.short,
    error?.code,
    error?.message,
    ...labels.map((label) => prediction?.probabilities[label]),
  ]);
  return [header, ...rows].map((row) => `${row.map(csvField).join(",")}\r\n`).join("");
}

/** Quote a field as in RFC 4180. A leading apostrophe keeps a spreadsheet from running text as a formula. */
function csvField(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return String(value);
  const safe = /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/**
 * Save text as a CSV file.
 *
 * @param {string} text
 * @param {string} fileName
 */
export function downloadCsv(text, fileName) {
  // Spreadsheets recognise UTF-8 by the byte order mark.
  const url = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = fileName;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
