// What the page says: what went wrong, what is waited for, and quiet words for screen readers.

import { byId } from "./dom.js";

/** Something that went wrong, with a sentence for people; `again` where another try may help. */
export class Problem extends Error {
  constructor(code, message, { again = false } = {}) {
    super(message);
    this.code = code;
    this.again = again;
  }
}

export function say(text) {
  byId("status").textContent = text;
}

export function tell(problem, retry = null) {
  byId("notice-text").textContent = problem.message;
  byId("notice").hidden = false;
  const button = byId("again");
  button.hidden = !(retry && problem.again);
  button.onclick = retry;
}

export function quiet() {
  byId("notice").hidden = true;
}

const waits = [];

/** Show a sentence for as long as a promise takes; of several, the last one. */
export async function meanwhile(text, promise) {
  const wait = { text };
  waits.push(wait);
  say(text);
  showWait();
  try {
    return await promise;
  } finally {
    waits.splice(waits.indexOf(wait), 1);
    showWait();
  }
}

function showWait() {
  byId("meanwhile-text").textContent = waits.at(-1)?.text ?? "";
  byId("meanwhile").hidden = !waits.length;
}
