// Sliders along the directions in which images change most, and for every latent.

import { LONG, ask } from "./api.js";
import { h, say } from "./dom.js";

export function openSliders(explorer) {
  const directions = h("div", { class: "sliders" });
  const latents = h("div", { class: "sliders narrow" });
  const said = h("p", { class: "says" });
  const all = h("details", { class: "more", ontoggle: () => all.open && fill() }, h("summary", {}, `All ${explorer.run.latent ?? ""} latents`), latents);
  const element = h("section", {}, h("h2", {}, "Directions ", h("small", {}, "along which images change most")), directions, said, all);
  const reach = explorer.run.prior === "uniform" ? 1 : 3;

  function slider(name, [low, high], value, oninput) {
    const shown = h("output", {}, value.toFixed(1));
    const input = h("input", { type: "range", min: low, max: high, step: 0.05, value, oninput: () => {
      shown.textContent = Number(input.value).toFixed(1);
      explorer.pins.stop();
      oninput(Number(input.value));
      explorer.redraw();
    } });
    return h("label", {}, h("span", {}, name), input, shown);
  }

  let loading = null; // AbortController of the directions that are looked for: those of other weights take their place

  async function load() {
    loading?.abort();
    loading = new AbortController();
    const signal = AbortSignal.any([explorer.signal, loading.signal]);
    say(said, "Looking for directions …");
    try {
      const found = await ask(`runs/${explorer.run.id}/directions?${new URLSearchParams(explorer.weights())}`, { signal, patience: LONG });
      if (signal.aborted) return;
      if (explorer.base) explorer.base = explorer.shown(); // where the old directions led
      explorer.directions = found.directions;
      explorer.offsets = found.directions.map(() => 0);
      directions.replaceChildren(...found.directions.map((each, index) =>
        slider(each.name ?? `${index + 1}`, each.range ?? [-reach, reach], 0, (value) => (explorer.offsets[index] = value))));
      say(said, "");
    } catch (error) {
      if (!signal.aborted) say(said, error.message, "failed");
    }
  }

  /** Only once they are asked for: there may be hundreds. */
  function fill() {
    if (!explorer.base) return;
    latents.replaceChildren(...explorer.base.map((value, index) =>
      slider(String(index), [-reach, reach], value, (chosen) => (explorer.base[index] = chosen))));
  }

  /** Show where the image is. */
  function sync() {
    directions.querySelectorAll("label").forEach((label, index) => set(label, explorer.offsets[index] ?? 0));
    if (!all.open) return;
    if (latents.children.length) latents.querySelectorAll("label").forEach((label, index) => set(label, explorer.base[index]));
    else fill();
  }

  function set(label, value) {
    label.querySelector("input").value = value;
    label.querySelector("output").textContent = value.toFixed(1);
  }

  function reset() {
    explorer.offsets = explorer.directions.map(() => 0);
    sync();
    explorer.redraw();
  }

  return { element, load, sync, reset };
}
