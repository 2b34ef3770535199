// What is drawn of a track's sound: the waveform with stretches of genre, the spectrogram, and the time axis.

import Regions from "./vendor/wavesurfer/regions.esm.js";
import Spectrogram from "./vendor/wavesurfer/spectrogram.esm.js";
import WaveSurfer from "./vendor/wavesurfer/wavesurfer.esm.js";
import { drawAxis } from "./axis.js";
import { byId, styled } from "./dom.js";
import { fitLabel, label, tint } from "./label.js";
import { colourMap, labelPitches } from "./spectrogram.js";

export const WAVE_HEIGHT = 112; // also in the style sheet whose hash the Content-Security-Policy has
const SPECTROGRAM_HEIGHT = 148;

export class Lanes {
  #regions = Regions.create();
  #found = [];

  /** Draw `audio`, which `media` plays, in a colour scheme, "dark" or "light". */
  constructor(audio, media, scheme) {
    this.duration = audio.duration;
    const spectrogram = Spectrogram.create({
      container: byId("spectrogram"),
      height: SPECTROGRAM_HEIGHT,
      fftSamples: 1024,
      scale: "mel",
      autoGain: true,
      rangeDB: 70,
      colorMap: colourMap(scheme),
      useWebWorker: true,
      fallbackToMainThread: false,
      workerTimeout: 60_000,
    });
    this.surfer = WaveSurfer.create({
      container: byId("wave"),
      media,
      // The samples that were decoded once serve the waveform, the spectrogram and the service.
      peaks: [audio.samples],
      duration: audio.duration,
      height: WAVE_HEIGHT,
      waveColor: styled("--wave"),
      progressColor: styled("--wave-played"),
      cursorColor: styled("--playhead"),
      cursorWidth: 2,
      barWidth: 2,
      barGap: 1,
      barRadius: 2,
      barHeight: 0.84,
      normalize: true,
      maxPeak: audio.peak || 1,
      dragToSeek: true,
      plugins: [this.#regions, spectrogram],
    });
    this.surfer.on("error", () => {}); // the media element's own event says so, too
    const drawn = () => byId("spectrogram").classList.remove("drawing");
    byId("spectrogram").classList.add("drawing");
    spectrogram.on("ready", drawn);
    spectrogram.on("error", drawn);
    labelPitches(document.querySelector(".frequencies"), audio.sampleRate);
    this.fit();
  }

  /** Colour the stretches of an answer. */
  show(found) {
    this.#found = found;
    this.#regions.clearRegions();
    for (const stretch of found) {
      const { start, end, genre } = stretch;
      this.#regions.addRegion({ start, end, color: tint(stretch), content: label(genre), drag: false, resize: false });
    }
    this.fit();
  }

  /** Let the stretch `index` stand out, or no longer. */
  light(index, active) {
    this.#regions.getRegions()[index]?.setOptions({ color: tint(this.#found[index], active) });
  }

  move(seconds) {
    document.querySelector(".playhead").style.left = `${Math.min(100, (100 * seconds) / this.duration)}%`;
  }

  /** What has room: names of stretches, and times on the axis. */
  fit() {
    const width = byId("axis").clientWidth;
    for (const { element: node, content, start, end } of this.#regions.getRegions()) {
      fitLabel(node, content, ((end - start) / this.duration) * width);
    }
    drawAxis(byId("axis"), this.duration);
  }

  destroy() {
    this.surfer.destroy();
  }
}
