// One track on its way through the browser and the service.

import { classify } from "./api.js";
import { decode, fits, wav } from "./audio.js";
import { megabytes } from "./format.js";
import { meet } from "./served.js";
import { Problem, meanwhile } from "./words.js";

/** The sound of a track at the model's rate, or null where the browser cannot decode it. */
export async function sound({ file, name }) {
  const { limits, model } = await meet();
  return decode(file, name, { sampleRate: model.sample_rate, limits });
}

/** The service's answer about a track; `onSound` is given its sound first, if the browser can decode it. */
export async function listen(track, signal, onSound) {
  const audio = await sound(track);
  signal.throwIfAborted();
  track.unplayable = !audio;
  if (!audio) return listenToFile(track, signal);
  onSound(audio);
  await new Promise((resolve) => setTimeout(resolve)); // a long track is drawn before it is packed up
  return classify(wav(audio), track.name, signal);
}

/** The answer about what only the service may be able to read: it gets the file as it is. */
async function listenToFile({ file, name }, signal) {
  const { limits } = await meet();
  if (!fits(file.size, limits)) {
    throw new Problem("too_large", `This browser cannot decode ${name}, and as it is it is larger than the ${megabytes(limits.max_bytes)} that the service takes.`);
  }
  const words = `This browser cannot decode ${name}; the service gets the file as it is.`;
  try {
    return await meanwhile(words, classify(file, name, signal));
  } catch (error) {
    if (error.code !== "undecodable") throw error;
    throw new Problem(error.code, `Neither this browser nor the service can decode ${name}; an undamaged wav, flac, mp3 or ogg is right.`);
  }
}
