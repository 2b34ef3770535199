// Playback of a decoded track: media element, playhead, seeking, keyboard.

import { encodeWav } from "./audio.js";
import { AudioView } from "./audio-view.js";
import { byId } from "./dom.js";
import { formatPercent, formatTime } from "./format.js";
import { styleAsGenre } from "./genres.js";
import { regionIndexAt } from "./timeline.js";

/** @import {DecodedAudio} from "./audio.js" */
/** @import {GenreRegion} from "./timeline.js" */

const SEEK_SECONDS = 5;
const darkScheme = matchMedia("(prefers-color-scheme: dark)");

export class Player {
  #onRegionChange;
  /** @type {AudioView | null} */
  #view = null;
  /** @type {HTMLAudioElement | null} */
  #media = null;
  /** @type {DecodedAudio | null} */
  #audio = null;
  /** @type {GenreRegion[]} */
  #regions = [];
  #currentRegion = -1;
  #urls = [];

  /** @param {{onRegionChange: (index: number) => void}} callbacks Called when the playhead enters another region. */
  constructor({ onRegionChange }) {
    this.#onRegionChange = onRegionChange;
    this.close();
    byId("play").addEventListener("click", () => this.togglePlayback());
    byId("position").addEventListener("keydown", (event) => this.handleKey(event));
    byId("spectrogram").addEventListener("click", (event) => {
      const { left, width } = byId("spectrogram").getBoundingClientRect();
      this.seek(((event.clientX - left) / width) * this.#audio.duration);
    });
    darkScheme.addEventListener("change", () => this.#view && this.#draw());
    new ResizeObserver(() => this.#view?.layout()).observe(byId("time-axis"));
  }

  get playable() {
    return this.#audio !== null;
  }

  /**
   * Draw a track and make it playable.
   *
   * @param {DecodedAudio} audio
   * @param {File | null} file Played if the browser can; otherwise the decoded audio is.
   */
  open(audio, file) {
    this.close();
    this.#audio = audio;
    byId("player").hidden = false;
    byId("total-time").textContent = formatTime(audio.duration);
    byId("position").setAttribute("aria-valuemax", audio.duration.toFixed(1));
    this.#media = new Audio();
    this.#media.src = this.#objectUrl(file && this.#media.canPlayType(file.type) ? file : encodeWav(audio));
    this.#media.addEventListener("error", () => this.#playDecodedAudio(), { once: true });
    this.#draw();
  }

  /** @param {GenreRegion[]} regions */
  showRegions(regions) {
    this.#regions = regions;
    this.#currentRegion = -1;
    this.#view.showRegions(regions);
    this.#showPosition(this.#view.surfer.getCurrentTime());
  }

  close() {
    this.#view?.destroy();
    this.#media?.pause();
    this.#urls.forEach((url) => URL.revokeObjectURL(url));
    this.#view = this.#media = this.#audio = null;
    this.#regions = [];
    this.#urls = [];
    this.#currentRegion = -1;
    byId("player").hidden = true;
    byId("current-genre").hidden = true;
  }

  togglePlayback() {
    this.#view?.surfer.playPause().catch(() => {}); // rejected if playback is paused before it has started
  }

  /** @param {number} seconds */
  seek(seconds) {
    if (!this.#view) return;
    const time = Math.min(Math.max(0, seconds), this.#audio.duration);
    // On the media element itself: wavesurfer.js 8.0.1 loses a seek that immediately follows another one.
    if (this.#media.readyState >= HTMLMediaElement.HAVE_METADATA) this.#media.currentTime = time;
    else this.#view.surfer.setTime(time);
  }

  /**
   * Keyboard control: arrows, Home, End, Page Up, Page Down and space.
   *
   * @param {KeyboardEvent} event
   */
  handleKey(event) {
    if (!this.#view || event.altKey || event.ctrlKey || event.metaKey) return;
    const { duration } = this.#audio;
    const now = this.#view.surfer.getCurrentTime();
    const step = event.shiftKey ? 1 : SEEK_SECONDS;
    const actions = {
      ArrowLeft: () => this.seek(now - step),
      ArrowRight: () => this.seek(now + step),
      ArrowDown: () => this.seek(now - step),
      ArrowUp: () => this.seek(now + step),
      PageDown: () => this.seek(now - duration / 10),
      PageUp: () => this.seek(now + duration / 10),
      Home: () => this.seek(0),
      End: () => this.seek(duration),
      " ": () => this.togglePlayback(),
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    actions[event.key]();
  }

  #objectUrl(blob) {
    this.#urls.push(URL.createObjectURL(blob));
    return this.#urls.at(-1);
  }

  /** Fallback for files that the browser can decode but not play. */
  #playDecodedAudio() {
    if (!this.#media) return;
    const time = this.#media.currentTime;
    this.#media.src = this.#objectUrl(encodeWav(this.#audio));
    this.#media.currentTime = time;
  }

  #draw() {
    this.#view?.destroy();
    this.#view = new AudioView(this.#audio, this.#media, darkScheme.matches ? "dark" : "light");
    const { surfer } = this.#view;
    surfer.on("timeupdate", (seconds) => this.#showPosition(seconds));
    surfer.on("interaction", (seconds) => this.seek(seconds));
    surfer.on("play", () => this.#showPlaying(true));
    surfer.on("pause", () => this.#showPlaying(false));
    surfer.on("finish", () => this.#showPlaying(false));
    surfer.once("ready", () => this.showRegions(this.#regions));
    this.#showPlaying(!this.#media.paused);
    this.#showPosition(surfer.getCurrentTime());
  }

  #showPlaying(playing) {
    byId("play").setAttribute("aria-label", playing ? "Pause" : "Play");
    byId("track-view").classList.toggle("playing", playing);
  }

  #showPosition(seconds) {
    const { duration } = this.#audio;
    byId("current-time").textContent = formatTime(seconds);
    this.#view.movePlayhead(seconds);
    const index = this.#regions.length ? regionIndexAt(this.#regions, seconds) : -1;
    const region = this.#regions[index];
    const genre = region ? `, ${region.genre}` : "";
    const slider = byId("position");
    slider.setAttribute("aria-valuenow", seconds.toFixed(1));
    slider.setAttribute("aria-valuetext", `${formatTime(seconds)} of ${formatTime(duration)}${genre}`);
    if (region && index !== this.#currentRegion) this.#enterRegion(index);
  }

  #enterRegion(index) {
    if (this.#currentRegion >= 0) this.#view.highlightRegion(this.#currentRegion, false);
    this.#view.highlightRegion(index, true);
    this.#currentRegion = index;
    const { genre, confidence } = this.#regions[index];
    const node = byId("current-genre");
    node.hidden = false;
    styleAsGenre(node.querySelector(".swatch"), genre);
    node.querySelector(".genre").textContent = genre;
    node.querySelector(".confidence").textContent = formatPercent(confidence);
    this.#onRegionChange(index);
  }
}
