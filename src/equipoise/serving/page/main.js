// The frame around the views: which one is open, the theme, the login, and whether the server is there.

import { ask, connection } from "./api.js";
import { h } from "./dom.js";
import * as explorer from "./explorer.js";
import * as lab from "./lab.js";
import * as live from "./live.js";
import { openLogin } from "./login.js";
import { store } from "./store.js";
import * as train from "./train.js";

// All loaded at the start: a view may be opened while the server is gone.
const VIEWS = {
  live: { title: "Live", open: live.open },
  explore: { title: "Explorer", open: explorer.open },
  lab: { title: "GAN Lab", open: lab.open },
  train: { title: "New run", open: train.open },
};
const THEMES = ["auto", "light", "dark"];
const main = document.getElementById("main");
let closing = null; // AbortController of the open view: aborting it ends its streams and its work
let opened = "";

/** Open the view that the address names: "#live/ID+ID", "#explore/ID", "#lab", "#train". */
function route() {
  const [name, argument = ""] = location.hash.slice(1).split("/");
  const view = VIEWS[name] ?? VIEWS.live;
  closing?.abort();
  closing = new AbortController();
  for (const link of document.querySelectorAll("nav a")) {
    if (VIEWS[link.hash.slice(1)] === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${view.title} · equipoise`;
  const place = h("div", { class: `view ${view === VIEWS[name] ? name : "live"}` });
  main.replaceChildren(place);
  if (opened && opened !== view.title) main.focus({ preventScroll: true }); // so that readers start at the new view
  opened = view.title;
  view.open(place, argument, closing.signal);
}

function showTheme() {
  const theme = document.documentElement.dataset.theme;
  document.getElementById("theme").textContent = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" }[theme];
}

document.getElementById("theme").onclick = () => {
  const root = document.documentElement;
  root.dataset.theme = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
  try {
    localStorage.setItem("theme", root.dataset.theme);
  } catch {} // storage is off: it holds until the page is left
  showTheme();
  dispatchEvent(new Event("theme"));
};
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("theme")));

const notice = document.getElementById("connection");
connection.addEventListener("lost", () => {
  notice.textContent = "The server is gone: what you see is its last word. This page goes on by itself once it is back.";
});
connection.addEventListener("back", () => {
  notice.textContent = ""; // what was asked for meanwhile is answered now
});
let asking = false;
connection.addEventListener("login", async () => {
  if (asking) return;
  asking = true;
  closing?.abort();
  await openLogin(main);
  asking = false;
  start();
});

async function start() {
  try {
    const session = await ask("session");
    if (session.token_required && !session.logged_in) {
      connection.dispatchEvent(new Event("login"));
      return;
    }
    main.replaceChildren(h("p", { class: "says", role: "status" }, "Reading the runs …")); // hundreds take seconds
    await store.load();
  } catch (error) {
    if (error.status === 401) return; // the login is shown
    main.replaceChildren(h("p", { class: "says failed", role: "alert" }, error.message));
    return;
  }
  document.querySelector('nav a[href="#train"]').hidden = !store.canTrain;
  route();
}

addEventListener("hashchange", () => store.loaded && !asking && route());
document.querySelector(".skip").onclick = (event) => {
  event.preventDefault(); // an address names the view, and would lose it
  main.focus();
};
showTheme();
start();
