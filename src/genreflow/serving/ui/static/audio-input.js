// Audio input: files that are chosen or dropped, and recordings.

import { byId } from "./dom.js";
import { hideError, showError } from "./messages.js";
import { loadModelInfo } from "./model-info.js";
import { record, recordingObstacle } from "./recorder.js";

/** @typedef {(files: File[], options?: {recorded?: boolean}) => void} FilesHandler */

/**
 * Handle the file dialog, drag and drop, and the button "Record".
 *
 * @param {FilesHandler} onFiles Called with the files; `recorded` is true for a recording.
 */
export function listenForAudio(onFiles) {
  byId("choose").addEventListener("click", () => byId("files").click());
  byId("files").addEventListener("change", ({ target }) => {
    onFiles([...target.files]);
    target.value = ""; // so that the same file can be chosen again
  });
  listenForDrops(onFiles);
  byId("record").addEventListener("click", () => recordFile(onFiles));
  const obstacle = recordingObstacle();
  if (obstacle) {
    byId("record").disabled = true;
    byId("record").setAttribute("aria-describedby", "record-hint");
    byId("record-hint").textContent = obstacle;
    byId("record-hint").hidden = false;
  }
}

function listenForDrops(onFiles) {
  let depth = 0; // dragenter and dragleave are also sent by child elements
  const onDrag = (type, handle) => addEventListener(type, (event) => {
    if (event.dataTransfer?.types.includes("Files")) handle(event);
    byId("drop-overlay").hidden = !depth;
  });
  onDrag("dragenter", () => { depth++; });
  onDrag("dragleave", () => { depth = Math.max(0, depth - 1); });
  onDrag("dragover", (event) => event.preventDefault());
  onDrag("drop", (event) => {
    event.preventDefault();
    depth = 0;
    onFiles([...event.dataTransfer.files]);
  });
}

async function recordFile(onFiles) {
  hideError();
  byId("record").disabled = true;
  try {
    const { limits } = await loadModelInfo();
    const blob = await record({ maxSeconds: limits.max_seconds });
    if (blob) {
      const time = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      onFiles([new File([blob], `Recording ${time}`, { type: blob.type })], { recorded: true });
    }
  } catch (error) {
    showError(error, () => recordFile(onFiles));
  } finally {
    byId("record").disabled = false;
    if (document.activeElement === document.body) byId("record").focus();
  }
}
