// Explorer: walk in a generator's latents. The image shown is that of `base`, moved along each direction as its slider says.

import { ask, post } from "./api.js";
import { count, field, h, newest, png, save, say, select } from "./dom.js";
import { openNearest } from "./nearest.js";
import { openPhotograph } from "./photograph.js";
import { openPins } from "./pins.js";
import { openSliders } from "./sliders.js";
import { store } from "./store.js";

const WALL = 24; // samples to choose from

export function open(place, argument, signal) {
  const able = [...store.runs.values()].filter((run) => run.can?.generate);
  const named = able.find((each) => each.id === argument);
  const run = argument ? named : able.find((each) => each.id === store.newest) ?? able[0];
  if (!able.length) {
    place.append(h("div", { class: "card empty" }, h("h1", {}, "Nothing to explore yet"),
      h("p", {}, "Here you walk in what a generator can make. It needs a run with a checkpoint: the first comes some minutes into a training."),
      h("p", {}, h("a", { href: "#live" }, "Watch the runs"))));
    return;
  }
  const choice = select([], "", (event) => {
    location.hash = `#explore/${event.target.value}`;
  });
  const list = () => {
    const there = [...store.runs.values()].filter((each) => each.can?.generate || each.id === run?.id);
    const options = [...(there.some((each) => each.id === run?.id) ? [] : [["", "Choose a run"]]), ...there.map((each) => [each.id, `${each.name} (${each.title})`])];
    if (choice.textContent === options.map(([, text]) => text).join("")) return; // someone may have it open
    choice.replaceChildren(...select(options, run?.id ?? "").children);
    if (run && !store.runs.has(run.id)) body.replaceChildren(h("p", { class: "says failed", role: "status" }, `${run.name}: deleted, or renamed. Choose another run.`));
  };
  const body = h("div", { class: "explorer" }, h("p", { class: "says" }, "Loading the generator …"));
  place.append(h("h1", { class: "hidden" }, "Explorer"), h("div", { class: "settings" }, field("Run", choice)), body);
  list();
  store.on("runs", list, signal);
  if (!run) {
    const why = store.runs.has(argument) ? "has no generator of images that is drawn from latents alone" : "is not here, or not any more";
    say(body.firstChild, `The run of this address ${why}: choose another.`, "failed");
    return;
  }
  ask(`runs/${run.id}`, { signal })
    .then((facts) => new Explorer({ ...run, ...facts }, place, body, signal).begin())
    .catch((error) => signal.aborted || say(body.firstChild, error.message, "failed"));
}

class Explorer {
  constructor(run, place, body, signal) {
    Object.assign(this, { run, place, body, signal });
    this.at = "newest"; // which checkpoint: "newest", "best", or after so many images
    this.ema = true;
    this.label = null;
    this.truncate = 1;
    this.base = null;
    this.directions = [];
    this.offsets = [];
    this.turn = 0; // how often the image was replaced by that of other latents
    this.changes = 0; // of checkpoint, weights or class: what was made before one is stale
    this.drawing = newest(() => this.draw());
    this.fill = newest(() => this.drawWall());
  }

  async begin() {
    this.settings();
    this.image = h("img", { class: "shown", alt: "The generated image" });
    this.said = h("p", { class: "says", role: "status" });
    this.wall = h("div", { class: "wall" });
    this.pins = openPins(this);
    this.sliders = openSliders(this);
    const [_, height, width] = this.run.images_shape ?? [1, 1, 1];
    this.body.style.setProperty("--ratio", `${width} / ${height}`);
    this.nearest = openNearest(this);
    this.photograph = openPhotograph(this);
    const save = h("button", { disabled: true, onclick: () => this.savePicture() }, "Save PNG");
    const saveLatents = h("button", { disabled: true, onclick: () => this.saveLatents() }, "Save latents");
    this.actions = { save, saveLatents, find: this.nearest.button }; // on the image, once there is one
    this.body.replaceChildren(
      h("section", { class: "stage", "aria-label": "Image" }, this.image, this.said,
        h("div", { class: "buttons" },
          h("button", { class: "primary", onclick: () => this.draw_new() }, "New sample"),
          h("button", { onclick: () => this.sliders.reset() }, "Reset sliders"), save, saveLatents),
        this.pins.element),
      h("div", { class: "tools" },
        h("section", {}, h("h2", {}, "Samples ", h("small", {}, "pick one to see it large, or "), h("button", { class: "link", onclick: () => this.others() }, "draw others")), this.wall),
        this.sliders.element, this.run.can?.nearest !== false && this.nearest.element,
        this.run.can?.encode !== false && this.photograph.element,
        KEYS()));
    addEventListener("keydown", (event) => this.key(event), { signal: this.signal });
    await this.draw_new();
    await Promise.all([this.others(), this.sliders.load()]);
  }

  settings() {
    const { run } = this;
    const points = [["newest", "Newest"], ...(run.best ? [["best", `Best score (${count(run.best)} images)`]] : []),
      ...(run.checkpoints ?? []).toReversed().map((images) => [images, `After ${count(images)} images`])];
    const bar = this.place.querySelector(".settings");
    bar.append(
      field("Checkpoint", select(points, this.at, (event) => this.change({ at: event.target.value }))));
    if (run.has_ema !== false) bar.append(
      field("Weights", select([["true", "Averaged (steadier)"], ["false", "Raw (of the last step)"]], this.ema, (event) => this.change({ ema: event.target.value === "true" }))));
    if (run.classes) {
      const names = run.label_names?.length ? run.label_names : Array.from({ length: run.classes }, (_, index) => String(index));
      this.label = 0;
      this.classes = select(names.map((name, index) => [index, name]), 0, () => this.change({ label: Number(this.classes.value) }));
      bar.append(field("Class", this.classes));
    }
    if (run.prior !== "uniform") {
      const shown = h("output", {}, "off");
      bar.append(field("Truncation", h("span", { class: "pair" }, h("input", { type: "range", min: 0.1, max: 1, step: 0.05, value: 1, oninput: (event) => {
        this.truncate = Number(event.target.value);
        shown.textContent = this.truncate === 1 ? "off" : this.truncate.toFixed(2);
        this.others();
      } }), shown), "lower: typical samples, less diverse"));
    }
  }

  /** Another checkpoint, other weights, another class: the same latents, made by them. */
  change(settings) {
    Object.assign(this, settings);
    this.changes += 1;
    this.pins.refresh();
    this.wanted = this.latents;
    this.fill();
    this.redraw();
    if (!("at" in settings || "ema" in settings)) return;
    this.photograph.clear();
    this.sliders.load();
  }

  /** What every request says of the weights. */
  weights() {
    const at = { newest: {}, best: { best: true } }[this.at] ?? { at: Number(this.at) };
    return { ...at, ema: this.ema };
  }

  /** Images of these latents: {images, latents, made}, the last of which tells after how many changes of the weights. */
  generate(latents) {
    return this.make("generate", latents.length, { labels: this.label ?? undefined, format: "json" }, (first, count) => ({ latents: latents.slice(first, first + count) }));
  }

  /** Images of latents that are drawn. */
  sample(number) {
    const truncate = this.truncate === 1 ? undefined : this.truncate;
    return this.make("generate", number, { labels: this.label ?? undefined, truncate, format: "json" }, (_, count) => ({ count, seed: Math.floor(Math.random() * 2 ** 31) }));
  }

  /** Images on the way from one latent to another. */
  between(a, b, steps) {
    return this.make("interpolate", steps, { a, b, steps, label: this.label ?? undefined }, (first, count) => ({ first, count }));
  }

  /** Ask for images, in as many requests as the server's pace wants; `part` is what each of them says. */
  async make(route, number, asked, part) {
    const whole = { ...this.weights(), ...asked };
    const found = { images: [], latents: [], made: this.changes };
    for (let most = number; found.images.length < number; ) {
      const first = found.images.length;
      try {
        const made = await post(`runs/${this.run.id}/${route}`, { ...whole, ...part(first, Math.min(most, number - first)) }, { signal: this.signal, again: true });
        found.images.push(...made.images);
        found.latents.push(...made.latents);
      } catch (error) {
        if (!error.most) throw error;
        most = error.most;
      }
    }
    return found;
  }

  /** The latents of the image that is shown; those of a uniform prior stay within it. */
  shown() {
    const latents = this.base.map((value, i) => this.directions.reduce((sum, each, k) => sum + (this.offsets[k] ?? 0) * each.vector[i], value));
    return this.run.prior === "uniform" ? latents.map((value) => Math.min(1, Math.max(-1, value))) : latents;
  }

  /** Show the image of some latents, with all directions at 0; one by other weights only until theirs is there. */
  show(latents, image, { label, made = this.changes } = {}) {
    if (this.classes && Number.isInteger(label) && label !== this.label) {
      this.classes.value = label;
      this.change({ label });
    }
    this.turn += 1;
    this.base = [...latents];
    this.offsets = this.directions.map(() => 0);
    this.sliders.sync();
    this.nearest.clear();
    this.image.src = png(image);
    for (const button of Object.values(this.actions)) button.disabled = false;
    if (made !== this.changes) this.redraw();
  }

  /** The image again, of other latents or by other weights. */
  redraw() {
    this.nearest.clear();
    return this.drawing();
  }

  async draw() {
    if (!this.base) return;
    await this.trying(async () => {
      const { turn } = this;
      const { images } = await this.generate([this.shown()]);
      if (turn === this.turn) this.image.src = png(images[0]); // else another is shown by now
    });
  }

  /** Other samples to choose from. */
  others() {
    this.wanted = null;
    return this.fill();
  }

  /** The samples that are wanted, or others where none are. */
  async drawWall() {
    await this.trying(async () => {
      const found = await (this.wanted ? this.generate(this.wanted) : this.sample(WALL));
      this.latents = found.latents;
      this.tiles(found);
    }, this.wall);
  }

  tiles({ images, latents, made }) {
    while (this.wall.children.length < images.length) { // those there are stay, and with them the focus
      this.wall.append(h("button", { type: "button", "aria-label": `Sample ${this.wall.children.length + 1}` }, h("img", { alt: "" })));
    }
    images.forEach((image, index) => {
      const tile = this.wall.children[index];
      tile.onclick = () => this.show(latents[index], image, { made });
      tile.firstChild.src = png(image);
    });
  }

  async draw_new() {
    this.pins.stop();
    await this.trying(async () => {
      const { images, latents, made } = await this.sample(1);
      this.show(latents[0], images[0], { made });
    });
  }

  /** Do it, and say what the server refuses; `place` is what it will change. */
  async trying(work, place = this.image) {
    place.waits = (place.waits ?? 0) + 1;
    place.setAttribute("aria-busy", "true");
    try {
      await work();
      say(this.said, "");
    } catch (error) {
      if (!this.signal.aborted) say(this.said, error.message, "failed");
    }
    place.waits -= 1;
    place.setAttribute("aria-busy", String(place.waits > 0));
  }

  savePicture() {
    const bytes = Uint8Array.from(atob(this.image.src.split(",")[1]), (letter) => letter.charCodeAt(0));
    save(new Blob([bytes], { type: "image/png" }), `${this.run.name}.png`);
  }

  saveLatents() {
    save(new Blob([`${this.shown().join(",")}\n`], { type: "text/csv" }), `${this.run.name}-latents.csv`); // for `equipoise sample --latents`
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=range]), select, textarea")) return;
    const action = {
      n: () => this.draw_new(), m: () => this.others(), r: () => this.sliders.reset(), s: () => this.actions.save.click(),
      a: () => this.pins.pin("a"), b: () => this.pins.pin("b"), p: () => this.pins.play(),
    }[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  }
}

const KEYS = () => h("details", { class: "more" }, h("summary", {}, "Keyboard"), h("dl", { class: "keys" },
  [["N", "new sample"], ["M", "draw other samples"], ["A, B", "pin the image"], ["P", "play between the pins, or stop"], ["R", "all sliders back"], ["S", "save the image"]]
    .map(([key, does]) => [h("dt", {}, key), h("dd", {}, does)])));
