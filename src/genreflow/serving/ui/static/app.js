// The page: its parts, and what ties them together.

import { sentence } from "./answer.js";
import { Deck } from "./deck.js";
import { byId } from "./dom.js";
import { takeIn } from "./intake.js";
import { List, summary } from "./list.js";
import { listen, sound } from "./listen.js";
import { Queue } from "./queue.js";
import { labels, meet } from "./served.js";
import { csv, download } from "./table.js";
import { quiet, say, tell } from "./words.js";

const deck = new Deck();
const list = new List({ onOpen: reopen, onAgain: again });
const queue = new Queue({ listen: hear, onChange: draw, onSettled: settled, onRest: rested });

function draw() {
  list.draw(queue.tracks, { open: deck.track, running: queue.running });
}

/** Whether a track is what the person is waiting for, rather than one of many. */
const isAwaited = (track) => track.alone || queue.tracks.length === 1;

function add(files, how) {
  if (!files.length) return;
  quiet();
  if (files.length === 1 && !queue.running) deck.close(); // room for the one that is shown at once, before its answer
  queue.add(files, how);
}

function again(track) {
  quiet();
  queue.again(track);
}

function hear(track, signal) {
  if (queue.tracks.length === 1) say(`${track.name}: decoding.`);
  return listen(track, signal, (audio) => opens(track) && put(track, audio));
}

/** Whether a track goes on the deck by itself. */
const opens = (track) => track.alone || !deck.track;

function put(track, audio) {
  deck.open(track, audio);
  draw();
}

function settled(track) {
  if (track.answer && track.unplayable && opens(track)) deck.open(track, null);
  else if (track === deck.track) deck.show();
  if (track.problem) {
    if (track === deck.track || isAwaited(track)) tell(track.problem, () => again(track));
  } else if (isAwaited(track)) {
    say(sentence(track.name, track.answer));
  }
}

function rested(count) {
  if (count > 1) say(summary(queue.tracks));
}

async function reopen(track) {
  quiet();
  deck.track = track;
  draw();
  try {
    const audio = track.unplayable ? null : await sound(track);
    if (deck.track !== track) return; // another one was chosen meanwhile
    put(track, audio);
    deck.visit();
  } catch (error) {
    if (deck.track === track) tell(error);
  }
}

function clear() {
  deck.close();
  list.clear();
  queue.clear();
  quiet();
  document.body.classList.remove("filled");
  document.title = "genreflow";
  byId("choose").focus();
}

function greet() {
  quiet();
  meet().catch((error) => tell(error, greet));
}

takeIn(add);
byId("dismiss").addEventListener("click", quiet);
byId("csv").addEventListener("click", () => download(csv(queue.tracks, labels()), "genres.csv"));
byId("clear").addEventListener("click", clear);
byId("halt").addEventListener("click", () => {
  if (queue.running) queue.halt();
  else queue.work();
});
// Space and the arrows also work where nothing has the focus that could use them.
addEventListener("keydown", (event) => {
  if (event.target !== document.body || byId("ask").open) return;
  if ([" ", "ArrowLeft", "ArrowRight"].includes(event.key)) deck.key(event);
});
draw();
greet();
