// Files in: chosen, dropped, or recorded.

import { byId } from "./dom.js";
import { cannotRecord, record } from "./recorder.js";
import { meet } from "./served.js";
import { quiet, tell } from "./words.js";

/** `onFiles(files, how)` is given what comes in; `how.recorded` is true for what the microphone heard. */
export function takeIn(onFiles) {
  byId("choose").addEventListener("click", () => byId("files").click());
  byId("files").addEventListener("change", ({ target }) => {
    onFiles([...target.files]);
    target.value = ""; // so that the same file can be chosen again
  });
  takeDropped(onFiles);
  const start = () => takeRecorded(onFiles);
  byId("record").addEventListener("click", start);
  const why = cannotRecord();
  if (why) {
    byId("record").disabled = true;
    byId("record").setAttribute("aria-describedby", "record-hint");
    byId("record-hint").textContent = why;
    byId("record-hint").hidden = false;
  }
}

function takeDropped(onFiles) {
  let depth = 0; // dragenter and dragleave also come from the elements inside
  const onDrag = (type, act) => addEventListener(type, (event) => {
    if (event.dataTransfer?.types.includes("Files")) act(event);
    byId("drop-veil").hidden = !depth;
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

async function takeRecorded(onFiles) {
  quiet();
  byId("record").disabled = true;
  try {
    const { limits } = await meet();
    const blob = await record({ maxSeconds: limits.max_seconds });
    if (blob) {
      const time = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      onFiles([new File([blob], `Recording ${time}`, { type: blob.type })], { recorded: true });
    }
  } catch (error) {
    tell(error, () => takeRecorded(onFiles));
  } finally {
    byId("record").disabled = false;
    if (document.activeElement === document.body) byId("record").focus();
  }
}
