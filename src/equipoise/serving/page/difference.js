// What is different between two runs: settings and scores.

import { ask } from "./api.js";
import { h, number } from "./dom.js";
import { store } from "./store.js";

export async function openDifference(place, [a, b], signal) {
  const found = await ask(`runs/${a}/difference/${b}`, { signal }).catch((error) => error);
  if (signal.aborted) return;
  if (found instanceof Error) {
    place.replaceChildren(h("p", { class: "says failed" }, found.message));
    return;
  }
  const names = [a, b].map((id) => store.runs.get(id)?.name ?? "run");
  const table = (title, rows) => rows.length > 0 && h("table", {},
    h("caption", {}, title),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "What"), names.map((name, index) => h("th", { scope: "col", class: `key run-${index + 1}` }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, h("th", { scope: "row" }, row.name), h("td", {}, value(row.a)), h("td", {}, value(row.b))))));
  place.replaceChildren(h("details", { class: "card difference", open: true },
    h("summary", {}, h("h2", {}, "What is different")),
    found.config.length ? table("Settings", found.config) : h("p", {}, "Their settings are the same."),
    table("Scores", found.scores)));
}

function value(given) {
  if (given === null || given === undefined) return "–";
  if (typeof given === "number") return number(given);
  return typeof given === "object" ? JSON.stringify(given) : String(given);
}
