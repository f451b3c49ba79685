// The training images nearest to the one that is shown: has it been learnt by heart?

import { LONG, post } from "./api.js";
import { explained, h, number, png } from "./dom.js";

const CLOSE = 0.5; // of the usual distance: below it an image may be a copy

export function openNearest(explorer) {
  const found = h("div", { class: "nearest", "aria-live": "polite" });
  const button = h("button", { type: "button", disabled: true, onclick: look }, "Find them");
  const element = h("section", {},
    h("h2", {}, explained("Nearest training images", "If a generated image is a copy of one that it was trained on, the generator has learnt by heart instead of learning what such images have in common. Here are the most similar ones of the training data.")),
    button, found);

  let looking = null; // AbortController of the image whose neighbours are looked for, while it is the one shown

  async function look() {
    clear();
    looking = new AbortController();
    const signal = AbortSignal.any([explorer.signal, looking.signal]);
    const latent = explorer.shown();
    found.append(h("p", { class: "says" }, "Looking through the training images …"));
    try {
      const asked = { ...explorer.weights(), latent, label: explorer.label ?? undefined };
      const [answer, { images: [image] }] = await Promise.all([
        post(`runs/${explorer.run.id}/nearest`, asked, { signal, patience: LONG, again: true }),
        explorer.generate([latent])]); // the one on the stage may still be of a moment ago
      if (signal.aborted) return;
      found.replaceChildren(h("p", {}, verdict(answer)), h("div", { class: "row" },
        h("figure", { class: "this" }, h("img", { src: png(image), alt: "The image that is shown" }), h("figcaption", {}, "this one")),
        answer.images.map((each) => h("figure", {}, h("img", { src: png(each.image), alt: `Training image ${each.index}` }), h("figcaption", {}, number(each.distance))))));
    } catch (error) {
      if (!signal.aborted) found.replaceChildren(h("p", { class: "says failed" }, error.message));
    }
  }

  /** Another image is shown: what was found, or is looked for, is of none any more. */
  function clear() {
    looking?.abort();
    found.replaceChildren();
  }

  function verdict({ images, usual_distance: usual }) {
    const [nearest] = images;
    if (!nearest) return "There are no training images to compare with.";
    if (!usual) return `The nearest is ${number(nearest.distance)} away.`;
    const beside = `The nearest is ${number(nearest.distance)} away; a real image is usually ${number(usual)} from its own nearest.`;
    return nearest.distance < CLOSE * usual ? `${beside} That is much nearer: look whether it is a copy, or so plain that many images are like it.` : `${beside} So it is no copy.`;
  }

  return { element, button, clear };
}
