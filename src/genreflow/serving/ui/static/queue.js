// The tracks that came in, and the work on them, one after the other.

import { Problem } from "./words.js";

// A track: { name, file, recorded, alone, state: waiting | working | done | failed, answer, problem, unplayable }

export class Queue {
  #running = null; // AbortController of the work under way

  /**
   * `listen(track, signal)` gives a track's answer; `onChange()` is told of every change, `onSettled(track)` of every
   * track that has an answer or a problem, and `onRest(count)` how many were settled until no more waits.
   */
  constructor({ listen, onChange, onSettled, onRest }) {
    Object.assign(this, { tracks: [], listen, onChange, onSettled, onRest });
  }

  get running() {
    return this.#running !== null;
  }

  add(files, { recorded = false } = {}) {
    const alone = files.length === 1;
    this.tracks.push(...files.map((file) => ({ name: file.name, file, recorded, alone, state: "waiting" })));
    this.work();
  }

  again(track) {
    Object.assign(track, { state: "waiting", problem: null });
    this.work();
  }

  async work() {
    this.onChange();
    if (this.running) return;
    const { signal } = (this.#running = new AbortController());
    let settled = 0;
    for (let track; (track = this.tracks.find(({ state }) => state === "waiting")); settled++) {
      track.state = "working";
      this.onChange();
      const result = await this.#result(track, signal);
      if (signal.aborted) return;
      Object.assign(track, result);
      this.onSettled(track);
    }
    this.#running = null;
    this.onChange();
    this.onRest(settled);
  }

  async #result(track, signal) {
    try {
      return { state: "done", answer: await this.listen(track, signal) };
    } catch (error) {
      if (error instanceof Problem) return { state: "failed", problem: error };
      if (!signal.aborted) console.error(error);
      return { state: "failed", problem: new Problem("page", `${track.name} could not be shown: ${error.message}`) };
    }
  }

  /** Stop; what is under way will be done again. */
  halt() {
    this.#running?.abort(new DOMException("Halted", "AbortError"));
    this.#running = null;
    for (const track of this.tracks) {
      if (track.state === "working") track.state = "waiting";
    }
    this.onChange();
  }

  clear() {
    this.halt();
    this.tracks = [];
    this.onChange();
  }
}
