// The tracks, classified one after the other.

import { classify } from "./api.js";
import { decode, encodeWav, fitsRequest } from "./audio.js";
import { formatMegabytes } from "./format.js";
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
 * @property {boolean} [undecodable] True if the browser cannot decode the file.
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

/** Decode a track in the browser and classify it by the service. */
async function classifyTrack(track, signal, onDecoded) {
  const audio = await decodeTrack(track);
  signal.throwIfAborted();
  track.undecodable = !audio;
  if (!audio) return classifyUndecoded(track, signal);
  onDecoded(track, audio);
  await new Promise((resolve) => setTimeout(resolve)); // lets the browser draw before a long track is encoded
  return classify(encodeWav(audio), track.name, signal);
}

/** Upload a file that the browser cannot decode; the service may be able to. */
async function classifyUndecoded({ file, name }, signal) {
  const { limits } = await loadModelInfo();
  if (!fitsRequest(file.size, limits)) {
    const limit = formatMegabytes(limits.max_bytes);
    const message = `This browser cannot decode ${name}, and the file is too large to upload (limit ${limit}).`;
    throw new UserError("too_large", message);
  }
  try {
    return await withActivity(
      `This browser cannot decode ${name}. Uploading the file to the service …`,
      classify(file, name, signal),
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
