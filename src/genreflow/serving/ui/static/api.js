// HTTP client of the service: its routes, retries while it is busy, and the token that it may require.

import { byId } from "./dom.js";
import { UserError, withActivity } from "./messages.js";
import { upload } from "./upload.js";

/** @import {ProgressHandlers} from "./upload.js" */

/**
 * @typedef {object} Limits
 * @property {number} max_seconds Longest audio [s].
 * @property {number} max_bytes Largest request body.
 * @property {{days: number, audio: boolean} | null} feedback How long answers, and whether audio, are kept for feedback;
 *   null: the service takes none.
 * @property {boolean} requires_token
 *
 * @typedef {object} ModelInfo
 * @property {string} name
 * @property {string | null} version
 * @property {string} architecture
 * @property {{name: string, licence: string}} [embedder] The pretrained network in the model.
 * @property {string[]} labels
 * @property {number} segment_seconds
 * @property {number} sample_rate [Hz]
 * @property {boolean} [leaking] True if the model's test data overlap its training data.
 * @property {string} [notice] What its users must know.
 * @property {{source?: string}} lineage
 *
 * @typedef {{start: number, end: number, genre: string, confidence: number}} Segment Times in seconds.
 *
 * @typedef {object} Prediction
 * @property {string} prediction_id Random; made by the service.
 * @property {string | null} genre Null if the model abstains.
 * @property {"unfamiliar" | "uncertain" | null} reason Why the model abstains; null if there is a genre.
 * @property {number} confidence The highest probability.
 * @property {number | null} unfamiliarity In [0, 2]; null if the model has no measure.
 * @property {Record<string, number>} probabilities By genre, highest first.
 * @property {Segment[]} segments They overlap.
 * @property {number} duration [s]
 * @property {boolean} short True if the audio is shorter than a segment.
 * @property {{name: string, version: string | null, leaking?: boolean}} model
 */

const BUSY_STATUSES = [429, 503];
const FIRST_RETRY_MS = 1000; // doubled with each retry, unless the service sends Retry-After
const MAX_RETRY_MS = 30_000; // in total
const TOKEN_KEY = "genreflow-token"; // of sessionStorage, which the browser clears when the tab is closed

// Relative to the page, so that the service may be mounted under a path prefix.
const routeUrl = (route) => new URL(`../${route}`, document.baseURI);

/** @returns {Promise<Limits>} */
export async function fetchLimits() {
  return readJson(await request(new URL("limits.json", document.baseURI), {}));
}

/** @returns {Promise<ModelInfo>} */
export async function fetchModel() {
  return post("model", { body: "{}", headers: { "Content-Type": "application/json" } });
}

/**
 * Classify an audio file.
 *
 * @param {Blob} blob
 * @param {string} name The file name that error messages of the service contain.
 * @param {AbortSignal} signal
 * @param {ProgressHandlers} [handlers] Called as the request proceeds.
 * @returns {Promise<Prediction>}
 */
export async function classify(blob, name, signal, handlers) {
  const body = new FormData();
  body.append("audio", blob, name);
  return post("classify", { body, signal, handlers });
}

/**
 * Say what the genre of a classified file is.
 *
 * @param {string} prediction_id
 * @param {string | null} genre Null for none of the model's genres.
 * @param {string} comment
 */
export async function sendFeedback(prediction_id, genre, comment) {
  const body = JSON.stringify({ prediction_id, genre, comment });
  return post("feedback", { body, headers: { "Content-Type": "application/json" } });
}

async function post(route, options) {
  let response = await send(route, options);
  if (BUSY_STATUSES.includes(response.status)) {
    response = await withActivity("The service is busy. Trying again …", () => retry(response, route, options));
  }
  return readJson(response);
}

/** Repeat a request as the service allows, until it is accepted or MAX_RETRY_MS would be exceeded. */
async function retry(response, route, options) {
  const deadline = Date.now() + MAX_RETRY_MS;
  for (let backoff = FIRST_RETRY_MS; BUSY_STATUSES.includes(response.status); backoff *= 2) {
    const delay = 1000 * Number(response.headers.get("Retry-After")) || backoff;
    if (Date.now() + delay > deadline) break;
    await sleep(delay, options.signal);
    response = await send(route, options);
  }
  return response;
}

async function send(route, { headers, ...options }) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN_KEY);
    const authorization = token ? { Authorization: `Bearer ${token}` } : {};
    const allHeaders = { ...headers, ...authorization };
    const response = await request(routeUrl(route), { method: "POST", headers: allHeaders, ...options });
    if (response.status !== 401) return response;
    await replaceToken(token);
  }
}

async function request(url, { handlers, ...options }) {
  try {
    return handlers ? await upload(url, options, handlers) : await fetch(url, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    const message = "The service cannot be reached. Check that it is running and that you are online.";
    throw new UserError("unreachable", message, { retryable: true });
  }
}

async function readJson(response) {
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  if (BUSY_STATUSES.includes(response.status)) {
    throw new UserError("busy", "The service is busy. Try again in a minute.", { retryable: true });
  }
  const retryable = response.ok || response.status === 408 || response.status >= 500;
  const { code, message } = body?.error ?? {};
  if (message) throw new UserError(code, message, { retryable });
  // A proxy answers without the service's error body.
  if (response.status === 413) throw new UserError("too_large", "The file is too large for this service.");
  throw new UserError("service", `The service failed to respond (status ${response.status}).`, { retryable });
}

function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}

let tokenPrompt = null;

/** Ask the user for a token instead of the rejected one; concurrent requests share one dialog. */
async function replaceToken(rejected) {
  if (sessionStorage.getItem(TOKEN_KEY) !== rejected) return; // a concurrent request has replaced it
  tokenPrompt ??= promptForToken().finally(() => { tokenPrompt = null; });
  await tokenPrompt;
}

function promptForToken() {
  const dialog = byId("token-dialog");
  const field = byId("token");
  field.value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve, reject) => {
    dialog.addEventListener("close", () => {
      const token = field.value.trim();
      field.value = "";
      if (dialog.returnValue === "ok" && token) {
        sessionStorage.setItem(TOKEN_KEY, token);
        resolve();
      } else {
        reject(new UserError("unauthorised", "This service requires a token.", { retryable: true }));
      }
    }, { once: true });
  });
}
