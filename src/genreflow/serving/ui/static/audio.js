// From a file to mono samples at the model's rate, and from those to a WAV.

import { clock, megabytes } from "./format.js";
import { Problem } from "./words.js";

// Longer files are not even looked into: the browser would have to hold them whole.
const MOST_BYTES = 1e9;
const PROBE_MS = 4000;
const WAV_HEADER = 44;
const FORM_BYTES = 10_000; // more than a form adds to a file

/**
 * Decode a file to mono: `samples`, `sampleRate`, `duration` in seconds and `peak`; null where the browser cannot.
 *
 * The browser resamples while it decodes, since the context has the model's rate; its resampler for playing
 * (an AudioBufferSourceNode's) is only linear interpolation. Channels are averaged, as the service does.
 */
export async function decode(file, name, { sampleRate, limits }) {
  if (!file.size) throw new Problem("empty", `${name} is empty.`);
  if (file.size > MOST_BYTES) throw new Problem("too_large", `${name} is larger than 1 GB, too large for this page.`);
  refuseLong(name, await probe(file), limits);
  let buffer;
  try {
    buffer = await new OfflineAudioContext(1, 1, sampleRate).decodeAudioData(await file.arrayBuffer());
  } catch (error) {
    if (error.name === "NotReadableError" || error.name === "NotFoundError") {
      throw new Problem("unreadable", `${name} could not be read; it may have been moved, or be a folder.`);
    }
    return null; // damaged, or a format that the browser does not know
  }
  const samples = mixdown(buffer);
  const duration = samples.length / sampleRate;
  if (!duration) throw new Problem("empty", `${name} holds no sound.`);
  refuseLong(name, duration, limits);
  if (!fits(WAV_HEADER + 2 * samples.length, limits)) {
    throw new Problem("too_large", `${name} is too large: the service takes ${megabytes(limits.max_bytes)}.`);
  }
  return { samples, sampleRate, duration, peak: highest(samples) };
}

/** Whether the service takes a file of so many bytes. */
export const fits = (bytes, { max_bytes }) => bytes + FORM_BYTES <= max_bytes;

function refuseLong(name, seconds, limits) {
  if (seconds > limits.max_seconds) {
    throw new Problem("too_long", `${name} is ${clock(seconds)} long; the service takes up to ${clock(limits.max_seconds)}.`);
  }
}

/** Seconds that a player reads from the file's header, or 0 where it cannot say: a look that costs no decoding. */
function probe(file) {
  return new Promise((resolve) => {
    const media = new Audio();
    const url = URL.createObjectURL(file);
    const finish = (seconds) => {
      clearTimeout(timer);
      media.onloadedmetadata = media.onerror = null;
      media.removeAttribute("src");
      URL.revokeObjectURL(url);
      resolve(Number.isFinite(seconds) ? seconds : 0);
    };
    const timer = setTimeout(finish, PROBE_MS, 0);
    media.preload = "metadata";
    media.onloadedmetadata = () => finish(media.duration);
    media.onerror = () => finish(0);
    media.src = url;
  });
}

function mixdown(buffer) {
  const channels = buffer.numberOfChannels;
  if (channels === 1) return buffer.getChannelData(0);
  const mono = new Float32Array(buffer.length);
  for (let channel = 0; channel < channels; channel++) {
    const data = buffer.getChannelData(channel);
    for (let index = 0; index < mono.length; index++) mono[index] += data[index] / channels;
  }
  return mono;
}

/** The largest magnitude; counted loops, since a quarter of an hour is twenty million samples. */
function highest(samples) {
  let peak = 0;
  for (let index = 0; index < samples.length; index++) {
    const magnitude = Math.abs(samples[index]);
    if (magnitude > peak) peak = magnitude;
  }
  return Number.isFinite(peak) ? peak : 1;
}

/** A 16-bit WAV. What is above full scale is scaled down, not clipped: the model hears levels relative to the loudest. */
export function wav({ samples, sampleRate, peak }) {
  const scale = 32767 / Math.max(1, peak);
  const bytes = new ArrayBuffer(WAV_HEADER + 2 * samples.length);
  const view = new DataView(bytes);
  const text = (offset, letters) => [...letters].forEach((letter, index) => view.setUint8(offset + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, bytes.byteLength - 8, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // bytes of this chunk
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // mono
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, 2 * sampleRate, true); // bytes a second
  view.setUint16(32, 2, true); // bytes a frame
  view.setUint16(34, 16, true); // bits
  text(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  // An Int16Array has the machine's byte order, which is WAV's wherever browsers run.
  const ints = new Int16Array(bytes, WAV_HEADER);
  for (let index = 0; index < samples.length; index++) ints[index] = ((samples[index] * scale + 32768.5) | 0) - 32768; // rounded
  return new Blob([bytes], { type: "audio/wav" });
}
