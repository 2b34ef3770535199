// The files as CSV, with the columns of `genreflow classify`.

/** A cell as RFC 4180 has it; text that a spreadsheet would run as a formula is kept text by an apostrophe. */
function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "string") return String(value);
  const safe = /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Tracks (`name`, and `answer` or `problem`) as the text of a CSV file. */
export function csv(tracks, labels) {
  const head = ["file", "genre", "confidence", "duration", "short", "error", "message", ...labels.map((label) => `p_${label}`)];
  const rows = tracks.map(({ name, answer, problem }) => [
    name,
    answer?.genre,
    answer?.confidence,
    answer?.duration,
    answer?.short,
    problem?.code,
    problem?.message,
    ...labels.map((label) => answer?.probabilities[label]),
  ]);
  return [head, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

export function download(text, name) {
  // The mark lets spreadsheets read it as UTF-8.
  const url = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
