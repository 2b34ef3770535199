// The deck: one track, played and drawn where the browser can, with its answer below.

import { hideAnswer, markStretch, showAnswer, showStretches } from "./answer.js";
import { stretches } from "./bands.js";
import { byId } from "./dom.js";
import { clock } from "./format.js";
import { Player } from "./player.js";
import { Ribbon } from "./ribbon.js";

export class Deck {
  track = null;
  #duration = 0;
  #playable = false;
  #player = new Player({ onStretch: markStretch });
  #ribbon = new Ribbon();

  /** Take a track; `audio` is null where the browser cannot decode it, and then it has its answer. */
  open(track, audio) {
    this.close();
    this.track = track;
    this.#playable = audio !== null;
    this.#duration = (audio ?? track.answer).duration;
    byId("name").textContent = track.name;
    byId("length").textContent = clock(this.#duration);
    byId("deck").hidden = false;
    document.body.classList.add("filled");
    if (audio) {
      this.#player.open({ file: track.recorded ? null : track.file, audio });
      // Space is to play, not to choose files again.
      if ([document.body, byId("choose"), byId("record")].includes(document.activeElement)) byId("position").focus({ preventScroll: true });
    }
    this.show();
  }

  /** Show what is known of the track by now. */
  show() {
    const { state, answer, name } = this.track;
    byId("deck").classList.toggle("listening", state === "working");
    if (!answer) return hideAnswer();
    const found = stretches(answer.segments, this.#duration);
    showAnswer(answer);
    showStretches(found, this.#playable ? (seconds) => this.#player.seek(seconds) : null);
    if (this.#playable) this.#player.show(found);
    else this.#ribbon.show(found, this.#duration);
    document.title = `${answer.genre ?? "Not sure"} – ${name} – genreflow`;
  }

  /** Bring it into view, and the keyboard to it. */
  visit() {
    byId("deck").scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    byId(this.#playable ? "position" : "deck").focus({ preventScroll: true });
  }

  key(event) {
    this.#player.key(event);
  }

  close() {
    this.track = null;
    this.#player.close();
    this.#ribbon.close();
    hideAnswer();
    byId("deck").hidden = true;
  }
}
