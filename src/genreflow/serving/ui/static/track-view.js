// The open track: player, or a genre bar if the browser does not decode the file, with the prediction below.

import { byId } from "./dom.js";
import { hideFeedback, offerFeedback } from "./feedback.js";
import { formatTime } from "./format.js";
import { Player } from "./player.js";
import { describeReason, hidePrediction, markRegion, showPrediction, showRegions } from "./prediction.js";
import { GenreBar } from "./genre-bar.js";
import { mergeSegments } from "./timeline.js";

/** @import {DecodedAudio} from "./audio.js" */
/** @import {Track} from "./track-queue.js" */

export class TrackView {
  /** @type {Track | null} */
  track = null;
  #duration = 0;
  #decoded = false;
  #player = new Player({ onRegionChange: markRegion });
  #genreBar = new GenreBar();

  /**
   * @param {Track} track
   * @param {DecodedAudio | null} audio Null if the track is not drawn; it then has a prediction.
   */
  open(track, audio) {
    this.close();
    this.track = track;
    this.#decoded = audio !== null;
    this.#duration = (audio ?? track.prediction).duration;
    byId("track-name").textContent = track.name;
    byId("track-duration").textContent = formatTime(this.#duration);
    byId("track-view").hidden = false;
    document.body.classList.add("has-tracks");
    if (!audio) {
      this.#genreBar.open(track.undrawn === "long" ? track.file : null);
    } else {
      this.#player.open(audio, track.recorded ? null : track.file);
      // From now on the space bar starts playback instead of pressing the button that was used last.
      const buttons = [document.body, byId("choose"), byId("record")];
      if (buttons.includes(document.activeElement)) byId("position").focus({ preventScroll: true });
    }
    this.update();
  }

  /** Show the current state of the track. */
  update() {
    const { state, prediction, name } = this.track;
    byId("track-view").classList.toggle("processing", state === "working");
    if (!prediction) {
      hidePrediction();
      return;
    }
    const regions = mergeSegments(prediction.segments, this.#duration);
    showPrediction(prediction);
    offerFeedback(prediction);
    const player = this.#decoded ? this.#player : this.#genreBar;
    showRegions(regions, player.playable ? (seconds) => player.seek(seconds) : null);
    if (this.#decoded) this.#player.showRegions(regions);
    else this.#genreBar.show(regions, this.#duration);
    document.title = `${prediction.genre ?? describeReason(prediction)} – ${name} – genreflow`;
  }

  /** Scroll to the track and move the focus there. */
  focus() {
    const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)").matches;
    byId("track-view").scrollIntoView({ block: "start", behavior: reducedMotion ? "auto" : "smooth" });
    byId(this.#decoded ? "position" : "track-view").focus({ preventScroll: true });
  }

  /** @param {KeyboardEvent} event */
  handleKey(event) {
    this.#player.handleKey(event);
  }

  close() {
    this.track = null;
    this.#player.close();
    this.#genreBar.close();
    hidePrediction();
    hideFeedback();
    byId("track-view").hidden = true;
  }
}
