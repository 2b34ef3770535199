// Messages to the user: errors, what is in progress, and status announcements for screen readers.

import { byId } from "./dom.js";

/** An error whose message is a sentence for the user. */
export class UserError extends Error {
  /**
   * @param {string} code One of the service's error codes, or of this page's own.
   * @param {string} message
   * @param {{retryable?: boolean}} [options] `retryable`: the same request may succeed later.
   */
  constructor(code, message, { retryable = false } = {}) {
    super(message);
    this.code = code;
    this.retryable = retryable;
  }
}

/**
 * Announce a text to screen readers; it is not visible.
 *
 * @param {string} text
 */
export function announce(text) {
  byId("status").textContent = text;
}

/**
 * Show an error until it is dismissed or hidden.
 *
 * @param {Error} error
 * @param {(() => void) | null} [retry] Called by the button "Try again", which only a retryable error has.
 */
export function showError(error, retry = null) {
  announce(""); // what was in progress; the notice announces itself
  byId("notice-text").textContent = error.message;
  byId("notice").dataset.code = error instanceof UserError ? error.code : "page";
  byId("notice").hidden = false;
  const button = byId("retry");
  button.hidden = !(retry && error instanceof UserError && error.retryable);
  button.onclick = retry;
}

export function hideError() {
  byId("notice").hidden = true;
}

const activities = [];

/**
 * Show a text while a function runs. Of several such texts the latest is visible.
 *
 * @template T
 * @param {string} text
 * @param {(report: (text: string, share: number) => void) => Promise<T>} run `report` changes the text, and shows which
 *   share in [0, 1] is done; only the first text is announced.
 * @returns {Promise<T>} Settles as that of `run` does.
 */
export async function withActivity(text, run) {
  const activity = { text, share: null };
  activities.push(activity);
  announce(text);
  showLatestActivity();
  try {
    return await run((newText, share) => {
      Object.assign(activity, { text: newText, share });
      showLatestActivity();
    });
  } finally {
    activities.splice(activities.indexOf(activity), 1);
    showLatestActivity();
  }
}

function showLatestActivity() {
  const { text = "", share = null } = activities.at(-1) ?? {};
  byId("activity-text").textContent = text;
  byId("activity-progress").hidden = share === null;
  byId("activity-progress").value = share ?? 0;
  byId("activity").hidden = !activities.length;
}
