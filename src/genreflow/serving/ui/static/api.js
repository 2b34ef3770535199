// The service: what is sent, and its refusals in words.

import { newToken, token } from "./token.js";
import { Problem, meanwhile } from "./words.js";

const BUSY = [429, 503];
const FIRST_PAUSE_MS = 1000; // twice as long each time, where the service does not say how long
const PATIENCE_MS = 30_000;
const BUSY_WORDS = "The service has too much to do at the moment.";

// Beside the page, wherever the service is mounted.
const address = (route) => new URL(`../${route}`, document.baseURI);

/** What the service takes: `max_seconds`, `max_bytes`. */
export async function limits() {
  return read(await ask(new URL("limits.json", document.baseURI), {}));
}

/** What is served. */
export async function model() {
  return post("model", { body: "{}", headers: { "Content-Type": "application/json" } });
}

/** Classify a blob of audio; `name` is what the service's messages call it. */
export async function classify(blob, name, signal) {
  const body = new FormData();
  body.append("audio", blob, name);
  return post("classify", { body, signal });
}

async function post(route, options) {
  let response = await send(route, options);
  if (BUSY.includes(response.status)) {
    response = await meanwhile(`${BUSY_WORDS} Waiting for its answer …`, patiently(response, route, options));
  }
  return read(response);
}

/** Send again whenever the service says that it may have time, until it has or the patience ends. */
async function patiently(response, route, options) {
  const end = Date.now() + PATIENCE_MS;
  for (let pause = FIRST_PAUSE_MS; BUSY.includes(response.status); pause *= 2) {
    const asked = 1000 * Number(response.headers.get("Retry-After")) || pause;
    if (Date.now() + asked > end) break;
    await wait(asked, options.signal);
    response = await send(route, options);
  }
  return response;
}

async function send(route, { headers, ...options }) {
  for (;;) {
    const given = token();
    const allowed = given ? { Authorization: `Bearer ${given}` } : {};
    const response = await ask(address(route), { method: "POST", headers: { ...headers, ...allowed }, ...options });
    if (response.status !== 401) return response;
    await newToken(given);
  }
}

async function ask(url, options) {
  try {
    return await fetch(url, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("away", "The service cannot be reached. Is it still running, and are you still online?", { again: true });
  }
}

async function read(response) {
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  if (BUSY.includes(response.status)) throw new Problem("busy", `${BUSY_WORDS} Try again in a minute.`, { again: true });
  const again = response.ok || response.status === 408 || response.status >= 500;
  const { code, message } = answer?.error ?? {};
  if (message) throw new Problem(code, message, { again });
  if (response.status === 413) throw new Problem("too_large", "The file is too large for this service.");
  throw new Problem("service", `The service failed to answer (status ${response.status}).`, { again });
}

function wait(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });
}
