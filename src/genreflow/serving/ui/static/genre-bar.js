// The regions of a track without a waveform, as a bar with a time axis; the browser's own player plays it, if it can.

import { byId, element } from "./dom.js";
import { fitRegionLabel, regionColor, regionLabel } from "./genres.js";
import { markRegion } from "./prediction.js";
import { drawTimeAxis, regionIndexAt } from "./timeline.js";

/** @import {GenreRegion} from "./timeline.js" */

const UNDECODABLE = "This browser cannot decode this format, so there is no playback, waveform or spectrogram. The service has decoded and classified the file.";
const LONG = "Files longer than 15 minutes have no waveform and spectrogram. Click on the bar, or on a time in the table, to listen there.";

export class GenreBar {
  /** @type {GenreRegion[]} */
  #regions = [];
  #duration = 0;
  #url = "";

  constructor() {
    new ResizeObserver(() => this.#layout()).observe(byId("genre-bar"));
    byId("genre-bar").addEventListener("click", (event) => {
      const { left, width } = byId("genre-bar").getBoundingClientRect();
      this.seek(((event.clientX - left) / width) * this.#duration);
    });
    byId("long-audio").addEventListener("timeupdate", ({ target }) => {
      if (this.#regions.length) markRegion(regionIndexAt(this.#regions, target.currentTime));
    });
  }

  get playable() {
    return this.#url !== "";
  }

  /** @param {File | null} file Null if the browser cannot play it. */
  open(file) {
    this.close();
    byId("undecodable").hidden = false;
    byId("undecodable").classList.toggle("playable", file !== null);
    byId("undrawn-reason").textContent = file ? LONG : UNDECODABLE;
    byId("long-audio").hidden = !file;
    if (!file) return;
    this.#url = URL.createObjectURL(file);
    byId("long-audio").src = this.#url;
  }

  /**
   * @param {GenreRegion[]} regions
   * @param {number} duration [s]
   */
  show(regions, duration) {
    this.#regions = regions;
    this.#duration = duration;
    byId("genre-bar").replaceChildren(
      ...regions.map((region) => {
        const node = element("div", { class: "region", children: [regionLabel(region.genre)] });
        node.style.left = `${(100 * region.start) / duration}%`;
        node.style.width = `${(100 * (region.end - region.start)) / duration}%`;
        node.style.backgroundColor = regionColor(region);
        return node;
      }),
    );
    this.#layout();
  }

  /** @param {number} seconds */
  seek(seconds) {
    if (!this.playable) return;
    byId("long-audio").currentTime = seconds;
    byId("long-audio").play().catch(() => {}); // rejected if it is paused or closed before it has started
  }

  close() {
    this.#regions = [];
    byId("undecodable").hidden = true;
    if (!this.playable) return;
    byId("long-audio").pause();
    byId("long-audio").removeAttribute("src");
    byId("long-audio").load();
    URL.revokeObjectURL(this.#url);
    this.#url = "";
  }

  #layout() {
    if (!this.#regions.length) return;
    const bar = byId("genre-bar");
    this.#regions.forEach(({ start, end }, index) => {
      const node = bar.children[index];
      fitRegionLabel(node, node.firstChild, ((end - start) / this.#duration) * bar.clientWidth);
    });
    drawTimeAxis(byId("genre-bar-axis"), this.#duration);
  }
}
