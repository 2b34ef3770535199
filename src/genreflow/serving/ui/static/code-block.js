// Code with a button that copies it.

import { byId, element } from "./dom.js";

const COPIED_MS = 2000;

/**
 * @param {string} text
 * @param {string | null} [copyLabel] Name of the button; null: there is none.
 * @returns {HTMLElement}
 */
export function codeBlock(text, copyLabel = null) {
  const code = element("pre", { tabindex: "0", children: [element("code", { text })] });
  if (!copyLabel) return element("div", { class: "code-block", children: [code] });
  const button = element("button", { type: "button", class: "copy", "aria-label": copyLabel, text: "Copy" });
  button.addEventListener("click", () => copy(code, button));
  return element("div", { class: "code-block", children: [code, button] });
}

async function copy(code, button) {
  // Browsers offer the clipboard only on localhost and over HTTPS; elsewhere the text is selected instead.
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } else {
    getSelection().selectAllChildren(code);
    button.textContent = "Press Ctrl+C";
  }
  byId("status").textContent = button.textContent;
  setTimeout(() => { button.textContent = "Copy"; }, COPIED_MS);
}
