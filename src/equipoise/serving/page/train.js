// A new run, where the server was started with --allow-train.

import { ask, post } from "./api.js";
import { field, h, say, select } from "./dom.js";
import { store } from "./store.js";

export async function open(place, _argument, signal) {
  const said = h("p", { class: "says", role: "alert" }, "");
  const body = h("div", { class: "card form" }, h("h1", {}, "New run"), said);
  place.append(body);
  let choices;
  try {
    choices = await ask("train", { signal });
  } catch (error) {
    if (!signal.aborted) say(said, error.message, "failed");
    return;
  }
  const { limits = {} } = choices;
  const data = choices.data.filter((name) => !choices.toys.includes(name)); // points have the GAN Lab
  const minutes = h("input", { type: "number", min: 0.1, step: "any", max: limits.minutes ?? 600, value: Math.min(5, limits.minutes ?? 5), required: true });
  const resolution = h("input", { type: "number", min: 16, max: limits.resolution ?? 256, step: 1, placeholder: "by the data" });
  const chosen = select(data.map((name) => [name, name]), data[0]);
  const objective = select(choices.objectives.map((name) => [name, name]), choices.objectives.includes("began") ? "began" : choices.objectives[0]);
  const button = h("button", { class: "primary" }, "Train");
  const form = h("form", { onsubmit: async (event) => {
    event.preventDefault();
    button.disabled = true;
    say(said, "Starting …");
    try {
      const { id } = await post("train", { data: chosen.value, objective: objective.value, minutes: Number(minutes.value), resolution: resolution.value ? Number(resolution.value) : undefined });
      await shown(id, signal, (seconds) => say(said, `Reading the data and choosing settings, since ${seconds} s: then the run shows itself …`));
      if (!signal.aborted) location.hash = `#live/${id}`; // unless another view was opened meanwhile
    } catch (error) {
      if (!signal.aborted) say(said, error.message, "failed");
    }
    button.disabled = false;
  } },
    field("Images", chosen, "what it learns to make"),
    field("Objective", objective, "by what it learns; began is a good start"),
    field("Minutes", minutes, limits.minutes ? `at most ${limits.minutes}` : ""),
    field("Size in pixels", resolution, "empty: as fits the data"),
    h("p", {}, h("small", {}, `It trains on the machine of this server${limits.runs ? `, ${limits.runs === 1 ? "one" : limits.runs} at a time` : ""}. All else is chosen from the images.`)),
    button);
  if (choices.running) said.before(inProgress(choices.run, form, signal));
  else said.before(form);
}

/** What trains already, which may be stopped, and then `form`. */
function inProgress(id, form, signal) {
  const said = h("p", { class: "says", role: "status" }, "A run that was started here is training: one at a time.");
  const stop = h("button", { type: "button", onclick: async () => {
    stop.disabled = true;
    try {
      say(said, "It writes its checkpoint; equipoise resume goes on with it …");
      await ask("train", { method: "DELETE" });
      while ((await ask("train", { signal })).running) await new Promise((resolve) => setTimeout(resolve, 500));
      place.replaceWith(form);
    } catch (error) {
      if (!signal.aborted) say(said, error.message, "failed");
      stop.disabled = false;
    }
  } }, "Stop it");
  const place = h("div", {}, said, h("p", { class: "row" }, h("a", { href: `#live/${id}` }, "See it"), " ", stop));
  return place;
}

/** Wait until the run is in the list, or the view is left; it throws what kept the run from beginning. */
async function shown(id, signal, waited) {
  const began = performance.now();
  while (!signal.aborted) {
    waited(Math.round((performance.now() - began) / 1000));
    const { running, failed } = await ask("train", { signal });
    await store.load(); // after that: it may have begun, and ended, meanwhile
    if (store.runs.has(id)) return;
    if (!running) throw new Error(failed ?? "It was stopped before it began.");
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
