// "This is wrong, it is …": what the user says about a prediction, where the service takes it.

import { sendFeedback } from "./api.js";
import { byId, element, linkButton } from "./dom.js";
import { announce } from "./messages.js";
import { loadModelInfo } from "./model-info.js";

/** @import {Prediction} from "./api.js" */

const NONE = "none"; // value of the option for none of the genres; those of genres are their positions
const LONGEST_COMMENT = 1000;

let shown = null; // ID of the prediction that the form or its outcome is about
const given = new Map(); // what was said, by ID of the prediction

/**
 * Offer to correct a prediction; an open form about the same one stays as it is.
 *
 * @param {Prediction} prediction
 */
export async function offerFeedback(prediction) {
  const id = prediction.prediction_id;
  if (shown === id) return;
  shown = id;
  byId("feedback").replaceChildren();
  const info = await loadModelInfo().catch(() => null); // the page has shown the error already
  if (!info?.limits.feedback || shown !== id) return;
  showRetention(info.limits.feedback);
  if (given.has(id)) showThanks(id);
  else showOffer(prediction, info.model.labels);
}

export function hideFeedback() {
  shown = null;
  byId("feedback").replaceChildren();
}

/** Say at the foot of the page what the service keeps, as soon as it is known. */
export async function announceRetention() {
  const info = await loadModelInfo().catch(() => null);
  if (info?.limits.feedback) showRetention(info.limits.feedback);
}

function showRetention({ days, audio }) {
  const what = audio ? "its answers and the audio" : "its answers, without the audio,";
  byId("retention").textContent = `This service keeps ${what} for up to ${days} days, so that answers can be corrected.`;
  byId("retention").hidden = false;
}

function showOffer(prediction, labels) {
  const text = prediction.genre === null ? "I know the genre" : "This is wrong";
  const open = linkButton(text, () => showForm(prediction, labels));
  byId("feedback").replaceChildren(open);
  return open;
}

function showForm(prediction, labels) {
  const choices = labels.map((label, position) => ({ label, position })).filter(({ label }) => label !== prediction.genre);
  // Nothing is chosen in advance, and the order says nothing about what the model finds probable.
  const genre = element("select", {
    id: "feedback-genre",
    required: "",
    children: [
      element("option", { value: "", text: "Choose …" }),
      ...choices.map(({ label, position }) => element("option", { value: String(position), text: label })),
      element("option", { value: NONE, text: "None of these genres" }),
    ],
  });
  const comment = element("input", { id: "feedback-comment", maxlength: String(LONGEST_COMMENT), autocomplete: "off" });
  const send = element("button", { type: "submit", class: "primary", text: "Send" });
  const cancel = element("button", { type: "button", class: "quiet", text: "Cancel" });
  const problem = element("p", { class: "problem", role: "alert" });
  const form = element("form", {
    "aria-label": "Correct this answer",
    children: [
      element("label", { for: "feedback-genre", text: "It is" }),
      genre,
      element("label", { for: "feedback-comment", text: "Comment (optional)" }),
      comment,
      element("div", { class: "buttons", children: [send, cancel] }),
      problem,
    ],
  });
  cancel.addEventListener("click", () => showOffer(prediction, labels).focus());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    send.disabled = true;
    problem.textContent = "";
    const claimed = genre.value === NONE ? null : labels[Number(genre.value)];
    try {
      await sendFeedback(prediction.prediction_id, claimed, comment.value);
      given.set(prediction.prediction_id, claimed);
      if (shown === prediction.prediction_id) showThanks(shown);
    } catch (error) {
      problem.textContent = error.message;
      send.disabled = false;
    }
  });
  byId("feedback").replaceChildren(form);
  genre.focus();
}

function showThanks(id) {
  const claimed = given.get(id);
  const text = `You said: ${claimed ?? "none of these genres"}. Thank you.`;
  byId("feedback").replaceChildren(element("p", { class: "muted", text }));
  announce(text);
}
