// Live: the runs of the folder, and those that are watched side by side.

import { ask, follow } from "./api.js";
import { Charts } from "./charts.js";
import { openDifference } from "./difference.js";
import { h } from "./dom.js";
import { RunCard } from "./run_card.js";
import { openRunList } from "./run_list.js";
import { store } from "./store.js";

const MOST = 3; // runs side by side, each with a stream of its own
const POINTS = 1000; // of a curve, when it is fetched; it may grow to thrice that until it is fetched again

export function open(place, argument, signal) {
  const asked = argument.split("+").filter((id) => store.runs.has(id));
  const watched = new Map(); // id -> {card, columns, end}
  let following = asked.length === 0; // the newest run, whichever that is
  let comparison = null;
  let address = location.hash; // as this view left it

  const cards = h("div", { class: "cards" });
  const between = h("div");
  const curves = h("section", { class: "curves", "aria-label": "Curves" });
  const watching = h("div", { class: "watching" }, cards, between, curves);
  const list = openRunList({ choose, add, followNewest, signal });
  place.append(h("h1", { class: "hidden" }, "Live"), list.element, watching);
  const charts = new Charts(curves, store.panels);

  function choose(id) {
    following = false;
    show([id]);
  }

  function add(id) {
    following = false;
    const ids = [...watched.keys()];
    show(ids.includes(id) ? ids.filter((each) => each !== id) : [...ids, id].slice(-MOST));
  }

  function followNewest(yes) {
    following = yes;
    if (yes && store.newest) show([store.newest]);
    list.update([...watched.keys()], following);
  }

  /** Watch these runs, and no others. */
  function show(ids) {
    for (const [id, run] of watched) {
      if (ids.includes(id)) continue;
      run.end();
      watched.delete(id);
    }
    for (const id of ids) if (!watched.has(id)) watched.set(id, watch(id));
    cards.replaceChildren(...ids.map((id) => watched.get(id).card.element));
    cards.dataset.count = ids.length;
    ids.forEach((id, index) => watched.get(id).card.place(index, ids.length));
    if (location.hash === address) { // else someone is on his way to another view, which opens after this
      history.replaceState(null, "", following || !ids.length ? "#live" : `#live/${ids.join("+")}`);
      address = location.hash;
    }
    list.update(ids, following);
    comparison?.abort();
    between.replaceChildren();
    if (ids.length === 2) openDifference(between, ids, (comparison = new AbortController()).signal);
    if (!ids.length) cards.append(empty());
    draw();
  }

  function watch(id) {
    const control = new AbortController();
    const run = {
      columns: { images: [] },
      card: new RunCard(store.runs.get(id), { onmark: (images) => charts.mark(images), signal: control.signal }),
      end: () => control.abort(),
    };
    const fetchAll = async () => {
      const [facts, metrics] = await Promise.all([ask(`runs/${id}`), ask(`runs/${id}/metrics?points=${POINTS}`)]);
      run.columns = metrics.columns.images ? metrics.columns : { images: [] };
      run.card.load(facts, latest(run.columns));
      draw();
      return metrics.place;
    };
    const failed = (error) => control.signal.aborted || run.card.failed(error.message); // it may be deleted by now
    const fetchAgain = () => fetchAll().catch(failed);
    const begin = async () => {
      const place = await fetchAll();
      if (control.signal.aborted) return;
      const stop = follow(`runs/${id}/events`, {
        metrics: (row) => {
          append(run.columns, row);
          run.card.measures(latest(run.columns));
          if (run.columns.images.length > 3 * POINTS) fetchAgain();
          else draw();
        },
        sample: ({ images }) => run.card.sample(images),
        status: (status) => run.card.status(status),
        health: (event) => run.card.event(event),
        rewound: fetchAgain, // the run went back to a checkpoint
      }, place);
      control.signal.addEventListener("abort", stop);
    };
    begin().catch(failed);
    return run;
  }

  let due = 0;
  function draw() {
    due ||= requestAnimationFrame(() => {
      due = 0;
      charts.update([...watched].map(([id, run]) => ({ id, name: store.runs.get(id)?.name ?? "run", columns: run.columns })));
    });
  }

  store.on("runs", () => {
    const alive = [...watched.keys()].filter((id) => store.runs.has(id));
    if (alive.length < watched.size) show(alive);
    else if (following && store.runs.has(store.newest) && !(watched.size === 1 && watched.has(store.newest))) show([store.newest]);
    for (const [id, run] of watched) run.card.status(store.runs.get(id));
    list.update([...watched.keys()], following);
  }, signal);
  addEventListener("theme", () => {
    charts.names = null; // colours of canvases are fixed when they are drawn
    draw();
  }, { signal });
  signal.addEventListener("abort", () => {
    for (const run of watched.values()) run.end();
    comparison?.abort();
    charts.close();
    charts.sizes.disconnect();
  });
  show(asked.length ? asked.slice(0, MOST) : store.newest ? [store.newest] : []);
}

/** Nobody has trained here yet. */
function empty() {
  if (store.runs.size) return h("div", { class: "card empty" }, h("h2", {}, "Choose a run"), h("p", {}, "Pick one from the list, or several to see them side by side."));
  return h("div", { class: "card empty" },
    h("h2", {}, "No run yet"),
    h("p", {}, "A run appears here as soon as a training begins in the folder that this server looks at:"),
    h("p", {}, h("code", {}, store.root)),
    h("p", {}, "Train on the digits that come with equipoise, some minutes on a laptop:"),
    h("pre", {}, h("code", {}, `equipoise train began --preset demo --out ${store.root}/demo`)),
    h("p", {}, "or on a folder of your own images:"),
    h("pre", {}, h("code", {}, `equipoise train began --data photos/ --out ${store.root}/photos`)),
    h("p", {}, "Leave this page open: it will follow the run by itself. Meanwhile, the ", h("a", { href: "#lab" }, "GAN Lab"), " shows in seconds how such a training goes."));
}

function append(columns, row) {
  if (row.images === columns.images.at(-1)) { // measures and scores of one moment come apart
    for (const [name, value] of Object.entries(row)) {
      columns[name] ??= Array(columns.images.length).fill(null);
      columns[name][columns.images.length - 1] = value;
    }
    return;
  }
  const length = columns.images.length;
  for (const name of Object.keys(row)) columns[name] ??= Array(length).fill(null);
  for (const [name, values] of Object.entries(columns)) values.push(row[name] ?? null);
}

/** The last value of every measure. */
function latest(columns) {
  return Object.fromEntries(Object.entries(columns).map(([name, values]) => {
    for (let i = values.length - 1; i >= 0; i--) if (values[i] !== null) return [name, values[i]];
    return [name, null];
  }));
}
