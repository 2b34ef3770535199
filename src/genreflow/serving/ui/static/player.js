// The player of a track that the browser can decode: its sound, the playhead through its lanes, and the keys.

import { wav } from "./audio.js";
import { stretchAt } from "./bands.js";
import { byId } from "./dom.js";
import { clock, percent } from "./format.js";
import { Lanes } from "./lanes.js";
import { paint } from "./palette.js";

const SEEK_SECONDS = 5;
const DARK = matchMedia("(prefers-color-scheme: dark)");

export class Player {
  /** `onStretch(index)` is told the stretch under the playhead whenever it is another one. */
  constructor({ onStretch }) {
    this.onStretch = onStretch;
    this.urls = [];
    this.close();
    byId("play").addEventListener("click", () => this.toggle());
    byId("position").addEventListener("keydown", (event) => this.key(event));
    byId("spectrogram").addEventListener("click", (event) => {
      const { left, width } = byId("spectrogram").getBoundingClientRect();
      this.seek(((event.clientX - left) / width) * this.audio.duration);
    });
    DARK.addEventListener("change", () => this.lanes && this.draw());
    new ResizeObserver(() => this.lanes?.fit()).observe(byId("axis"));
  }

  /** Take a track; `file` is what is played where the browser can, otherwise the decoded sound. */
  open({ file, audio }) {
    this.close();
    this.audio = audio;
    byId("player").hidden = false;
    byId("total").textContent = clock(audio.duration);
    byId("position").setAttribute("aria-valuemax", audio.duration.toFixed(1));
    this.media = new Audio();
    this.media.src = this.url(file && this.media.canPlayType(file.type) ? file : wav(audio));
    this.media.addEventListener("error", () => this.playDecoded(), { once: true });
    this.draw();
  }

  /** Show stretches of genre. */
  show(found) {
    this.found = found;
    this.active = -1;
    this.lanes.show(found);
    this.moved(this.lanes.surfer.getCurrentTime());
  }

  close() {
    this.lanes?.destroy();
    this.media?.pause();
    this.urls.forEach((url) => URL.revokeObjectURL(url));
    Object.assign(this, { lanes: null, media: null, audio: null, found: [], urls: [], active: -1 });
    byId("player").hidden = true;
    byId("now").hidden = true;
  }

  toggle() {
    this.lanes?.surfer.playPause().catch(() => {}); // a play that a pause overtakes is refused
  }

  seek(seconds) {
    if (!this.lanes) return;
    const to = Math.min(Math.max(0, seconds), this.audio.duration);
    // Straight to the media: wavesurfer.js 8.0.1 forgets a seek that follows another one at once.
    if (this.media.readyState >= HTMLMediaElement.HAVE_METADATA) this.media.currentTime = to;
    else this.lanes.surfer.setTime(to);
  }

  /** Arrows, Home, End, page keys and space. */
  key(event) {
    if (!this.lanes || event.altKey || event.ctrlKey || event.metaKey) return;
    const { duration } = this.audio;
    const at = this.lanes.surfer.getCurrentTime();
    const step = event.shiftKey ? 1 : SEEK_SECONDS;
    const moves = {
      ArrowLeft: () => this.seek(at - step),
      ArrowRight: () => this.seek(at + step),
      ArrowDown: () => this.seek(at - step),
      ArrowUp: () => this.seek(at + step),
      PageDown: () => this.seek(at - duration / 10),
      PageUp: () => this.seek(at + duration / 10),
      Home: () => this.seek(0),
      End: () => this.seek(duration),
      " ": () => this.toggle(),
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    moves[event.key]();
  }

  url(blob) {
    this.urls.push(URL.createObjectURL(blob));
    return this.urls.at(-1);
  }

  /** A browser may decode what its player cannot play. */
  playDecoded() {
    if (!this.media) return;
    const at = this.media.currentTime;
    this.media.src = this.url(wav(this.audio));
    this.media.currentTime = at;
  }

  draw() {
    this.lanes?.destroy();
    this.lanes = new Lanes(this.audio, this.media, DARK.matches ? "dark" : "light");
    const { surfer } = this.lanes;
    surfer.on("timeupdate", (seconds) => this.moved(seconds));
    surfer.on("interaction", (seconds) => this.seek(seconds));
    surfer.on("play", () => this.playing(true));
    surfer.on("pause", () => this.playing(false));
    surfer.on("finish", () => this.playing(false));
    surfer.once("ready", () => this.show(this.found));
    this.playing(!this.media.paused);
    this.moved(surfer.getCurrentTime());
  }

  playing(now) {
    byId("play").setAttribute("aria-label", now ? "Pause" : "Play");
    byId("deck").classList.toggle("playing", now);
  }

  moved(seconds) {
    const { duration } = this.audio;
    byId("time").textContent = clock(seconds);
    this.lanes.move(seconds);
    const index = this.found.length ? stretchAt(this.found, seconds) : -1;
    const here = this.found[index];
    const slider = byId("position");
    slider.setAttribute("aria-valuenow", seconds.toFixed(1));
    slider.setAttribute("aria-valuetext", `${clock(seconds)} of ${clock(duration)}${here ? `, ${here.genre}` : ""}`);
    if (here && index !== this.active) this.enter(index);
  }

  enter(index) {
    if (this.active >= 0) this.lanes.light(this.active, false);
    this.lanes.light(index, true);
    this.active = index;
    const { genre, confidence } = this.found[index];
    const now = byId("now");
    now.hidden = false;
    paint(now.querySelector(".swatch"), genre);
    now.querySelector(".genre").textContent = genre;
    now.querySelector(".share").textContent = percent(confidence);
    this.onStretch(index);
  }
}
