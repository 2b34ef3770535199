// The token that a service may ask for, kept until the tab is closed.

import { byId } from "./dom.js";
import { Problem } from "./words.js";

const KEY = "genreflow-token";

export const token = () => sessionStorage.getItem(KEY);

let asking = null;

/** Ask for another token than the one that was refused, once for all requests that wait for one. */
export async function newToken(refused) {
  if (token() !== refused) return; // another request has brought one meanwhile
  asking ??= askToken().finally(() => { asking = null; });
  await asking;
}

function askToken() {
  const dialog = byId("ask");
  const field = byId("token");
  field.value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve, reject) => {
    dialog.addEventListener("close", () => {
      const given = field.value.trim();
      field.value = "";
      if (dialog.returnValue === "ok" && given) {
        sessionStorage.setItem(KEY, given);
        resolve();
      } else {
        reject(new Problem("token", "The service does not answer without a token.", { again: true }));
      }
    }, { once: true });
  });
}
