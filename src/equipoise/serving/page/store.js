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
  #end = null;

  async load() {
    const [list, measures] = await Promise.all([ask("runs"), this.panels.length ? null : ask("measures")]);
    this.root = list.root;
    this.newest = list.newest;
    this.canTrain = list.can_train;
    this.runs = new Map(list.runs.map((run) => [run.id, run]));
    if (measures) this.panels = measures.panels;
    this.loaded = true;
    this.#changed();
    this.#end?.(); // a stream that began before the list came may have said already that a run of it has gone
    this.#end = follow("live", {
      runs: ({ ids }) => this.#gone([...this.runs.keys()].filter((id) => !ids.includes(id))), // before this stream began
      status: (run) => {
        this.runs.set(run.id, { ...this.runs.get(run.id), ...run });
        this.#changed();
      },
      "new-run": ({ id, newest }) => {
        this.newest = newest ?? id; // its status is what comes next
      },
      gone: ({ id }) => this.#gone([id]),
    });
  }

  #gone(ids) {
    if (!ids.length) return;
    for (const id of ids) this.runs.delete(id);
    this.#changed();
    if (ids.includes(this.newest)) this.load().catch(() => {}); // another is the newest now
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
