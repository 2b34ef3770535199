// The service: what is sent, and its refusals in words.

/** Something that went wrong, with a sentence for people; `again` where another try may help. */
export class Problem extends Error {
  constructor(code, message, { again = false } = {}) {
    super(message);
    this.code = code;
    this.again = again;
  }
}

const TOKEN = "genreflow-token";
const BUSY = [429, 503];
const TRIES = 4;
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 15000;

// Beside the page, wherever the service is mounted.
const address = (route) => new URL(`../${route}`, document.baseURI);
const wait = (ms, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => { clearTimeout(timer); reject(signal.reason); }, { once: true });
  });

/** What the service takes: `max_seconds`, `max_bytes`. */
export async function limits() {
  return read(await ask("limits.json", new URL("limits.json", document.baseURI), {}));
}

/** What is served. */
export async function model(signal) {
  return post("model", () => ({ body: "{}", headers: { "Content-Type": "application/json" } }), signal);
}

/** Classify a WAV; `name` is what the service's messages call it. */
export async function classify(wav, name, signal) {
  return post("classify", () => {
    const body = new FormData();
    body.append("audio", wav, name);
    return { body };
  }, signal);
}

async function post(route, make, signal) {
  for (let attempt = 1; ; attempt++) {
    const { body, headers = {} } = make();
    const token = sessionStorage.getItem(TOKEN);
    if (token) headers.Authorization = `Bearer ${token}`;
    const response = await ask(route, address(route), { method: "POST", body, headers, signal });
    if (response.status === 401) {
      await newToken(token);
      attempt = 0;
    } else if (BUSY.includes(response.status) && attempt < TRIES) {
      const asked = 1000 * Number(response.headers.get("Retry-After"));
      await wait(Math.min(asked || FIRST_WAIT_MS * 2 ** (attempt - 1), LONGEST_WAIT_MS), signal);
    } else {
      return read(response);
    }
  }
}

async function ask(route, url, options) {
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
  if (BUSY.includes(response.status)) {
    throw new Problem("busy", "The service has too much to do at the moment. Try again in a minute.", { again: true });
  }
  const { code, message } = answer?.error ?? {};
  if (message) throw new Problem(code, message);
  if (response.status === 413) throw new Problem("too_large", "The file is too large for this service.");
  throw new Problem("service", `The service failed to answer (status ${response.status}).`, { again: true });
}

let asking = null;

/** Ask for a token, once for all requests that wait for one. */
async function newToken(refused) {
  if (sessionStorage.getItem(TOKEN) !== refused) return; // another request has brought one meanwhile
  asking ??= askToken().finally(() => { asking = null; });
  await asking;
}

function askToken() {
  const dialog = document.getElementById("ask");
  const field = document.getElementById("token");
  field.value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve, reject) => {
    dialog.addEventListener("close", () => {
      const given = field.value.trim();
      field.value = "";
      if (dialog.returnValue === "ok" && given) {
        sessionStorage.setItem(TOKEN, given);
        resolve();
      } else {
        reject(new Problem("token", "The service does not answer without a token.", { again: true }));
      }
    }, { once: true });
  });
}
