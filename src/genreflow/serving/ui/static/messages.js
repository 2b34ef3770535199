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
 * Show a text until a promise settles. Of several such texts the latest is visible.
 *
 * @template T
 * @param {string} text
 * @param {Promise<T>} promise
 * @returns {Promise<T>} Settles as `promise` does.
 */
export async function withActivity(text, promise) {
  const activity = { text };
  activities.push(activity);
  announce(text);
  showLatestActivity();
  try {
    return await promise;
  } finally {
    activities.splice(activities.indexOf(activity), 1);
    showLatestActivity();
  }
}

function showLatestActivity() {
  byId("activity-text").textContent = activities.at(-1)?.text ?? "";
  byId("activity").hidden = !activities.length;
}
