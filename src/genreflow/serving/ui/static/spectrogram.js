// What the spectrogram plugin is told: a colour map of the page's own for light and for dark, and pitches at the side.

import { element } from "./dom.js";

const STOPS = {
  light: ["#ffffff", "#e4eeec", "#a9cfca", "#569aa0", "#2a6482", "#2b3a67", "#1a1636"],
  dark: ["#14171b", "#1b2740", "#3a3a78", "#7d4487", "#c65a77", "#efa06a", "#fbeeb8"],
};
const PITCHES = [250, 1000, 4000];

export function colourMap(scheme) {
  const stops = STOPS[scheme].map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255));
  return Array.from({ length: 256 }, (_, index) => {
    const place = (index / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(place), stops.length - 2);
    return [...stops[low].map((value, channel) => value + (stops[low + 1][channel] - value) * (place - low)), 1];
  });
}

const mel = (hertz) => 2595 * Math.log10(1 + hertz / 700);

/** Labels at the heights of some pitches. */
export function labelPitches(container, sampleRate) {
  container.replaceChildren(
    ...PITCHES.filter((hertz) => hertz < 0.45 * sampleRate).map((hertz) => {
      const label = element("span", { text: hertz < 1000 ? `${hertz} Hz` : `${hertz / 1000} kHz` });
      label.style.bottom = `${(100 * mel(hertz)) / mel(sampleRate / 2)}%`;
      return label;
    }),
  );
}
