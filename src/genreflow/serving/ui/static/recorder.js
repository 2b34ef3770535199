// Recording from the microphone.

import Record from "./vendor/wavesurfer/record.esm.js";
import WaveSurfer from "./vendor/wavesurfer/wavesurfer.esm.js";
import { WAVEFORM_HEIGHT } from "./audio-view.js";
import { byId, cssVariable } from "./dom.js";
import { formatTime } from "./format.js";
import { UserError } from "./messages.js";

// Browsers process the microphone for speech by default, which distorts music.
const CONSTRAINTS = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/**
 * Why this browser cannot record.
 *
 * @returns {string | null} A sentence, or null if it can.
 */
export function recordingObstacle() {
  if (navigator.mediaDevices?.getUserMedia && window.MediaRecorder) return null;
  return window.isSecureContext
    ? "This browser does not support recording."
    : "Recording needs HTTPS or localhost: browsers block the microphone elsewhere.";
}

/** A sentence on why the microphone did not start; wavesurfer.js passes on only the message of the browser's error. */
async function describeFailure(error) {
  const permission = await navigator.permissions
    ?.query({ name: /** @type {PermissionName} */ ("microphone") })
    .catch(() => null);
  if (permission?.state === "denied") {
    return "Access to the microphone is blocked. Allow it in the browser's settings for this site.";
  }
  const devices = await navigator.mediaDevices.enumerateDevices();
  if (!devices.some(({ kind }) => kind === "audioinput")) return "No microphone was found.";
  return `The microphone cannot be used: ${error.message}`;
}

/**
 * Record until the user stops or discards the recording, or it is as long as the service accepts.
 *
 * @param {{maxSeconds: number}} options
 * @returns {Promise<Blob | null>} Null if the recording was discarded.
 * @throws {UserError} The microphone cannot be used.
 */
export async function record({ maxSeconds }) {
  const section = byId("recorder");
  section.hidden = false;
  const surfer = WaveSurfer.create({
    container: byId("live-waveform"),
    height: WAVEFORM_HEIGHT,
    waveColor: cssVariable("--record"),
    cursorWidth: 0,
    interact: false,
    barWidth: 2,
    barGap: 1,
    barRadius: 2,
  });
  const recorder = surfer.registerPlugin(
    Record.create({
      renderRecordedAudio: false,
      scrollingWaveform: true,
      scrollingWaveformWindow: 8,
      audioBitsPerSecond: 192_000,
    }),
  );
  const listeners = new AbortController();
  const onClick = (id, handle) => byId(id).addEventListener("click", handle, { signal: listeners.signal });
  byId("recorded-time").textContent = formatTime(0);
  try {
    let discarded = false;
    const recording = new Promise((resolve) => recorder.once("record-end", resolve));
    const stop = () => recorder.stopRecording();
    onClick("stop", stop);
    onClick("discard", () => { discarded = true; stop(); });
    recorder.on("record-progress", (milliseconds) => {
      byId("recorded-time").textContent = formatTime(milliseconds / 1000);
      if (milliseconds / 1000 > maxSeconds - 1) stop();
    });
    await recorder.startRecording(CONSTRAINTS);
    byId("stop").focus();
    const blob = await recording;
    return discarded ? null : blob;
  } catch (error) {
    throw new UserError("microphone", await describeFailure(error));
  } finally {
    listeners.abort();
    surfer.destroy();
    section.hidden = true;
  }
}
