// A recording from the microphone.

import Record from "./vendor/wavesurfer/record.esm.js";
import WaveSurfer from "./vendor/wavesurfer/wavesurfer.esm.js";
import { byId, styled } from "./dom.js";
import { clock } from "./format.js";
import { WAVE_HEIGHT } from "./lanes.js";
import { Problem } from "./words.js";

// Music, not speech: what makes calls clear makes music hollow.
const MUSIC = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** Why the microphone did not start: the plugin keeps only a message, in the browser's words. */
async function reason(error) {
  const permission = await navigator.permissions?.query({ name: "microphone" }).catch(() => null);
  if (permission?.state === "denied") {
    return "The microphone is not allowed here; your browser's settings for this page can allow it.";
  }
  const devices = await navigator.mediaDevices.enumerateDevices();
  if (!devices.some(({ kind }) => kind === "audioinput")) return "This machine has no microphone.";
  return `The microphone cannot be used: ${error.message}`;
}

/** Why nothing can be recorded here, or null. */
export function cannotRecord() {
  if (navigator.mediaDevices?.getUserMedia && window.MediaRecorder) return null;
  return window.isSecureContext
    ? "This browser cannot record."
    : "Browsers allow the microphone only on localhost and over https.";
}

/**
 * Record until it is stopped, thrown away, or as long as the service takes.
 *
 * Returns a blob, or null where it was thrown away.
 */
export async function record({ maxSeconds }) {
  const section = byId("recorder");
  section.hidden = false;
  const surfer = WaveSurfer.create({
    container: byId("live"),
    height: WAVE_HEIGHT,
    waveColor: styled("--record"),
    cursorWidth: 0,
    interact: false,
    barWidth: 2,
    barGap: 1,
    barRadius: 2,
  });
  const recorder = surfer.registerPlugin(
    Record.create({ renderRecordedAudio: false, scrollingWaveform: true, scrollingWaveformWindow: 8, audioBitsPerSecond: 192_000 }),
  );
  const listening = new AbortController();
  const on = (id, act) => byId(id).addEventListener("click", act, { signal: listening.signal });
  byId("recorded").textContent = clock(0);
  try {
    let kept = true;
    const recorded = new Promise((resolve) => recorder.once("record-end", resolve));
    const stop = () => recorder.stopRecording();
    on("stop", stop);
    on("discard", () => { kept = false; stop(); });
    recorder.on("record-progress", (milliseconds) => {
      byId("recorded").textContent = clock(milliseconds / 1000);
      if (milliseconds / 1000 > maxSeconds - 1) stop();
    });
    await recorder.startRecording(MUSIC);
    byId("stop").focus();
    const blob = await recorded;
    return kept ? blob : null;
  } catch (error) {
    throw new Problem("microphone", await reason(error));
  } finally {
    listening.abort();
    surfer.destroy();
    section.hidden = true;
  }
}
