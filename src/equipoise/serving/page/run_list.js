// The list of runs: choose one, put others beside it, or follow the newest.

import { count, h } from "./dom.js";
import { STATES } from "./glossary.js";
import { store } from "./store.js";

const FILTERED = 8; // runs from which on there is something to search in

export function openRunList({ choose, add, followNewest, signal }) {
  const newest = h("input", { type: "checkbox", onchange: () => followNewest(newest.checked) });
  const search = h("input", { type: "search", placeholder: "Search", "aria-label": "Search runs", oninput: filter });
  const items = h("ul");
  const nothing = h("p", { class: "says", role: "status" });
  const rows = new Map(); // id -> {item, name, state, bar, beside}
  const heading = h("h2", {}, "Runs");
  const details = h("details", { class: "run-list", open: matchMedia("(min-width: 60rem)").matches },
    h("summary", {}, heading), h("label", { class: "check" }, newest, "Follow the newest"), search, nothing, items);
  const element = h("aside", { "aria-label": "Runs" }, details);

  function filter() {
    const words = search.value.toLowerCase();
    for (const [id, row] of rows) {
      const run = store.runs.get(id);
      row.item.hidden = !`${run?.name} ${run?.title} ${STATES[run?.state]}`.toLowerCase().includes(words);
    }
    nothing.textContent = words && [...rows.values()].every((row) => row.item.hidden) ? "No run is called so." : "";
  }

  function row(id) {
    const name = h("b");
    const state = h("small");
    const bar = h("progress", { max: 1, "aria-hidden": "true" });
    const beside = h("input", { type: "checkbox", onchange: () => add(id) });
    const button = h("button", { type: "button", onclick: () => choose(id) }, name, state, bar);
    const label = h("label", { class: "beside", title: "Beside the others" }, beside, h("span", { class: "hidden" }));
    return { item: h("li", {}, button, label), name, state, bar, beside, button, words: label.lastChild };
  }

  function update(watched, following) {
    newest.checked = following;
    heading.textContent = `Runs (${store.runs.size})`;
    details.hidden = !store.runs.size;
    search.hidden = store.runs.size < FILTERED;
    const ids = [...store.runs.values()].sort(order).map((run) => run.id);
    for (const id of rows.keys()) if (!store.runs.has(id)) rows.delete(id);
    for (const id of ids) {
      if (!rows.has(id)) rows.set(id, row(id));
      show(rows.get(id), store.runs.get(id), watched.indexOf(id));
    }
    const wanted = ids.map((id) => rows.get(id).item);
    if (wanted.some((item, index) => items.children[index] !== item) || items.children.length !== wanted.length) {
      const focused = items.contains(document.activeElement) && document.activeElement; // which loses that as it moves
      items.replaceChildren(...wanted);
      if (focused) focused.focus({ preventScroll: true });
    }
  }

  function show({ item, name, state, bar, beside, button, words }, run, place) {
    const wrong = (run.health ?? []).filter((each) => each.level !== "note").map((each) => each.kind.replaceAll("-", " "));
    if (run.note) wrong.splice(0, wrong.length, "see why"); // what stands behind all else
    const health = wrong.length ? ` · ${wrong.slice(0, 2).join(", ")}${wrong.length > 2 ? ` and ${wrong.length - 2} more` : ""}` : "";
    set(name, run.name);
    set(state, `${run.title ? `${run.title} · ` : ""}${STATES[run.state] ?? run.state}${health}`);
    set(words, `${run.name} beside the others`);
    bar.value = run.total ? Math.min(1, run.images / run.total) : 0;
    bar.title = `${count(run.images)} of ${count(run.total)} images`;
    beside.checked = place >= 0;
    item.className = `${run.state} ${health ? "warned" : ""}`;
    if (place >= 0) {
      button.setAttribute("aria-current", "true");
      item.classList.add("watched", `run-${place + 1}`);
    } else {
      button.removeAttribute("aria-current");
    }
  }

  signal.addEventListener("abort", () => rows.clear());
  return { element, update };
}

const set = (element, text) => element.textContent === text || (element.textContent = text);

/** Those that are training first, then by name. */
const order = (a, b) => (b.state === "running") - (a.state === "running") || a.name.localeCompare(b.name, "en", { numeric: true });
