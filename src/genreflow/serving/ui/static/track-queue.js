// The tracks, classified one after the other.

import { classify } from "./api.js";
import { MAX_DECODED_SECONDS, checkedDuration, decode, encodeWav, fitsRequest } from "./audio.js";
import { formatMegabytes, formatTime } from "./format.js";
import { UserError, withActivity } from "./messages.js";
import { loadModelInfo } from "./model-info.js";

/** @import {Prediction} from "./api.js" */
/** @import {DecodedAudio} from "./audio.js" */
/**
 * @typedef {object} Track
 * @property {string} name
 * @property {File} file
 * @property {boolean} recorded True for a recording.
 * @property {boolean} single True if it was added on its own rather than among several files.
 * @property {"waiting" | "working" | "done" | "failed"} state
 * @property {Prediction} [prediction] If it is done.
 * @property {UserError | null} [error] If it failed.
 * @property {"undecodable" | "long" | null} [undrawn] Why there is no waveform: the browser cannot decode the file, or
 *   should not, since it would keep all samples of a long one in memory.
 */

/**
 * Decode a track at the model's sample rate.
 *
 * @param {Track} track
 * @returns {Promise<DecodedAudio | null>} Null if the browser cannot decode the file.
 */
export async function decodeTrack({ file, name }) {
  const { limits, model } = await loadModelInfo();
  return decode(file, name, { sampleRate: model.sample_rate, limits });
}

/** Decode a track in the browser and classify it by the service; the service decodes a long one. */
async function classifyTrack(track, signal, onDecoded) {
  const { limits } = await loadModelInfo();
  const duration = await checkedDuration(track.file, track.name, limits);
  const isLong = duration > MAX_DECODED_SECONDS;
  const audio = isLong ? null : await decodeTrack(track);
  signal.throwIfAborted();
  track.undrawn = isLong ? "long" : audio ? null : "undecodable";
  if (!audio) return uploadTrack(track, duration, signal);
  onDecoded(track, audio);
  await new Promise((resolve) => setTimeout(resolve)); // lets the browser draw before a long track is encoded
  return classify(encodeWav(audio), track.name, signal);
}

/** Upload a file unchanged; the service may be able to decode what the browser is not. */
async function uploadTrack({ file, name, undrawn }, duration, signal) {
  const { limits } = await loadModelInfo();
  const isLong = undrawn === "long";
  const problem = isLong ? `${name} is ${formatTime(duration)} long` : `This browser cannot decode ${name}`;
  if (!fitsRequest(file.size, limits)) {
    const [size, limit] = [file.size, limits.max_bytes].map(formatMegabytes);
    const message = `${problem}, and the file of ${size} is too large to upload (limit ${limit}).`;
    throw new UserError("too_large", isLong ? `${message} As MP3 it may be smaller.` : message);
  }
  const end = duration ? ` of ${formatTime(duration)}` : "";
  try {
    return await withActivity(`${problem}. Uploading the file to the service …`, (report) =>
      classify(file, name, signal, {
        onSent: (share) => {
          const done = share < 1 ? `${Math.floor(100 * share)}% sent` : "Waiting for the service";
          report(`${problem}. Uploading the file to the service: ${done} …`, share);
        },
        onProcessed: (seconds) => {
          const share = duration ? Math.min(1, seconds / duration) : null;
          report(`Classifying ${name}: ${formatTime(seconds)}${end} …`, share);
        },
      }),
    );
  } catch (error) {
    if (error.code !== "undecodable") throw error;
    const message = `${name} cannot be decoded, neither by this browser nor by the service. Is the file damaged?`;
    throw new UserError(error.code, message);
  }
}

export class TrackQueue {
  /** @type {Track[]} */
  tracks = [];
  #callbacks;
  /** @type {AbortController | null} */
  #running = null;

  /**
   * @param {object} callbacks
   * @param {(track: Track) => void} callbacks.onStart A track is about to be decoded.
   * @param {(track: Track, audio: DecodedAudio) => void} callbacks.onDecoded
   * @param {(track: Track) => void} callbacks.onSettled A track is done or has failed.
   * @param {(count: number) => void} callbacks.onIdle No track is waiting; `count` were settled since the last time.
   * @param {() => void} callbacks.onChange Any state has changed.
   */
  constructor(callbacks) {
    this.#callbacks = callbacks;
  }

  get running() {
    return this.#running !== null;
  }

  /**
   * @param {File[]} files
   * @param {{recorded?: boolean}} [options]
   */
  add(files, { recorded = false } = {}) {
    const single = files.length === 1;
    for (const file of files) this.tracks.push({ name: file.name, file, recorded, single, state: "waiting" });
    this.run();
  }

  /** @param {Track} track One that failed. */
  retry(track) {
    Object.assign(track, { state: "waiting", error: null });
    this.run();
  }

  /** Classify all waiting tracks, unless that is in progress. */
  async run() {
    const { onStart, onSettled, onIdle, onChange } = this.#callbacks;
    onChange();
    if (this.running) return;
    const { signal } = (this.#running = new AbortController());
    let settled = 0;
    for (let track; (track = this.tracks.find(({ state }) => state === "waiting")); settled++) {
      track.state = "working";
      onChange();
      onStart(track);
      const result = await this.#process(track, signal);
      if (signal.aborted) return;
      Object.assign(track, result);
      onSettled(track);
    }
    this.#running = null;
    onChange();
    onIdle(settled);
  }

  async #process(track, signal) {
    try {
      return { state: "done", prediction: await classifyTrack(track, signal, this.#callbacks.onDecoded) };
    } catch (error) {
      if (error instanceof UserError) return { state: "failed", error };
      if (!signal.aborted) console.error(error);
      const message = `${track.name} could not be processed: ${error.message}`;
      return { state: "failed", error: new UserError("page", message) };
    }
  }

  /** Stop; the track in progress is processed again by the next `run`. */
  pause() {
    this.#running?.abort(new DOMException("Paused", "AbortError"));
    this.#running = null;
    for (const track of this.tracks) {
      if (track.state === "working") track.state = "waiting";
    }
    this.#callbacks.onChange();
  }

  clear() {
    this.pause();
    this.tracks = [];
    this.#callbacks.onChange();
  }
}
