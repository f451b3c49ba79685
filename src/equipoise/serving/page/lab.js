// GAN Lab: toys in the plane. Two trainings beside each other, step by step or on their own.

import { ask, connection, post } from "./api.js";
import { count, explained, field, h, newest, number, say, select } from "./dom.js";
import { drawPlane } from "./landscape.js";
import { meaning } from "./glossary.js";
import { store } from "./store.js";

const PACES = [["1", "1 step a picture"], ["10", "10 steps"], ["50", "50 steps"], ["200", "200 steps"]];
const DEFAULTS = ["wgan-gp", "gan"]; // worth seeing beside each other: one finds all modes, the other drops some

export async function open(place, _argument, signal) {
  place.append(h("header", { class: "intro" }, h("h1", {}, "GAN Lab"),
    h("p", {}, "A generator (G) learns to put its points where the data's points are; a discriminator (D) learns to tell them apart. The colour of the ground is what D thinks of each place: the lighter, the more real. Watch how G follows it.")));
  const said = h("p", { class: "says", role: "status" }, "Loading …");
  place.append(said);
  let choices;
  try {
    choices = await ask("toys", { signal });
  } catch (error) {
    if (!signal.aborted) say(said, error.message, "failed");
    return;
  }
  said.remove();
  const benches = DEFAULTS.map((objective, index) => new Bench(choices, objective, index, signal));
  const playing = () => benches.some((bench) => bench.playing);
  const both = h("button", { class: "primary", onclick: () => {
    const run = !playing();
    for (const bench of benches) run ? bench.play() : bench.stop();
  } }, "Run both");
  for (const bench of benches) bench.onchange = () => (both.textContent = playing() ? "Stop both" : "Run both");
  const step = h("button", { onclick: () => benches.forEach((bench) => bench.step()) }, "Step both");
  place.append(h("div", { class: "settings" }, both, step), h("div", { class: "benches" }, benches.map((bench) => bench.element)));
  await Promise.all(benches.map((bench) => bench.begin()));
}

class Bench {
  constructor(choices, objective, index, signal) {
    Object.assign(this, { choices, index, signal, playing: false, steps: 50, working: null });
    this.begin = newest(() => this.start()); // whoever leafs through the choices begins the last of them
    this.choice = { objective: choices.objectives.includes(objective) ? objective : choices.objectives[0], data: choices.data[0], seed: 0 };
    const change = (name) => (event) => {
      this.choice[name] = name === "seed" ? Number(event.target.value) : event.target.value;
      this.begin();
    };
    this.canvas = h("canvas", { role: "img", "aria-label": "No points yet", width: 720, height: 720 });
    this.said = h("p", { class: "says", role: "status" });
    this.measures = h("dl", { class: "scores" });
    this.button = h("button", { class: "primary", type: "button", onclick: () => (this.playing ? this.stop() : this.play()) }, "Run");
    this.pace = select(PACES, "50", (event) => (this.steps = Number(event.target.value)), { "aria-label": "Pace" });
    const side = "AB"[index];
    this.element = h("section", { class: "card bench", "aria-label": `Training ${side}` },
      h("h2", {}, `Training ${side}`),
      h("div", { class: "settings" },
        field("Objective", select(choices.objectives.map((name) => [name, name]), this.choice.objective, change("objective"))),
        field("Data", select(choices.data.map((name) => [name, name]), this.choice.data, change("data"))),
        field("Seed", h("input", { type: "number", min: 0, max: 9999, value: 0, onchange: change("seed") }))),
      h("div", { class: "buttons" }, this.button, h("button", { type: "button", onclick: () => this.step() }, "Step"), h("button", { type: "button", onclick: () => this.begin() }, "Begin again"), this.pace),
      this.canvas,
      h("p", { class: "legend" }, h("span", { class: "dot data" }, "data"), h("span", { class: "dot samples" }, "generated"), h("span", { class: "ramp" }, "less real … more real to D")),
      this.said, this.measures);
    signal.addEventListener("abort", () => this.end());
    addEventListener("pagehide", () => this.end(), { signal });
    addEventListener("theme", () => this.draw(), { signal });
    connection.addEventListener("back", () => this.begin(), { signal }); // another server knows nothing of this training
  }

  /** A new training by what is chosen. */
  async start() {
    this.stop();
    await this.working?.catch(() => {});
    this.end();
    await this.trying(async () => {
      const made = await post("toys", this.choice); // to its end: else it would stay at the server
      this.id = made.id;
      this.show(made);
    });
    if (this.signal.aborted) this.end();
    if (!this.id) return;
    if (!this.state?.samples) await this.step(1);
  }

  /** Let go of the training at the server. */
  end() {
    this.playing = false;
    if (this.id) ask(`toys/${this.id}`, { method: "DELETE", keepalive: true }).catch(() => {}); // it ends by itself otherwise
    this.id = null;
    this.state = null;
  }

  step(steps = this.steps) {
    if (!this.id) return undefined;
    return (this.working ??= this.trying(async () => this.show(await post(`toys/${this.id}/step`, { steps }, { signal: this.signal })))
      .finally(() => (this.working = null)));
  }

  async play() {
    if (this.playing) return;
    this.playing = true;
    this.button.textContent = "Stop";
    this.onchange();
    if (!this.id) await this.begin().then(() => (this.playing = Boolean(this.id)));
    while (this.playing && !this.signal.aborted) {
      await this.step();
      await new Promise(requestAnimationFrame); // the picture is drawn, and the page can be used
    }
    this.stop();
  }

  stop() {
    this.playing = false;
    this.button.textContent = "Run";
    this.onchange();
  }

  async trying(work) {
    try {
      await work();
      say(this.said, "");
    } catch (error) {
      this.stop();
      if (error.status === 404) this.id = null; // it was idle for too long
      if (!this.signal.aborted) say(this.said, error.status === 404 ? "This training has ended, as nobody used it: begin again." : error.message, "failed");
    }
  }

  show(state) {
    this.state = { ...this.state, ...state };
    this.draw();
    const { images = 0, metrics = {} } = this.state;
    const rows = [["images", count(images)], ...Object.entries(metrics).filter(([name]) => name !== "images").map(([name, value]) => [name, number(value)])];
    for (const [name, value] of rows) {
      let shown = this.measures.querySelector(`[data-name="${name}"]`);
      if (!shown) {
        shown = h("div", { "data-name": name }, h("dt", {}, explained(name === "images" ? "points seen" : store.called(name).symbol, meaning(name))), h("dd", {}, h("b")));
        this.measures.append(shown);
      }
      shown.querySelector("dd b").textContent = value;
    }
    for (const shown of [...this.measures.children]) if (!rows.some(([name]) => name === shown.dataset.name)) shown.remove();
    this.canvas.setAttribute("aria-label", `Points of ${this.choice.data} and of ${this.choice.objective} after ${count(images)} points`);
  }

  draw() {
    if (this.state?.real || this.state?.samples) drawPlane(this.canvas, this.state);
  }
}
