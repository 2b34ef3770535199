// A track on the deck: waveform, spectrogram, stretches of genre, and the playhead that runs through all of them.

import Regions from "./vendor/wavesurfer/regions.esm.js";
import Spectrogram from "./vendor/wavesurfer/spectrogram.esm.js";
import WaveSurfer from "./vendor/wavesurfer/wavesurfer.esm.js";
import { wav } from "./audio.js";
import { stretchAt, stretches } from "./bands.js";
import { clock, element, percent } from "./format.js";
import { colour, paint, swatch } from "./palette.js";
import { colourMap, labelPitches } from "./spectrogram.js";

export const WAVE_HEIGHT = 112; // also in the style sheet whose hash the Content-Security-Policy has
const SPECTROGRAM_HEIGHT = 148;
const SEEK_SECONDS = 5;
const TICK_SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800];
const TICK_PIXELS = 72;
const LAST_TICK_PIXELS = 36;
// A stretch has its name where the whole of it fits, a mark and a border where those do.
const NAME_PIXELS = (genre) => 36 + 7.5 * genre.length;
const MARK_PIXELS = 26;
const THIN_PIXELS = 6;
const DARK = matchMedia("(prefers-color-scheme: dark)");

const byId = (id) => document.getElementById(id);
const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export class Player {
  /** `onStretch(index)` is told the stretch under the playhead whenever it is another one. */
  constructor({ onStretch }) {
    this.onStretch = onStretch;
    this.surfer = null;
    this.urls = [];
    byId("play").addEventListener("click", () => this.toggle());
    byId("position").addEventListener("keydown", (event) => this.key(event));
    byId("spectrogram").addEventListener("click", (event) => {
      const { left, width } = byId("spectrogram").getBoundingClientRect();
      this.seek(((event.clientX - left) / width) * this.audio.duration);
    });
    DARK.addEventListener("change", () => this.surfer && this.draw());
    new ResizeObserver(() => this.surfer && this.fit()).observe(byId("axis"));
  }

  /** Put a track on the deck; `file` is what is played where the browser can, otherwise the decoded sound. */
  open({ name, file, audio }) {
    this.close();
    Object.assign(this, { audio, file, found: [] });
    byId("name").textContent = name;
    byId("length").textContent = clock(audio.duration);
    byId("total").textContent = clock(audio.duration);
    byId("position").setAttribute("aria-valuemax", audio.duration.toFixed(1));
    byId("deck").hidden = false;
    this.media = new Audio();
    this.media.src = this.url(file && this.media.canPlayType(file.type) ? file : wav(audio));
    this.media.addEventListener("error", () => this.playDecoded(), { once: true });
    this.draw();
  }

  /** Show an answer's genres over time. */
  show(answer) {
    this.found = stretches(answer.segments, this.audio.duration);
    this.band();
    this.moved(this.surfer.getCurrentTime());
    return this.found;
  }

  close() {
    this.surfer?.destroy();
    this.media?.pause();
    this.urls.forEach((url) => URL.revokeObjectURL(url));
    Object.assign(this, { surfer: null, media: null, audio: null, found: [], urls: [], active: -1 });
    byId("deck").hidden = true;
    byId("now").hidden = true;
  }

  toggle() {
    this.surfer?.playPause().catch(() => {}); // a play that a pause overtakes is refused
  }

  seek(seconds) {
    if (!this.surfer) return;
    const to = Math.min(Math.max(0, seconds), this.audio.duration);
    // Straight to the media: wavesurfer.js 8.0.1 forgets a seek that follows another one at once.
    if (this.media.readyState >= HTMLMediaElement.HAVE_METADATA) this.media.currentTime = to;
    else this.surfer.setTime(to);
  }

  /** Arrows, Home, End, page keys and space; whether the key was one of them. */
  key(event) {
    if (!this.surfer || event.altKey || event.ctrlKey || event.metaKey) return false;
    const { duration } = this.audio;
    const at = this.surfer.getCurrentTime();
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
    if (!moves[event.key]) return false;
    event.preventDefault();
    event.stopPropagation();
    moves[event.key]();
    return true;
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
    this.surfer?.destroy();
    this.regions = Regions.create();
    this.surfer = WaveSurfer.create({
      container: byId("wave"),
      media: this.media,
      // The samples that were decoded once serve the waveform, the spectrogram and the service.
      peaks: [this.audio.samples],
      duration: this.audio.duration,
      height: WAVE_HEIGHT,
      waveColor: token("--wave"),
      progressColor: token("--wave-played"),
      cursorColor: token("--playhead"),
      cursorWidth: 2,
      barWidth: 2,
      barGap: 1,
      barRadius: 2,
      barHeight: 0.84,
      normalize: true,
      maxPeak: this.audio.peak || 1,
      dragToSeek: true,
      plugins: [
        this.regions,
        (this.spectrogram = Spectrogram.create({
          container: byId("spectrogram"),
          height: SPECTROGRAM_HEIGHT,
          fftSamples: 1024,
          scale: "mel",
          autoGain: true,
          rangeDB: 70,
          colorMap: colourMap(DARK.matches ? "dark" : "light"),
          useWebWorker: true,
          fallbackToMainThread: false,
          workerTimeout: 60_000,
        })),
      ],
    });
    byId("spectrogram").classList.add("drawing");
    labelPitches(document.querySelector(".frequencies"), this.audio.sampleRate);
    const drawn = () => byId("spectrogram").classList.remove("drawing");
    this.spectrogram.on("ready", drawn);
    this.spectrogram.on("error", drawn);
    this.surfer.on("timeupdate", (seconds) => this.moved(seconds));
    this.surfer.on("interaction", (seconds) => this.seek(seconds));
    this.surfer.on("play", () => this.playing(true));
    this.surfer.on("pause", () => this.playing(false));
    this.surfer.on("finish", () => this.playing(false));
    this.surfer.on("error", () => {}); // the media element's own event says so, too
    this.surfer.once("ready", () => this.band());
    this.fit();
    this.playing(!this.media.paused);
    this.moved(this.surfer.getCurrentTime());
  }

  playing(now) {
    byId("play").setAttribute("aria-label", now ? "Pause" : "Play");
    byId("deck").classList.toggle("playing", now);
  }

  band() {
    this.regions.clearRegions();
    this.active = -1;
    this.found.forEach(({ start, end, genre, confidence }) => {
      const mark = swatch(genre);
      mark.setAttribute("part", `mark ${mark.dataset.pattern}`); // the page's style sheet reaches in by these
      const content = element("div", { children: [mark, element("span", { part: "named", text: genre })] });
      const color = tint(genre, confidence, false);
      this.regions.addRegion({ start, end, color, content, drag: false, resize: false });
    });
    this.fit();
    this.moved(this.surfer.getCurrentTime());
  }

  moved(seconds) {
    const { duration } = this.audio;
    const slider = byId("position");
    byId("time").textContent = clock(seconds);
    document.querySelector(".playhead").style.left = `${Math.min(100, (100 * seconds) / duration)}%`;
    const here = this.found.length ? this.found[stretchAt(this.found, seconds)] : null;
    slider.setAttribute("aria-valuenow", seconds.toFixed(1));
    slider.setAttribute("aria-valuetext", `${clock(seconds)} of ${clock(duration)}${here ? `, ${here.genre}` : ""}`);
    if (here) this.enter(this.found.indexOf(here));
  }

  enter(index) {
    if (index === this.active) return;
    this.regions.getRegions().forEach((region, at) => {
      if (at !== index && at !== this.active) return;
      const { genre, confidence } = this.found[at];
      region.setOptions({ color: tint(genre, confidence, at === index) });
    });
    this.active = index;
    const { genre, confidence } = this.found[index];
    const now = byId("now");
    now.hidden = false;
    paint(now.querySelector(".swatch"), genre);
    now.querySelector(".genre").textContent = genre;
    now.querySelector(".share").textContent = percent(confidence);
    this.onStretch(index);
  }

  /** What has room: names of stretches, and times on the axis. */
  fit() {
    const { duration } = this.audio;
    const width = byId("axis").clientWidth;
    for (const { element: node, content, start, end } of this.regions.getRegions()) {
      const pixels = ((end - start) / duration) * width;
      node.style.borderRightWidth = pixels < THIN_PIXELS ? "0" : "";
      content.style.display = pixels < MARK_PIXELS ? "none" : "";
      content.lastChild.style.display = pixels < NAME_PIXELS(content.textContent) ? "none" : "";
    }
    const most = Math.max(2, width / TICK_PIXELS);
    const step = TICK_SECONDS.find((seconds) => duration / seconds <= most) ?? TICK_SECONDS.at(-1);
    const marks = [];
    for (let at = 0; at < duration; at += step) {
      if (at && (1 - at / duration) * width < LAST_TICK_PIXELS) break;
      const mark = element("span", { text: clock(at) });
      mark.style.left = `${(100 * at) / duration}%`;
      marks.push(mark);
    }
    byId("axis").replaceChildren(...marks);
  }
}

/** The surer, the stronger. */
function tint(genre, confidence, active) {
  const share = Math.round((active ? 26 : 8) + 16 * confidence);
  return `color-mix(in srgb, ${colour(genre)} ${share}%, transparent)`;
}
