// The genres over time of a track that the browser cannot decode: coloured stretches and an axis, without its sound.

import { drawAxis } from "./axis.js";
import { byId, element } from "./dom.js";
import { fitLabel, label, tint } from "./label.js";

export class Ribbon {
  #found = [];
  #duration = 0;

  constructor() {
    new ResizeObserver(() => this.#fit()).observe(byId("ribbon"));
  }

  show(found, duration) {
    this.#found = found;
    this.#duration = duration;
    byId("unplayable").hidden = false;
    byId("ribbon").replaceChildren(
      ...found.map((stretch) => {
        const node = element("div", { class: "stretch", children: [label(stretch.genre)] });
        node.style.left = `${(100 * stretch.start) / duration}%`;
        node.style.width = `${(100 * (stretch.end - stretch.start)) / duration}%`;
        node.style.backgroundColor = tint(stretch);
        return node;
      }),
    );
    this.#fit();
  }

  close() {
    this.#found = [];
    byId("unplayable").hidden = true;
  }

  #fit() {
    if (!this.#found.length) return;
    const width = byId("ribbon").clientWidth;
    this.#found.forEach(({ start, end }, index) => {
      const node = byId("ribbon").children[index];
      fitLabel(node, node.firstChild, ((end - start) / this.#duration) * width);
    });
    drawAxis(byId("ribbon-axis"), this.#duration);
  }
}
