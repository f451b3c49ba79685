// One run that is watched: how far it is, how it is in words, its images with a slider over time, its scores.

import { LONG, ask, picture } from "./api.js";
import { count, duration, explained, h, number } from "./dom.js";
import { SCORES, STATES, meaning } from "./glossary.js";
import { store } from "./store.js";

const GRACE = 0.1; // share of a run in which it may still find its way; the server warns of nothing before
const FRAME = 160; // milliseconds of a picture when the whole run is played
const AGAIN = 1000; // milliseconds after which a picture that did not come is asked for once more
const WRITTEN = ["running", "empty"]; // states in which somebody may write
let reads = 0; // of runs, by which pictures are told that stood at one address

export class RunCard {
  constructor(run, { onmark, signal }) {
    this.run = run;
    this.onmark = onmark;
    this.samples = [];
    this.broken = false; // whether nothing can be shown of it
    this.latest = true; // whether the newest samples are shown as they come
    this.signal = signal;
    this.build();
    this.status(run);
    signal.addEventListener("abort", () => clearInterval(this.playing));
  }

  build() {
    this.title = h("h2");
    this.state = h("p", { class: "state" });
    this.bar = h("progress", { max: 1, "aria-label": "Progress of the run" });
    this.health = h("div", { class: "health", role: "status" });
    this.generated = h("img", { alt: "", class: "grid" });
    this.real = h("img", { alt: "Real images, for comparison", class: "grid" });
    this.slider = h("input", { type: "range", min: 0, max: 0, step: 1, value: 0, "aria-label": "Time: samples after so many images", oninput: () => this.go(Number(this.slider.value)) });
    this.when = h("output", { class: "when" });
    this.play = h("button", { type: "button", onclick: () => this.toggle() }, "Play");
    this.waiting = h("p", { class: "waiting" });
    this.scores = h("dl", { class: "scores" });
    this.explore = h("a", { class: "button" }, "Explore this generator");
    this.pictures = h("div", { class: "pictures" },
      h("figure", {}, h("div", { class: "frame" }, this.generated, this.waiting), h("figcaption", {}, h("b", {}, "Generated "), this.when)),
      (this.beside = h("figure", {}, h("div", { class: "frame" }, this.real), h("figcaption"))));
    this.time = h("div", { class: "time" }, this.play, this.slider);
    this.element = h("article", { class: "card run" }, h("header", {}, this.title, this.state, this.bar), this.health, this.pictures, this.time, this.scores, this.explore);
  }

  /** Its place among those watched, which is its colour. */
  place(index, of) {
    this.element.className = `card run run-${index + 1} ${of > 1 ? "several" : ""}`;
  }

  status(run) {
    this.run = { ...this.run, ...run };
    const { name, title, state, images, total, images_per_second: speed, seconds_left: left, score, can } = this.run;
    this.title.replaceChildren(name, h("small", {}, ` ${title}`));
    const parts = [h("b", { class: `is ${state}` }, STATES[state] ?? state)];
    const trains = Boolean(total) && state !== "imported";
    this.bar.hidden = !trains; // nobody knows how far a run is that cannot be read
    this.pictures.hidden = this.time.hidden = this.broken || (state === "imported" && !this.samples.length);
    if (trains) parts.push(`${count(images)} of ${count(total)} images`);
    if (speed && state === "running") parts.push(`${count(speed)} images a second`);
    if (left !== null && left !== undefined && state === "running") parts.push(`${duration(left)} left`);
    this.state.replaceChildren(...parts.flatMap((part, index) => (index ? [" · ", part] : [part])));
    this.bar.value = total ? Math.min(1, images / total) : 0;
    this.explore.href = `#explore/${this.run.id}`;
    this.explore.hidden = !can?.generate;
    this.showHealth(score);
  }

  showHealth(score) {
    const { state, health = [], images, total, note } = this.run;
    const early = state === "running" && images < GRACE * total;
    const wrong = health.filter((each) => each.level !== "note");
    const key = JSON.stringify([state, early, score, wrong, note]);
    if (key === this.healthKey) return; // said once, not at every status
    this.healthKey = key;
    const said = wrong.map((each) => h("details", { class: `finding ${each.level}`, open: wrong.length === 1 }, // several would hide the samples
      h("summary", {}, h("b", {}, `${each.level === "error" ? "Error" : "Warning"}: ${each.kind.replaceAll("-", " ")}`)),
      h("p", {}, sentence(each.evidence || each.message)),
      each.meaning && h("p", {}, sentence(each.meaning)),
      each.remedy && h("p", {}, h("b", {}, "What to do: "), each.remedy)));
    if (note) said.unshift(h("p", { class: "finding error" }, sentence(note)));
    if (!said.length) said.push(h("p", { class: early ? "" : "well" }, early ? WELL.early : WELL[state] ?? ""));
    if (score) said.push(h("p", {}, score));
    this.health.replaceChildren(...said);
  }

  event(event) {
    const others = (this.run.health ?? []).filter((each) => each.kind !== event.kind);
    this.status({ health: event.level === "note" || event.level === "info" ? others : [...others, event] });
  }

  /** All that the server knows of the run. */
  load(facts, measures) {
    this.broken = false;
    this.healthKey = ""; // what is said may be of another run that was in its place
    this.version = ++reads;
    this.samples = facts.samples ?? [];
    this.pictures.classList.toggle("toy", Boolean(facts.toy));
    this.beside.hidden = Boolean(facts.toy); // a toy's picture shows its data too
    this.status(facts);
    for (const shown of [...this.scores.children]) if (!measures[shown.dataset.name]) shown.remove();
    this.measures(measures);
    this.showReal(facts);
    this.reach();
    if (this.latest) this.newest();
    else this.show(Number(this.slider.value));
    if (this.samples.length) return;
    this.generated.removeAttribute("src");
    this.when.textContent = "";
    this.wait(WRITTEN.includes(facts.state) ? "The first samples come with the first pictures of the run." : "It wrote no samples.");
  }

  /** Say why there is no picture. */
  wait(why) {
    this.waiting.textContent = why;
    this.waiting.hidden = false;
  }

  /** The slider and its button, as far as there are samples. */
  reach() {
    this.slider.max = Math.max(0, this.samples.length - 1);
    this.slider.disabled = this.play.disabled = this.samples.length < 2;
  }

  /** Real images, once for each configuration: another run may come to be in its place. */
  async showReal({ toy, config }) {
    const text = JSON.stringify(config);
    if (toy || text === this.config) return;
    this.config = text;
    this.beside.lastChild.replaceChildren(h("b", {}, "Real "), "from its data");
    try {
      const found = await ask(`runs/${this.run.id}/real.png?count=64`, { signal: this.signal, patience: LONG });
      if (text === this.config) this.real.src = URL.createObjectURL(found);
    } catch (error) {
      if (error.status && text === this.config) this.beside.lastChild.replaceChildren(error.message); // the data may be elsewhere by now
    }
  }

  sample(images) {
    if (this.samples.at(-1) >= images) { // gone back
      this.samples = this.samples.filter((each) => each < images);
      this.version = ++reads;
    }
    this.samples.push(images);
    this.reach();
    if (this.latest) this.newest();
  }

  newest() {
    if (!this.samples.length) return;
    this.slider.value = this.samples.length - 1;
    this.show(this.samples.length - 1);
    this.latest = true;
    this.onmark(null);
  }

  /** To the samples at an index, by hand. */
  go(index) {
    this.stop();
    this.show(index);
  }

  show(index, again = true) {
    const images = this.samples[index];
    if (images === undefined) return;
    this.latest = index === this.samples.length - 1;
    this.onmark(this.latest ? null : images);
    this.slider.setAttribute("aria-valuetext", `after ${count(images)} images`);
    this.wanted = images;
    const next = new Image(); // shown once it is there, so that nothing flickers
    next.onload = () => {
      if (this.wanted !== images) return;
      this.generated.src = next.src;
      this.generated.alt = `Samples of ${this.run.name} after ${count(images)} images`;
      this.when.textContent = `after ${count(images)} images${this.latest && this.run.state === "running" ? ", the newest" : ""}`;
      this.waiting.hidden = true;
    };
    next.onerror = () => {
      if (this.wanted !== images) return;
      if (again) setTimeout(() => this.wanted === images && this.show(index, false), AGAIN);
      else {
        this.generated.removeAttribute("src");
        this.when.textContent = `after ${count(images)} images`;
        this.wait("This picture cannot be read.");
      }
    };
    next.src = picture(this.run.id, `samples/${images}.png?version=${this.version}`); // a browser asks for none twice
  }

  toggle() {
    if (this.playing) return this.stop();
    let index = Number(this.slider.value);
    if (index >= this.samples.length - 1) index = -1;
    this.play.textContent = "Stop";
    this.playing = setInterval(() => {
      this.slider.value = ++index;
      this.show(index);
      if (index >= this.samples.length - 1) this.stop();
    }, FRAME);
  }

  stop() {
    clearInterval(this.playing);
    this.playing = 0;
    this.play.textContent = "Play";
  }

  measures(latest) {
    for (const name of SCORES) {
      if (!latest[name]) continue;
      const { value, images } = latest[name];
      const label = store.called(name);
      let shown = this.scores.querySelector(`[data-name="${name}"]`);
      if (!shown) {
        shown = h("div", { "data-name": name }, h("dt", {}, explained(label.symbol, meaning(name))), h("dd", {}, h("b"), label.note && h("small", {}, label.note), h("small", { class: "at" })));
        this.scores.append(shown);
      }
      shown.querySelector("dd b").textContent = number(value);
      shown.querySelector("dd .at").textContent = images < latest.images?.value ? `after ${count(images)} images` : "";
    }
  }

  /** Say why there is nothing to show. */
  failed(message) {
    this.broken = this.pictures.hidden = this.time.hidden = true;
    this.health.replaceChildren(h("p", { class: "finding error" }, message));
  }
}

const sentence = (text) => text && `${text[0].toUpperCase()}${text.slice(1)}`;

const WELL = {
  early: "Nothing is wrong so far; the first tenth of a run is too early to tell.",
  running: "Nothing is wrong: no sign of collapse, lost balance or divergence.",
  finished: "Nothing was found wrong.",
  interrupted: "It stopped before its end, and nothing was found wrong. equipoise resume goes on with it.",
  empty: "It has written nothing yet.",
  imported: "It was not trained here, so there are no curves and no samples over time: explore it.",
  unreadable: "Its files cannot be read.",
};
