// Decode a file to mono samples at the model's sample rate, and encode samples as WAV.

import { formatMegabytes, formatTime } from "./format.js";
import { UserError } from "./messages.js";

/** @import {Limits} from "./api.js" */
/**
 * @typedef {object} DecodedAudio
 * @property {Float32Array} samples Mono.
 * @property {number} sampleRate [Hz]
 * @property {number} duration [s]
 * @property {number} peak The largest magnitude of a sample; 1 is full scale.
 */

// Longer files are not decoded: the browser keeps all their samples in memory, at first at the file's own sample rate.
export const MAX_DECODED_SECONDS = 15 * 60;
const PROBE_TIMEOUT_MS = 4000;
const WAV_HEADER_BYTES = 44;
const FORM_OVERHEAD_BYTES = 10_000; // an upper bound of what multipart encoding adds to a file

/**
 * Read the duration of a file from its header, and check it.
 *
 * @param {File} file
 * @param {string} name Shown in error messages.
 * @param {Limits} limits
 * @returns {Promise<number>} In seconds; 0 if the browser does not find it.
 * @throws {UserError} The file is empty or too long.
 */
export async function checkedDuration(file, name, limits) {
  if (!file.size) throw new UserError("empty", `${name} is empty.`);
  const duration = await probeDuration(file);
  checkDuration(name, duration, limits);
  return duration;
}

/**
 * Decode an audio file.
 *
 * The browser resamples while it decodes, because the context has the model's sample rate. (An AudioBufferSourceNode
 * would resample by linear interpolation.)
 *
 * @param {File} file
 * @param {string} name Shown in error messages.
 * @param {{sampleRate: number, limits: Limits}} options `sampleRate` in Hz.
 * @returns {Promise<DecodedAudio | null>} Null if the browser cannot decode the file.
 * @throws {UserError} The file is unreadable, too large or too long, or has no audio.
 */
export async function decode(file, name, { sampleRate, limits }) {
  let buffer;
  try {
    buffer = await new OfflineAudioContext(1, 1, sampleRate).decodeAudioData(await file.arrayBuffer());
  } catch (error) {
    if (error.name === "NotReadableError" || error.name === "NotFoundError") {
      throw new UserError("unreadable", `${name} could not be read. Was it moved, or is it a folder?`);
    }
    return null; // corrupt, or in a format that the browser does not support
  }
  const samples = mixDown(buffer);
  const duration = samples.length / sampleRate;
  if (!duration) throw new UserError("empty", `${name} contains no audio.`);
  checkDuration(name, duration, limits);
  if (!fitsRequest(WAV_HEADER_BYTES + 2 * samples.length, limits)) {
    const limit = formatMegabytes(limits.max_bytes);
    throw new UserError("too_large", `${name} is too large; the service accepts up to ${limit}.`);
  }
  return { samples, sampleRate, duration, peak: peakOf(samples) };
}

/**
 * Whether the service accepts a file of a size.
 *
 * @param {number} bytes
 * @param {Limits} limits
 * @returns {boolean}
 */
export const fitsRequest = (bytes, { max_bytes }) => bytes + FORM_OVERHEAD_BYTES <= max_bytes;

function checkDuration(name, seconds, { max_seconds }) {
  if (seconds <= max_seconds) return;
  const limit = formatTime(max_seconds);
  throw new UserError("too_long", `${name} is ${formatTime(seconds)} long; the service accepts up to ${limit}.`);
}

/** The duration in the file's header [s], read without decoding; 0 if the browser does not find one. */
function probeDuration(file) {
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
    const timer = setTimeout(finish, PROBE_TIMEOUT_MS, 0);
    media.preload = "metadata";
    media.onloadedmetadata = () => finish(media.duration);
    media.onerror = () => finish(0);
    media.src = url;
  });
}

/**
 * Mix the channels as the service does (genreflow.audio.levels): their mean, unless it has less than a tenth of the power
 * that it would have for unrelated channels. Such channels cancel each other, and the loudest one is used.
 */
function mixDown(buffer) {
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, channel) => buffer.getChannelData(channel));
  if (channels.length === 1) return channels[0];
  const mean = new Float32Array(buffer.length);
  for (const data of channels) {
    for (let index = 0; index < mean.length; index++) mean[index] += data[index] / channels.length;
  }
  const powers = channels.map(powerOf);
  const unrelated = powers.reduce((sum, power) => sum + power, 0) / channels.length ** 2;
  if (powerOf(mean) >= 0.1 * unrelated) return mean;
  const loudest = Math.max(...powers);
  return channels.find((_, channel) => powers[channel] >= 0.98 * loudest);
}

/** The mean power of samples without their constant offset. */
function powerOf(samples) {
  let sum = 0;
  let squares = 0;
  for (let index = 0; index < samples.length; index++) {
    sum += samples[index];
    squares += samples[index] ** 2;
  }
  return Math.max(0, squares - sum ** 2 / samples.length) / samples.length;
}

// A plain loop: 15 minutes are 20 million samples.
function peakOf(samples) {
  let peak = 0;
  for (let index = 0; index < samples.length; index++) {
    const magnitude = Math.abs(samples[index]);
    if (magnitude > peak) peak = magnitude;
  }
  return Number.isFinite(peak) ? peak : 1;
}

/**
 * Encode samples as a 16-bit mono WAV file. Samples beyond full scale are scaled down rather than clipped, because the
 * features are relative to the loudest part of the audio.
 *
 * @param {DecodedAudio} audio
 * @returns {Blob}
 */
export function encodeWav({ samples, sampleRate, peak }) {
  const scale = 32767 / Math.max(1, peak);
  const bytes = new ArrayBuffer(WAV_HEADER_BYTES + 2 * samples.length);
  const view = new DataView(bytes);
  const writeText = (offset, text) => {
    [...text].forEach((letter, index) => view.setUint8(offset + index, letter.charCodeAt(0)));
  };
  writeText(0, "RIFF");
  view.setUint32(4, bytes.byteLength - 8, true);
  writeText(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // size of this chunk
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, sampleRate, true);
  view.setUint32(28, 2 * sampleRate, true); // bytes per second
  view.setUint16(32, 2, true); // bytes per frame
  view.setUint16(34, 16, true); // bits per sample
  writeText(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  // WAV is little-endian, and so is an Int16Array on every platform that browsers support.
  const pcm = new Int16Array(bytes, WAV_HEADER_BYTES);
  // `| 0` truncates, so the offset makes it round to nearest.
  for (let index = 0; index < samples.length; index++) pcm[index] = ((samples[index] * scale + 32768.5) | 0) - 32768;
  return new Blob([bytes], { type: "audio/wav" });
}
