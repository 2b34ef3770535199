// Elements of the page.

export const byId = (id) => document.getElementById(id);

/** An element with text and attributes; text is never markup. */
export function element(tag, { text, children = [], ...attributes } = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** What the style sheet says now, for what is drawn on a canvas. */
export const styled = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
