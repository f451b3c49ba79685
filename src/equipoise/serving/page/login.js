// The form for the token; also takes it from an address such as "…/#token=…", which never leaves the browser.

import { post } from "./api.js";
import { field, h, say } from "./dom.js";

/** Ask for the token until the server takes it. */
export function openLogin(place) {
  return new Promise((resolve) => {
    const token = h("input", { type: "password", name: "token", autocomplete: "current-password", required: true, size: 32 });
    const said = h("p", { class: "says", role: "alert" });
    const send = async (value) => {
      try {
        await post("login", { token: value });
        resolve();
      } catch (error) {
        say(said, error.message, "failed");
        token.focus();
      }
    };
    const form = h("form", {
      class: "card login",
      onsubmit: (event) => {
        event.preventDefault();
        send(token.value);
      },
    },
      h("h1", {}, "Who is there?"),
      h("p", {}, "This server lets in whoever has its token, which was printed where ", h("code", {}, "equipoise serve"), " was started."),
      field("Token", token), h("button", { class: "primary" }, "Go on"), said);
    place.replaceChildren(form);
    const given = location.hash.match(/^#token=(.+)$/)?.[1];
    if (given) {
      history.replaceState(null, "", location.pathname);
      send(decoded(given));
    } else {
      token.focus();
    }
  });
}

/** A token as an address has it, or as somebody put it there by hand. */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
