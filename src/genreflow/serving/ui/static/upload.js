// Requests whose progress is shown: how much of the body is sent, and then how far the service is.

/**
 * @typedef {object} ProgressHandlers
 * @property {(share: number) => void} onSent Called while the body is sent, with the share of it in [0, 1].
 * @property {(seconds: number) => void} onProcessed Called with how much audio the service has processed [s].
 */

/**
 * Send a request as `fetch` does, which has no progress.
 *
 * The service sends lines of JSON while it processes the audio, the last of which is the answer.
 *
 * @param {URL} url
 * @param {{method: string, headers: Record<string, string>, body: FormData, signal: AbortSignal}} options
 * @param {ProgressHandlers} handlers
 * @returns {Promise<Response>}
 */
export function upload(url, { method, headers, body, signal }, { onSent, onProcessed }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.setRequestHeader("Accept", "application/x-ndjson, application/json");
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = ({ loaded, total }) => onSent(loaded / total);
    request.onprogress = () => {
      const seconds = lastLine(request)?.progress?.seconds;
      if (seconds) onProcessed(seconds);
    };
    request.onload = () => resolve(responseOf(request));
    request.onerror = () => reject(new TypeError("network error"));
    request.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.send(body);
  });
}

const isStream = (request) => request.getResponseHeader("Content-Type")?.startsWith("application/x-ndjson");

/** The last complete line of a stream, null if there is none. */
function lastLine(request) {
  const line = isStream(request) && request.responseText.split("\n").at(-2);
  return line ? JSON.parse(line) : null;
}

function responseOf(request) {
  if (isStream(request)) {
    const { status = 502, body = null } = lastLine(request) ?? {}; // without an answer, the service failed
    return Response.json(body, { status });
  }
  const retryAfter = request.getResponseHeader("Retry-After");
  return new Response(request.responseText, {
    status: request.status,
    headers: retryAfter ? { "Retry-After": retryAfter } : {},
  });
}
