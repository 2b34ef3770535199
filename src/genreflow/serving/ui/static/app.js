// Entry point of the classifier page: creates its parts and connects them.

import { listenForAudio } from "./audio-input.js";
import { byId } from "./dom.js";
import { showExamples } from "./examples.js";
import { announceRetention } from "./feedback.js";
import { announce, hideError, showError } from "./messages.js";
import { loadModelInfo, modelLabels } from "./model-info.js";
import { describePrediction } from "./prediction.js";
import { showSnippets } from "./snippets.js";
import { TrackList, downloadCsv, summarize, toCsv } from "./track-list.js";
import { TrackQueue, decodeTrack } from "./track-queue.js";
import { TrackView } from "./track-view.js";

const trackView = new TrackView();
const trackList = new TrackList({ onOpen: openFromList, onRetry: retry });
const queue = new TrackQueue({
  onStart: announceDecoding,
  onDecoded: showDecoded,
  onSettled: showSettled,
  onIdle: announceSummary,
  onChange: updateList,
});

function updateList() {
  trackList.update(queue.tracks, { openTrack: trackView.track, running: queue.running });
}

function addFiles(files, options) {
  if (!files.length) return;
  hideError();
  if (files.length === 1 && !queue.running) trackView.close(); // a single file is shown as soon as it is decoded
  queue.add(files, options);
}

function retry(track) {
  hideError();
  queue.retry(track);
}

/** Whether a track opens without being chosen from the list. */
const opensByItself = (track) => track.single || !trackView.track;

/** Whether the outcome of a track is announced on its own rather than in the summary. */
const isAnnounced = (track) => track.single || queue.tracks.length === 1;

function announceDecoding(track) {
  if (queue.tracks.length === 1) announce(`Decoding ${track.name} …`);
}

function showDecoded(track, audio) {
  if (opensByItself(track)) open(track, audio);
}

function showSettled(track) {
  if (track.prediction && track.undrawn && opensByItself(track)) trackView.open(track, null);
  else if (track === trackView.track) trackView.update();
  if (track.error) {
    if (track === trackView.track || isAnnounced(track)) showError(track.error, () => retry(track));
  } else if (isAnnounced(track)) {
    announce(describePrediction(track.name, track.prediction));
  }
}

function announceSummary(count) {
  if (count > 1) announce(summarize(queue.tracks));
}

function open(track, audio) {
  trackView.open(track, audio);
  updateList();
}

async function openFromList(track) {
  hideError();
  trackView.track = track;
  updateList();
  try {
    // Decoded again: keeping the samples of every track would fill the memory.
    const audio = track.undrawn ? null : await decodeTrack(track);
    if (trackView.track !== track) return; // another track was opened in the meantime
    open(track, audio);
    trackView.focus();
  } catch (error) {
    if (trackView.track === track) showError(error);
  }
}

function clear() {
  trackView.close();
  trackList.clear();
  queue.clear();
  hideError();
  document.body.classList.remove("has-tracks");
  document.title = "genreflow";
  byId("choose").focus();
}

async function connect() {
  hideError();
  try {
    const { limits, model } = await loadModelInfo();
    showSnippets(limits.requires_token);
    if (model.lineage.source === "demo") showExamples(addFiles);
    announceRetention();
  } catch (error) {
    showError(error, connect);
  }
}

listenForAudio(addFiles);
byId("dismiss").addEventListener("click", hideError);
byId("csv").addEventListener("click", () => downloadCsv(toCsv(queue.tracks, modelLabels()), "genres.csv"));
byId("clear").addEventListener("click", clear);
byId("pause").addEventListener("click", () => {
  if (queue.running) queue.pause();
  else queue.run();
});
// The playback keys also work while no control has the focus.
addEventListener("keydown", (event) => {
  if (event.target !== document.body || byId("token-dialog").open) return;
  if ([" ", "ArrowLeft", "ArrowRight"].includes(event.key)) trackView.handleKey(event);
});
updateList();
connect();
