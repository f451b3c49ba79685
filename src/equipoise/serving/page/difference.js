// What is different between two runs: settings and scores.

import { ask } from "./api.js";
import { h, number } from "./dom.js";
import { SCORES } from "./glossary.js";
import { store } from "./store.js";

const FEW = 8; // settings that are shown without being asked for
const FIRST = ["closing score", "best kid", ...SCORES, "images"]; // what tells which is better, in this order

export async function openDifference(place, [a, b], signal) {
  const found = await ask(`runs/${a}/difference/${b}`, { signal }).catch((error) => error);
  if (signal.aborted) return;
  if (found instanceof Error) {
    place.replaceChildren(h("p", { class: "says failed" }, found.message));
    return;
  }
  const names = [a, b].map((id) => store.runs.get(id)?.name ?? "run");
  const table = (title, rows, name = (row) => row.name) => rows.length > 0 && h("table", {},
    h("caption", {}, title),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "What"), names.map((name, index) => h("th", { scope: "col", class: `key run-${index + 1}` }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, h("th", { scope: "row" }, name(row)), cell(row.a), cell(row.b)))));
  const called = (row) => store.called(row.name).label;
  const scores = FIRST.map((name) => found.scores.find((row) => row.name === name)).filter(Boolean);
  const measures = found.scores.filter((row) => !FIRST.includes(row.name));
  const settings = found.config.length
    ? h("details", { open: found.config.length <= FEW }, h("summary", {}, `${found.config.length} settings`), table("Settings", found.config))
    : h("p", {}, "Their settings are the same.");
  place.replaceChildren(h("section", { class: "card difference", "aria-label": "What is different" },
    h("h2", {}, "What is different"), found.note && h("p", {}, `${found.note[0].toUpperCase()}${found.note.slice(1)}.`), table("Scores", scores, called), settings,
    measures.length > 0 && h("details", {}, h("summary", {}, `${measures.length} other measures`), table("The last of each", measures, called))));
}

function cell(given) {
  if (given === null || given === undefined) return h("td", {}, "–");
  if (typeof given === "number") return h("td", { class: "number" }, number(given));
  return h("td", {}, typeof given === "object" ? JSON.stringify(given) : String(given));
}
