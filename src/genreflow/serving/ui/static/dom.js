// DOM helpers of both pages.

/**
 * The element with an id that index.html or docs.html has.
 *
 * @param {string} id
 * @returns {any} The caller knows which kind of element it is.
 */
export const byId = (id) => document.getElementById(id);

/**
 * Create an element. `text` and attribute values are never parsed as markup.
 *
 * @param {string} tag
 * @param {{text?: string, children?: (Node | string)[], [attribute: string]: any}} [content] Attributes that are null
 *   or undefined are left out.
 * @returns {any}
 */
export function element(tag, { text, children = [], ...attributes } = {}) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/**
 * A button that looks like a link.
 *
 * @param {string} text
 * @param {() => void} onClick
 * @param {Record<string, string>} [attributes]
 * @returns {HTMLButtonElement}
 */
export function linkButton(text, onClick, attributes = {}) {
  const button = element("button", { type: "button", class: "link", text, ...attributes });
  button.addEventListener("click", onClick);
  return button;
}

/**
 * The current value of a custom property of the style sheet, for drawing on a canvas.
 *
 * @param {string} name Such as "--waveform".
 * @returns {string}
 */
export const cssVariable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
