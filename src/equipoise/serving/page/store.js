// The list of runs, kept up to date; views subscribe to it.

import { ask, connection, follow } from "./api.js";

/** Its event `runs` says that any of them changed, came or went. */
class Store extends EventTarget {
  runs = new Map();
  newest = null;
  root = "";
  canTrain = false;
  panels = []; // what is measured, and what it is called
  loaded = false;
  #watched = new Map(); // id -> {place, handlers} of the runs whose files are followed
  #end = null;
  #due = 0;

  async load() {
    const [list, measures] = await Promise.all([ask("runs"), this.panels.length ? null : ask("measures")]);
    this.root = list.root;
    this.newest = list.newest;
    this.canTrain = list.can_train;
    this.runs = new Map(list.runs.map((run) => [run.id, run]));
    if (measures) this.panels = measures.panels;
    this.loaded = true;
    this.#changed();
    this.#follow(); // a stream that began before the list came may have said already that a run of it has gone
  }

  /** Hear what is new in a run's files after `place`, as handlers[kind](data), until `signal` says so. */
  watch(id, place, handlers, signal) {
    const watched = { place, handlers };
    this.#watched.set(id, watched);
    this.#follow();
    signal.addEventListener("abort", () => {
      if (this.#watched.get(id) !== watched) return; // watched anew since
      this.#watched.delete(id);
      this.#follow();
    });
  }

  /** One stream has all runs: a browser has six connections for all windows of a server. */
  #follow() {
    this.#end?.();
    this.#end = null;
    clearTimeout(this.#due);
    this.#due = setTimeout(() => this.#open()); // once, for all that comes and goes together
  }

  #open() {
    const watched = [...this.#watched];
    const found = watched.flatMap(([id, { handlers }]) => Object.entries(handlers).map(([kind, handler]) => [`${id}/${kind}`, (data, places) => {
      for (const [each, place] of places.split(",").map((part) => part.split(":"))) if (this.#watched.has(each)) this.#watched.get(each).place = place;
      handler(data);
    }]));
    const path = ["live", watched.map(([id]) => `runs=${id}`).join("&")].filter(Boolean).join("?");
    this.#end = follow(path, {
      runs: ({ ids }) => this.#gone([...this.runs.keys()].filter((id) => !ids.includes(id))), // before this stream began
      status: (run) => {
        this.runs.set(run.id, { ...this.runs.get(run.id), ...run });
        this.#changed();
      },
      newest: ({ id }) => {
        this.newest = id;
        this.#changed();
      },
      gone: ({ id }) => this.#gone([id]),
      ...Object.fromEntries(found),
    }, watched.map(([id, { place }]) => `${id}:${place}`).join(","));
  }

  #gone(ids) {
    if (!ids.length) return;
    for (const id of ids) this.runs.delete(id);
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("runs"));
  }

  /** What a measure is called: {symbol, label, note}. */
  called(name) {
    const known = this.panels.flatMap((panel) => panel.lines).find((line) => line.name === name);
    return known ?? { symbol: name.replaceAll("_", " "), label: name.replaceAll("_", " "), note: "" };
  }

  /** Call on changes until the view is left. */
  on(kind, handler, signal) {
    this.addEventListener(kind, handler, { signal });
  }
}

export const store = new Store();
const again = () => store.loaded && store.load().catch(() => {}); // what was missed meanwhile
connection.addEventListener("back", again);
document.addEventListener("visibilitychange", () => document.hidden || again());
