// Example clips for those who have no music at hand. The demo has composed them, for artists that its data do not have
// (docs/make_examples.py); a model of other music does not know their styles.

import { byId, element } from "./dom.js";
import { UserError, hideError, showError } from "./messages.js";

/** @import {FilesHandler} from "./audio-input.js" */

const EXAMPLES = [
  { file: "ragtime.mp3", title: "Ragtime" },
  { file: "metal.mp3", title: "Metal" },
  { file: "bossa-then-techno.mp3", title: "Bossa, then techno" },
];

/**
 * Show a button for each example.
 *
 * @param {FilesHandler} onFiles Called with the file of the button that was pressed.
 */
export function showExamples(onFiles) {
  byId("example-list").replaceChildren(
    ...EXAMPLES.map((example) => {
      const button = element("button", { type: "button", text: example.title });
      button.addEventListener("click", () => open(example, onFiles));
      return element("li", { children: [button] });
    }),
  );
  byId("examples").hidden = false;
}

async function open({ file, title }, onFiles) {
  hideError();
  try {
    const response = await fetch(new URL(`examples/${file}`, document.baseURI));
    if (!response.ok) throw new Error(`status ${response.status}`);
    onFiles([new File([await response.blob()], `${title}.mp3`, { type: "audio/mpeg" })]);
  } catch (error) {
    const message = `The example could not be loaded: ${error.message}.`;
    showError(new UserError("unreachable", message, { retryable: true }), () => open({ file, title }, onFiles));
  }
}
