// The training images nearest to the one that is shown: has it been learnt by heart?

import { LONG, post } from "./api.js";
import { explained, h, number, png } from "./dom.js";

const CLOSE = 0.5; // of the usual distance: below it an image may be a copy

export function openNearest(explorer) {
  const found = h("div", { class: "nearest", "aria-live": "polite" });
  const button = h("button", { type: "button", onclick: look }, "Find them");
  const element = h("section", {},
    h("h2", {}, explained("Nearest training images", "If a generated image is a copy of one that it was trained on, the generator has learnt by heart instead of learning what such images have in common. Here are the most similar ones of the training data.")),
    button, found);

  async function look() {
    button.disabled = true;
    found.replaceChildren(h("p", { class: "says" }, "Looking through the training images …"));
    await explorer.trying(async () => {
      const answer = await post(`runs/${explorer.run.id}/nearest`, { ...explorer.weights(), latent: explorer.shown(), label: explorer.label ?? undefined }, { signal: explorer.signal, patience: LONG, again: true });
      found.replaceChildren(h("p", {}, verdict(answer)), h("div", { class: "row" },
        h("figure", { class: "this" }, h("img", { src: explorer.image.src, alt: "The image that is shown" }), h("figcaption", {}, "this one")),
        answer.images.map((each) => h("figure", {}, h("img", { src: png(each.image), alt: `Training image ${each.index}` }), h("figcaption", {}, number(each.distance))))));
    });
    if (!found.querySelector(".row")) found.replaceChildren(); // refused, and said so
    button.disabled = false;
  }

  function verdict({ images, usual_distance: usual }) {
    const [nearest] = images;
    if (!nearest) return "There are no training images to compare with.";
    if (!usual) return `The nearest is ${number(nearest.distance)} away.`;
    const beside = `The nearest is ${number(nearest.distance)} away; a real image is usually ${number(usual)} from its own nearest.`;
    return nearest.distance < CLOSE * usual ? `${beside} That is much nearer: look whether it is a copy, or so plain that many images are like it.` : `${beside} So it is no copy.`;
  }

  return { element, clear: () => found.replaceChildren() };
}
