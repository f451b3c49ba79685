// Live: the runs of the folder, and those that are watched side by side.

import { ask } from "./api.js";
import { Charts } from "./charts.js";
import { openDifference } from "./difference.js";
import { h, newest, say } from "./dom.js";
import { RunCard } from "./run_card.js";
import { openRunList } from "./run_list.js";
import { store } from "./store.js";

const MOST = 3; // runs side by side
const POINTS = 1000; // of a curve, when it is fetched; it may grow to thrice that until it is fetched again

export function open(place, argument, signal) {
  const wanted = argument.split("+").filter(Boolean);
  const asked = wanted.filter((id) => store.runs.has(id));
  let missing = asked.length ? [] : wanted; // what the address names, where nothing of it is there, or not yet
  const watched = new Map(); // id -> {card, columns, end}
  let following = !argument; // the newest run, whichever that is
  let comparison = null;
  let address = location.hash; // as this view left it

  const said = h("p", { class: "says", role: "status" });
  const cards = h("div", { class: "cards" });
  const between = h("div");
  const curves = h("section", { class: "curves", "aria-label": "Curves" });
  const watching = h("div", { class: "watching" }, said, cards, between, curves);
  const list = openRunList({ choose, add, followNewest, signal });
  place.append(h("h1", { class: "hidden" }, "Live"), list.element, watching);
  const charts = new Charts(curves, store.panels);

  function choose(id) {
    following = false;
    show([id], { chosen: true });
  }

  function add(id) {
    following = false;
    const ids = [...watched.keys()];
    if (ids.includes(id)) return show(ids.filter((each) => each !== id), { chosen: true });
    const away = ids.slice(0, Math.max(0, ids.length + 1 - MOST)).map((each) => store.runs.get(each)?.name);
    return show([...ids, id].slice(-MOST), { chosen: true, why: away.length ? `${MOST} runs at most are shown beside each other: ${away.join(", ")} made room.` : "" });
  }

  function followNewest(yes) {
    following = yes;
    if (yes && store.newest) show([store.newest], { chosen: true });
    list.update([...watched.keys()], following);
  }

  /** Watch these runs, and no others; those that somebody has chosen are a step that he can go back from. */
  function show(ids, { chosen = false, why = "" } = {}) {
    if (chosen) missing = [];
    say(said, why);
    for (const [id, run] of watched) {
      if (ids.includes(id)) continue;
      run.end();
      watched.delete(id);
    }
    for (const id of ids) if (!watched.has(id)) watched.set(id, watch(id));
    cards.replaceChildren(...ids.map((id) => watched.get(id).card.element));
    cards.dataset.count = ids.length;
    ids.forEach((id, index) => watched.get(id).card.place(index, ids.length));
    if (location.hash === address && !missing.length) { // else someone is on his way to another view, which opens after this
      const named = following || !ids.length ? "#live" : `#live/${ids.join("+")}`;
      if (named !== (address || "#live")) history[chosen ? "pushState" : "replaceState"](null, "", named);
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
      columns: table({ images: [] }),
      card: new RunCard(store.runs.get(id), { onmark: (images) => charts.mark(images), signal: control.signal }),
      end: () => control.abort(),
    };
    const read = async () => {
      const asked = [`runs/${id}`, `runs/${id}/metrics?points=${POINTS}`];
      const [facts, metrics] = await Promise.all(asked.map((path) => ask(path, { signal: control.signal })));
      run.columns = table(metrics.columns.images ? metrics.columns : { images: [] });
      run.card.load(facts, latest(run.columns));
      draw();
      store.watch(id, metrics.place, {
        metrics: (row) => {
          append(run.columns, row);
          run.card.measures(latest(run.columns));
          if (run.columns.images.length > 3 * POINTS) run.read();
          else draw();
        },
        sample: ({ images }) => run.card.sample(images),
        health: (event) => run.card.event(event),
        rewound: run.read, // it went back to a checkpoint, or another run is in its place
      }, control.signal);
    };
    run.read = newest(() => read().catch((error) => control.signal.aborted || run.card.failed(error.message))); // it may be deleted
    run.read();
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
    if (missing.some((id) => store.runs.has(id))) {
      missing = missing.filter((id) => !store.runs.has(id));
      return show(wanted.filter((id) => store.runs.has(id)).slice(0, MOST), { why: unknown(missing.length) });
    }
    if (alive.length < watched.size) {
      const gone = [...watched].filter(([id]) => !alive.includes(id)).map(([, run]) => run.card.run.name);
      show(alive, { why: `${gone.join(", ")}: deleted, or renamed.` });
    }
    else if (following && store.runs.has(store.newest) && !(watched.size === 1 && watched.has(store.newest))) show([store.newest]);
    for (const [id, run] of watched) {
      const status = store.runs.get(id);
      const mended = run.card.broken && status.state !== run.card.run.state;
      run.card.status(status);
      if (mended) run.read();
    }
    list.update([...watched.keys()], following);
    return undefined;
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
  show(asked.length ? asked.slice(0, MOST) : following && store.newest ? [store.newest] : [], {
    why: unknown(wanted.length - asked.length),
  });
}

/** What is said of so many runs that an address names, and that are not here. */
const unknown = (number) => number ? `${number === 1 ? "A run" : `${number} runs`} of this address ${number === 1 ? "is" : "are"} not here: just beginning, or deleted or renamed.` : "";

/** Columns by name: a measure may be called as anything, also as what every object has. */
const table = (columns) => Object.assign(Object.create(null), columns);

/** Nothing is shown: nobody has trained here yet, or no run is chosen. */
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

/** A row among those there are: measures and scores of one moment come apart, and what came amidst a break comes again. */
function append(columns, row) {
  let index = columns.images.findLastIndex((images) => images <= row.images);
  if (columns.images[index] !== row.images) {
    index += 1;
    for (const values of Object.values(columns)) values.splice(index, 0, null);
  }
  for (const [name, value] of Object.entries(row)) {
    columns[name] ??= Array(columns.images.length).fill(null);
    columns[name][index] = value;
  }
}

/** The last value of every measure, and after how many images: {value, images}. */
function latest(columns) {
  return table(Object.fromEntries(Object.entries(columns).map(([name, values]) => {
    const index = values.findLastIndex((value) => value !== null);
    return [name, index < 0 ? null : { value: values[index], images: columns.images[index] }];
  })));
}
