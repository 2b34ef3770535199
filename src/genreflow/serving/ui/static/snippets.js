// Snippets to copy that call this service from programs; tests/test_serving_snippets.py executes each.

import { codeBlock } from "./code-block.js";
import { byId } from "./dom.js";

/** @type {Record<string, (url: string, token: boolean) => string>} */
const SNIPPETS = {
  curl: (url, token) =>
    // --retry repeats the request at 429 and 503, after as many seconds as the service says.
    `curl --retry 5 ${token ? `-H "Authorization: Bearer $TOKEN" ` : ""}-F audio=@song.mp3 ${url}/classify`,
  Python: (url, token) => `${token ? "import os\n" : ""}import time
from http import HTTPStatus
from pathlib import Path

import bentoml
from bentoml.exceptions import BentoMLException

BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


def classify(client: bentoml.SyncHTTPClient, path: str, attempts: int = 5) -> dict:
    for attempt in range(attempts):
        try:
            return client.classify(audio=Path(path))
        except BentoMLException as error:
            if error.error_code not in BUSY or attempt == attempts - 1:
                raise
            time.sleep(2**attempt)


with bentoml.SyncHTTPClient("${url}"${token ? `, token=os.environ["TOKEN"]` : ""}, timeout=300) as client:
    prediction = classify(client, "song.mp3")
    print(prediction["genre"], prediction["confidence"])
`,
  JavaScript: (url, token) => `// For Node.js 20 or later; a page passes a File, such as that of an <input type="file">.
import { openAsBlob } from "node:fs";

async function classify(file, name, attempts = 5) {
  const body = new FormData();
  body.append("audio", file, name);
  for (let attempt = 1; ; attempt++) {
    const response = await fetch("${url}/classify", {
      method: "POST",
${token ? "      headers: { Authorization: `Bearer ${process.env.TOKEN}` },\n" : ""}      body,
    });
    const answer = await response.json();
    if (response.ok) return answer;
    const busy = response.status === 429 || response.status === 503;
    if (!busy || attempt === attempts) throw new Error(answer.error.message);
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
  }
}

const { genre, confidence } = await classify(await openAsBlob("song.mp3"), "song.mp3");
console.log(genre, confidence);
`,
};

/**
 * Show the snippets, of which one is visible, with the address of this page.
 *
 * @param {boolean} requiresToken Whether the service requires a token.
 */
export function showSnippets(requiresToken) {
  const url = new URL("..", document.baseURI).href.replace(/\/$/, "");
  const languages = Object.keys(SNIPPETS);
  const select = (language) => {
    const text = SNIPPETS[language](url, requiresToken);
    byId("snippet").replaceChildren(codeBlock(text, `Copy the ${language} code`));
  };
  byId("snippet-language").replaceChildren(...languages.map((language) => new Option(language)));
  byId("snippet-language").addEventListener("change", ({ target }) => select(target.value));
  byId("token-hint").hidden = !requiresToken;
  select(languages[0]);
}
