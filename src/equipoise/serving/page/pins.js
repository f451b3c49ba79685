// Two pinned samples, and everything between them.

import { h, newest, png } from "./dom.js";

const FRAMES = 33; // between the pins, the pins among them
const STRIP = 9; // of these, shown side by side
const SPEED = 60; // milliseconds of a frame while it plays

export function openPins(explorer) {
  const pins = { a: null, b: null };
  let frames = []; // {image, latents, made}
  let timer = 0;

  const image = (name) => h("img", { alt: "", class: "tile", hidden: true, "data-pin": name });
  const button = (name) => h("button", { type: "button", class: "pin", onclick: () => pin(name) }, image(name), h("span", {}, `Pin ${name.toUpperCase()}`));
  const buttons = { a: button("a"), b: button("b") };
  const mix = h("input", { type: "range", min: 0, max: FRAMES - 1, step: 1, value: 0, disabled: true, "aria-label": "Between A and B", oninput: () => {
    stop();
    go(Number(mix.value));
  } });
  const play = h("button", { type: "button", disabled: true, onclick: toggle }, "Play");
  const hint = h("small", {}, "Pin two images to see everything between them.");
  const strip = h("div", { class: "strip" });
  const element = h("div", { class: "between" }, h("div", { class: "pins" }, buttons.a, h("div", { class: "mix" }, mix, play, hint), buttons.b), strip);

  function pin(name) {
    if (!explorer.base) return;
    stop();
    pins[name] = explorer.shown();
    const shown = buttons[name].querySelector("img");
    shown.src = explorer.image.src;
    shown.hidden = false;
    buttons[name].lastChild.textContent = `${name.toUpperCase()}, pinned`;
    mix.value = name === "a" ? 0 : FRAMES - 1;
    refresh(); // the image on the stage may still be of a moment ago
  }

  const load = newest(async () => {
    if (!pins.a || !pins.b) return;
    await explorer.trying(async () => {
      const found = await explorer.between(pins.a, pins.b, FRAMES);
      frames = found.images.map((each, index) => ({ image: each, latents: found.latents[index], made: found.made }));
      mix.disabled = play.disabled = false;
      hint.textContent = "";
      const every = (frames.length - 1) / (STRIP - 1);
      strip.replaceChildren(...Array.from({ length: STRIP }, (_, index) => Math.round(index * every)).map((index) =>
        h("button", { type: "button", "aria-label": `${Math.round((100 * index) / (frames.length - 1))} % of the way from A to B`, onclick: () => {
          stop();
          mix.value = index;
          go(index);
        } }, h("img", { src: png(frames[index].image), alt: "" }))));
    });
  });

  function go(index) {
    mix.setAttribute("aria-valuetext", `${Math.round((100 * index) / (FRAMES - 1))} % of the way from A to B`);
    if (frames[index]) explorer.show(frames[index].latents, frames[index].image, { made: frames[index].made });
  }

  function toggle() {
    if (timer) return stop();
    if (play.disabled) return undefined;
    play.textContent = "Stop";
    let [index, step] = [Number(mix.value), 1];
    timer = setInterval(() => {
      if (index + step < 0 || index + step >= frames.length) step = -step;
      mix.value = index += step;
      go(index);
    }, SPEED);
    return undefined;
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  }

  /** Other weights, or another pin: the latents stay, their images change. */
  async function refresh() {
    stop();
    const pinned = Object.entries(pins).filter(([, latents]) => latents);
    if (!pinned.length) return;
    await explorer.trying(async () => {
      const { images, made } = await explorer.generate(pinned.map(([, latents]) => latents));
      pinned.forEach(([name, latents], index) => {
        const stale = made !== explorer.changes || latents !== pins[name]; // whose image comes by another answer
        if (!stale) buttons[name].querySelector("img").src = png(images[index]);
      });
    });
    load();
  }

  explorer.signal.addEventListener("abort", stop);
  return { element, pin, play: toggle, stop, refresh };
}
