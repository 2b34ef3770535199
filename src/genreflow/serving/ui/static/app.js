// The page: files come in, go through the service one after the other, and are shown.

import { hideAnswer, markStretch, sentence, showAnswer, showStretches } from "./answer.js";
import { Problem, classify, limits as fetchLimits, model as fetchModel } from "./api.js";
import { decode, wav } from "./audio.js";
import { clock, element, percent, plural } from "./format.js";
import { deal, swatch } from "./palette.js";
import { Player } from "./player.js";
import { cannotRecord, record } from "./recorder.js";
import { csv, download } from "./table.js";

const byId = (id) => document.getElementById(id);

// A track: { id, name, file, recorded, alone, state: waiting | working | done | failed, answer, problem, row }
let tracks = [];
let current = null;
let served = null; // { model, limits }, once the service has said
let running = null; // AbortController of the work under way
const player = new Player({ onStretch: markStretch });

// ---- what is served

async function meet() {
  if (!served) {
    const [limits, model] = await Promise.all([fetchLimits(), fetchModel()]);
    served = { limits, model };
    deal(model.labels);
    showModel(model);
  }
  return served;
}

function showModel({ name, version, architecture, labels, segment_seconds, sample_rate, leaking }) {
  byId("model").replaceChildren(
    element("strong", { text: name }),
    version ? ` version ${version}` : " without a version",
    ` · ${architecture} · ${plural(labels.length, "genre")} · hears ${segment_seconds.toFixed(1)} s at a time, ${(sample_rate / 1000).toLocaleString("en")} kHz`,
    ...(leaking ? [element("strong", { text: " · measured on data it partly knew" })] : []),
  );
  byId("genres").replaceChildren(...labels.map((label) => element("li", { children: [swatch(label), element("span", { text: label })] })));
}

// ---- files in

function add(files, { recorded = false } = {}) {
  if (!files.length) return;
  quiet();
  const alone = files.length === 1;
  for (const file of files) {
    tracks.push({ id: crypto.randomUUID?.() ?? Math.random(), name: file.name, file, recorded, alone, state: "waiting" });
  }
  if (alone && !running) settle();
  rows();
  work();
}

/** A single file is shown at once, before its answer: make room. */
function settle() {
  current = null;
  player.close();
  hideAnswer();
}

async function work() {
  if (running) return;
  const mine = (running = new AbortController());
  let finished = 0;
  for (let track; !mine.signal.aborted && (track = tracks.find(({ state }) => state === "waiting")); finished++) {
    await take(track, mine.signal);
  }
  if (running === mine) running = null;
  rows();
  if (tracks.length > 1 && finished > 1) say(summary());
}

function halt() {
  running?.abort(new DOMException("Halted", "AbortError"));
  running = null;
}

async function take(track, signal) {
  track.state = "working";
  rows();
  try {
    const { limits, model } = await meet();
    if (tracks.length === 1) say(`${track.name}: decoding.`);
    const audio = await decode(track.file, track.name, { sampleRate: model.sample_rate, limits });
    if (!tracks.includes(track)) return;
    track.duration = audio.duration;
    if (track.alone || !current) open(track, audio);
    await new Promise((resolve) => setTimeout(resolve)); // a long track is drawn before it is packed up
    track.answer = await classify(wav(audio), track.name, signal);
    track.state = "done";
  } catch (error) {
    if (signal.aborted) {
      track.state = "waiting";
      return;
    }
    track.state = "failed";
    track.problem = error instanceof Problem ? error : new Problem("page", `${track.name} could not be shown: ${error.message}`);
    if (!(error instanceof Problem)) console.error(error);
    if (track === current || track.alone || tracks.length === 1) tell(track.problem, () => again(track));
  }
  if (track === current) shown(track);
  rows();
}

function again(track) {
  Object.assign(track, { state: "waiting", problem: null });
  quiet();
  rows();
  work();
}

// ---- one track on the deck

function open(track, audio) {
  current = track;
  player.open({ name: track.name, file: track.recorded ? null : track.file, audio });
  document.body.classList.add("filled");
  // Space is to play, not to choose files again.
  if ([document.body, byId("choose"), byId("record")].includes(document.activeElement)) byId("position").focus({ preventScroll: true });
  shown(track);
  rows();
}

async function reopen(track) {
  quiet();
  current = track;
  rows();
  try {
    const { limits, model } = await meet();
    const audio = await decode(track.file, track.name, { sampleRate: model.sample_rate, limits });
    if (current !== track) return; // another one was chosen meanwhile
    open(track, audio);
    byId("deck").scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    byId("position").focus({ preventScroll: true });
  } catch (error) {
    if (current === track) tell(error);
  }
}

function shown(track) {
  byId("deck").classList.toggle("listening", track.state === "working");
  if (!track.answer) return hideAnswer();
  showAnswer(track.answer);
  showStretches(player.show(track.answer), (seconds) => player.seek(seconds));
  markStretch(player.active);
  document.title = `${track.answer.genre ?? "Not sure"} – ${track.name} – genreflow`;
  if (track.alone || tracks.length === 1) say(sentence(track.name, track.answer));
}

// ---- many tracks in a table

function rows() {
  const many = tracks.length > 1;
  byId("tracks").hidden = !many;
  const left = tracks.filter(({ state }) => state === "waiting" || state === "working").length;
  const done = tracks.length - left;
  byId("progress").hidden = !left;
  byId("progress").max = tracks.length || 1;
  byId("progress").value = done;
  byId("progress-text").textContent = left ? `${done} of ${tracks.length} done` : summary();
  byId("halt").hidden = !left;
  byId("halt").textContent = running ? "Pause" : "Continue";
  byId("csv").disabled = !done;
  if (!many) return;
  for (const track of tracks) {
    track.row ??= byId("rows").appendChild(document.createElement("tr"));
    const drawn = `${track.state} ${track === current}`;
    if (track.drawn === drawn && track.row.isConnected) continue;
    track.drawn = drawn;
    fill(track);
  }
}

function fill(track) {
  const { row, state, answer, problem, name } = track;
  const focused = row.contains(document.activeElement);
  row.className = state;
  if (track === current) row.setAttribute("aria-current", "true");
  else row.removeAttribute("aria-current");
  const file = element("th", { scope: "row" });
  if (state === "done") {
    const button = element("button", { type: "button", class: "link", text: name });
    button.addEventListener("click", () => reopen(track));
    file.append(button);
  } else {
    file.append(element("span", { text: name }));
  }
  const cells = [];
  if (answer) {
    const genre = answer.genre === null
      ? [element("span", { class: "unsure", text: "not sure" })]
      : [swatch(answer.genre), element("span", { text: answer.genre })];
    cells.push(
      element("td", { children: genre }),
      element("td", { class: "number", text: percent(answer.confidence) }),
      element("td", { class: "number", text: clock(answer.duration) }),
    );
  } else if (problem) {
    const cell = element("td", { colspan: "3", class: "problem", text: problem.message });
    if (problem.again) {
      const button = element("button", { type: "button", class: "link", text: "Try again", "aria-label": `Try ${name} again` });
      button.addEventListener("click", () => again(track));
      cell.append(" ", button);
    }
    cells.push(cell);
  } else {
    cells.push(element("td", { colspan: "3", class: "muted", text: state === "working" ? "listening …" : "waiting" }));
  }
  row.replaceChildren(file, ...cells);
  if (focused) row.querySelector("button")?.focus();
}

function summary() {
  const count = (test) => tracks.filter(test).length;
  const parts = [
    [count(({ answer }) => answer && answer.genre !== null), "with a genre"],
    [count(({ answer }) => answer?.genre === null), "not sure"],
    [count(({ state }) => state === "failed"), "failed"],
  ];
  return `${plural(tracks.length, "file")}: ${parts.filter(([number]) => number).map(([number, what]) => `${number} ${what}`).join(", ")}`;
}

function clear() {
  halt();
  tracks = [];
  current = null;
  player.close();
  hideAnswer();
  quiet();
  byId("rows").replaceChildren();
  document.body.classList.remove("filled");
  document.title = "genreflow";
  rows();
  byId("choose").focus();
}

// ---- words

function say(text) {
  byId("status").textContent = text;
}

function tell(problem, retry = null) {
  byId("notice-text").textContent = problem.message;
  byId("notice").hidden = false;
  const button = byId("again");
  button.hidden = !(retry && problem.again);
  button.onclick = retry;
}

function quiet() {
  byId("notice").hidden = true;
}

// ---- the microphone

async function startRecording() {
  quiet();
  byId("record").disabled = true;
  try {
    const { limits } = await meet();
    const blob = await record({ maxSeconds: limits.max_seconds });
    if (blob) {
      const time = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      add([new File([blob], `Recording ${time}`, { type: blob.type })], { recorded: true });
    }
  } catch (error) {
    tell(error, error.again ? startRecording : null);
  } finally {
    byId("record").disabled = false;
    if (document.activeElement === document.body) byId("record").focus();
  }
}

// ---- wiring

function wire() {
  byId("choose").addEventListener("click", () => byId("files").click());
  byId("files").addEventListener("change", ({ target }) => {
    add([...target.files]);
    target.value = ""; // so that the same file can be chosen again
  });
  byId("record").addEventListener("click", startRecording);
  const why = cannotRecord();
  if (why) {
    byId("record").disabled = true;
    byId("record").setAttribute("aria-describedby", "record-hint");
    byId("record-hint").textContent = why;
    byId("record-hint").hidden = false;
  }
  byId("dismiss").addEventListener("click", quiet);
  byId("csv").addEventListener("click", () => download(csv(tracks, served?.model.labels ?? []), "genres.csv"));
  byId("clear").addEventListener("click", clear);
  byId("halt").addEventListener("click", () => {
    if (running) halt();
    else work();
    rows();
  });

  let depth = 0; // dragenter and dragleave also come from the elements inside
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  const veil = (shownNow) => { byId("drop-veil").hidden = !shownNow; };
  addEventListener("dragenter", (event) => { if (hasFiles(event)) { depth++; veil(true); } });
  addEventListener("dragleave", (event) => { if (hasFiles(event) && --depth <= 0) { depth = 0; veil(false); } });
  addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    veil(false);
    add([...event.dataTransfer.files]);
  });

  // Space and the arrows also work where nothing has the focus that could use them.
  addEventListener("keydown", (event) => {
    if (event.target !== document.body || byId("ask").open) return;
    if ([" ", "ArrowLeft", "ArrowRight"].includes(event.key)) player.key(event);
  });
}

wire();
rows();
const greet = () => { quiet(); meet().catch((error) => tell(error, greet)); };
greet();
