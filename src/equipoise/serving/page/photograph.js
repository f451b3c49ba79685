// A photograph of one's own: its latent, its reconstruction and where D finds it odd.

import { LONG, ask } from "./api.js";
import { h, number, png, say } from "./dom.js";

const KINDS = ["image/png", "image/jpeg", "image/webp"];
const MOST = 10 * 2 ** 20; // bytes, as the server has it

export function openPhotograph(explorer) {
  const said = h("p", { class: "says", role: "status" });
  const found = h("div", { class: "found" });
  const input = h("input", { type: "file", accept: KINDS.join(","), onchange: () => send(input.files[0]) });
  const drop = h("label", { class: "drop" }, h("span", {}, "Choose a picture, or drop or paste one here"), input);
  const element = h("section", {}, h("h2", {}, "Your own picture ", h("small", {}, "which latent makes it, and what D thinks of it")), drop, said, found);

  drop.ondrop = (event) => send(event.dataTransfer.files[0]);
  for (const name of ["dragover", "drop"]) { // beside the place for it, too: the browser would leave the page
    addEventListener(name, (event) => event.preventDefault(), { signal: explorer.signal });
  }
  addEventListener("paste", (event) => send(event.clipboardData.files[0]), { signal: explorer.signal });

  let sending = null; // AbortController of the picture that is looked for: a newer one takes its place

  async function send(file) {
    if (!file) return undefined;
    clear();
    sending = new AbortController();
    const signal = AbortSignal.any([explorer.signal, sending.signal]);
    if (!KINDS.includes(file.type)) return say(said, "Choose a PNG, JPEG or WebP picture.", "failed");
    if (file.size > MOST) return say(said, "This picture is larger than 10 MiB: choose a smaller one.", "failed");
    const form = new FormData();
    form.append("image", file);
    for (const [name, value] of Object.entries(explorer.weights())) form.append(name, value);
    say(said, "Looking for its latent: some seconds …");
    try {
      show(await ask(`runs/${explorer.run.id}/invert`, { method: "POST", form, signal, patience: LONG, again: true }));
      say(said, "");
    } catch (error) {
      if (!signal.aborted) say(said, error.message, "failed");
    }
    input.value = "";
    return undefined;
  }

  /** What was found, or is looked for, is of another picture or of other weights. */
  function clear() {
    sending?.abort();
    found.replaceChildren();
    say(said, "");
  }

  function show(answer) {
    const pictures = [
      [answer.original, "Your picture", "as the run sees it"],
      [answer.image, "Nearest that G makes", "by the latent that was found"],
      [answer.reconstruction, "Redrawn by D", "what D, an autoencoder, makes of it"],
      [answer.energy_map, "Energy map", "bright: where D is far off"],
    ].filter(([image]) => image);
    found.replaceChildren(h("div", {},
      h("div", { class: "row" }, pictures.map(([image, name, note]) => h("figure", {}, h("img", { src: png(image), alt: name }), h("figcaption", {}, h("b", {}, name), h("small", {}, note))))),
      answer.energy !== undefined && answer.energy !== null && h("p", {}, verdict(answer)),
      h("button", { type: "button", class: "primary", onclick: () => explorer.show(answer.latent, answer.image, { label: answer.label }) }, "Walk on from its latent")));
  }

  function verdict({ energy, typical }) {
    if (!typical) return `Its energy is ${number(energy)}.`;
    const oddness = energy > typical.p95 ? "odd: nearly all training images have less" : energy > typical.median ? "unremarkable" : "as usual as most training images";
    return `Its energy is ${number(energy)}; training images have ${number(typical.median)} in the middle, and 95 % of them less than ${number(typical.p95)}. To D it is ${oddness}.`;
  }

  return { element, clear };
}
