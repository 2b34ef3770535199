// The drawing of a decoded track: waveform with coloured genre regions, mel spectrogram, time axis.

import Regions from "./vendor/wavesurfer/regions.esm.js";
import Spectrogram from "./vendor/wavesurfer/spectrogram.esm.js";
import WaveSurfer from "./vendor/wavesurfer/wavesurfer.esm.js";
import { byId, cssVariable, element } from "./dom.js";
import { fitRegionLabel, regionColor, regionLabel } from "./genres.js";
import { drawTimeAxis } from "./timeline.js";

/** @import {DecodedAudio} from "./audio.js" */
/** @import {GenreRegion} from "./timeline.js" */

export const WAVEFORM_HEIGHT = 112; // [CSS px]; changes the style sheet whose hash the Content-Security-Policy contains
const SPECTROGRAM_HEIGHT = 148;
const SPECTROGRAM_COLORS = {
  light: ["#ffffff", "#e4eeec", "#a9cfca", "#569aa0", "#2a6482", "#2b3a67", "#1a1636"],
  dark: ["#14171b", "#1b2740", "#3a3a78", "#7d4487", "#c65a77", "#efa06a", "#fbeeb8"],
};
const LABELLED_FREQUENCIES = [250, 1000, 4000]; // [Hz]

export class AudioView {
  #regionsPlugin = Regions.create();
  /** @type {GenreRegion[]} */
  #regions = [];
  #duration;

  /**
   * @param {DecodedAudio} audio
   * @param {HTMLMediaElement} media Plays the same audio.
   * @param {"light" | "dark"} scheme
   */
  constructor(audio, media, scheme) {
    this.#duration = audio.duration;
    const spectrogram = Spectrogram.create({
      container: byId("spectrogram"),
      height: SPECTROGRAM_HEIGHT,
      fftSamples: 1024,
      scale: "mel",
      autoGain: true,
      rangeDB: 70,
      colorMap: colorMap(scheme),
      useWebWorker: true,
      fallbackToMainThread: false,
      workerTimeout: 60_000,
    });
    this.surfer = WaveSurfer.create({
      container: byId("waveform"),
      media,
      // Decoded once; the same samples are drawn and sent to the service.
      peaks: [audio.samples],
      duration: audio.duration,
      height: WAVEFORM_HEIGHT,
      waveColor: cssVariable("--waveform"),
      progressColor: cssVariable("--waveform-played"),
      cursorColor: cssVariable("--playhead"),
      cursorWidth: 2,
      barWidth: 2,
      barGap: 1,
      barRadius: 2,
      barHeight: 0.84,
      normalize: true,
      maxPeak: audio.peak || 1,
      dragToSeek: true,
      plugins: [this.#regionsPlugin, spectrogram],
    });
    this.surfer.on("error", () => {}); // the player handles the same event of the media element
    const onDrawn = () => byId("spectrogram").classList.remove("drawing");
    byId("spectrogram").classList.add("drawing");
    spectrogram.on("ready", onDrawn);
    spectrogram.on("error", onDrawn);
    labelFrequencies(byId("frequency-labels"), audio.sampleRate);
    this.layout();
  }

  /** @param {GenreRegion[]} regions */
  showRegions(regions) {
    this.#regions = regions;
    this.#regionsPlugin.clearRegions();
    for (const region of regions) {
      const { start, end, genre } = region;
      const content = regionLabel(genre);
      this.#regionsPlugin.addRegion({ start, end, color: regionColor(region), content, drag: false, resize: false });
    }
    this.layout();
  }

  /**
   * @param {number} index Of the region.
   * @param {boolean} highlighted
   */
  highlightRegion(index, highlighted) {
    const color = regionColor(this.#regions[index], highlighted);
    this.#regionsPlugin.getRegions()[index]?.setOptions({ color });
  }

  /** @param {number} seconds */
  movePlayhead(seconds) {
    byId("playhead").style.left = `${Math.min(100, (100 * seconds) / this.#duration)}%`;
  }

  /** Adapt region labels and time axis to the current width. */
  layout() {
    const width = byId("time-axis").clientWidth;
    for (const { element: node, content, start, end } of this.#regionsPlugin.getRegions()) {
      fitRegionLabel(node, content, ((end - start) / this.#duration) * width);
    }
    drawTimeAxis(byId("time-axis"), this.#duration);
  }

  destroy() {
    this.surfer.destroy();
  }
}

/** The colour map of the spectrogram: 256 RGBA values in [0, 1], from quiet to loud. */
function colorMap(scheme) {
  const stops = SPECTROGRAM_COLORS[scheme].map((hex) =>
    [1, 3, 5].map((index) => parseInt(hex.slice(index, index + 2), 16) / 255),
  );
  return Array.from({ length: 256 }, (_, index) => {
    const position = (index / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(position), stops.length - 2);
    const [from, to] = [stops[low], stops[low + 1]];
    return [...from.map((value, channel) => value + (to[channel] - value) * (position - low)), 1];
  });
}

// The HTK formula, which wavesurfer.js uses too.
const hzToMel = (hertz) => 2595 * Math.log10(1 + hertz / 700);

function labelFrequencies(container, sampleRate) {
  const shown = LABELLED_FREQUENCIES.filter((hertz) => hertz < 0.45 * sampleRate);
  container.replaceChildren(
    ...shown.map((hertz) => {
      const label = element("span", { text: hertz < 1000 ? `${hertz} Hz` : `${hertz / 1000} kHz` });
      label.style.bottom = `${(100 * hzToMel(hertz)) / hzToMel(sampleRate / 2)}%`;
      return label;
    }),
  );
}
