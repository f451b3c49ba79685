// The page of an exported generator: latents in, images out, all of it in the browser.
"use strict";

const about = globalThis.ABOUT;
const [channels, height, width] = about.shape;
const reach = about.prior === "normal" ? 3 : 1; // of a latent's slider
const GALLERY = 12; // samples to pick from
const $ = (id) => document.getElementById(id);

// State. The image shown is that of `base` plus the directions, each as far as its slider says.
const state = {
  base: new Float32Array(about.latent),
  offsets: new Float32Array(about.directions.length),
  label: 0,
  pins: { a: null, b: null },
};
let run = null; // latents of n rows, and n labels -> images of n rows
let provider = null; // webgpu or wasm
let playing = 0;

// The model and its runtime

/** Bytes of a script's PACKED entry: base64 of gzip. */
async function unpack(name) {
  const text = await fetch(`data:application/octet-stream;base64,${PACKED[name]}`);
  delete PACKED[name];
  return new Response(text.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** Load a script of this folder. Scripts, not fetch or modules: those are refused to a page opened as a file. */
function loadScript(source) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = source;
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${source} is missing`));
    document.head.append(script);
  });
}

async function hasGPU() {
  try {
    return Boolean(await navigator.gpu?.requestAdapter());
  } catch {
    return false;
  }
}

async function load(provider) {
  delete globalThis.ort;
  await Promise.all([loadScript(`runtime/${provider}.js`), loadScript("model.js")]);
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = 1; // more need headers that a file or a plain server does not send
  ort.env.wasm.wasmBinary = await unpack("wasm");
  const glue = new Blob([await unpack("glue")], { type: "text/javascript" });
  ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(glue) };
  const session = await ort.InferenceSession.create(new Uint8Array(await unpack("model")), {
    executionProviders: [provider],
  });
  const compute = async (rows, labels) => {
    const feeds = { latents: new ort.Tensor("float32", rows, [rows.length / about.latent, about.latent]) };
    if (about.classes) feeds.labels = new ort.Tensor("int64", BigInt64Array.from(labels, BigInt), [labels.length]);
    const outputs = await session.run(feeds);
    return outputs.images.getData(true);
  };
  let queue = Promise.resolve(); // a session runs one batch at a time
  run = (rows, labels) => (queue = queue.catch(() => {}).then(() => compute(rows, labels)));
  await run(state.base.slice(), [0]); // what cannot run here fails now
}

async function start() {
  for (const provider of (await hasGPU()) ? ["webgpu", "wasm"] : ["wasm"]) {
    try {
      await load(provider);
      return provider;
    } catch (error) {
      if (provider === "wasm") throw error;
      console.warn("WebGPU failed, WebAssembly follows:", error);
    }
  }
}

// Latents

/** One draw from the prior. */
function draw() {
  return Float32Array.from({ length: about.latent }, () => {
    if (about.prior === "uniform") return 2 * Math.random() - 1;
    return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()); // Box and Muller
  });
}

/** The latents of the image that is shown; those of a uniform prior stay within it. */
function shown() {
  const latents = state.base.slice();
  state.offsets.forEach((offset, k) => {
    if (offset) about.directions[k].forEach((part, i) => (latents[i] += offset * part));
  });
  return about.prior === "uniform" ? latents.map((value) => Math.min(1, Math.max(-1, value))) : latents;
}

/** Between two latents: along the sphere for normal ones, whose length it keeps, else along the line. */
function interpolate(a, b, share) {
  const norm = (v) => Math.hypot(...v);
  const cosine = a.reduce((sum, value, i) => sum + value * b[i], 0) / (norm(a) * norm(b) || 1);
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  if (about.prior === "uniform" || angle < 1e-3 || angle > Math.PI - 1e-3) {
    return a.map((value, i) => value + share * (b[i] - value));
  }
  const [left, right] = [Math.sin((1 - share) * angle), Math.sin(share * angle)].map((part) => part / Math.sin(angle));
  return a.map((value, i) => left * value + right * b[i]);
}

// Pictures

/** Paint one image, values nominally in [-1, 1], of a run's output. */
function paint(canvas, values, row = 0) {
  const plane = height * width;
  const image = new ImageData(width, height);
  for (let pixel = 0; pixel < plane; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      const value = values[(row * channels + (channels === 3 ? channel : 0)) * plane + pixel];
      image.data[4 * pixel + channel] = Math.round((value + 1) * 127.5); // which clamps to 0 … 255
    }
    image.data[4 * pixel + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

let drawing = null; // the redraw under way
let next = null; // the one after it, which shows what is wanted by then

/** Redraw the image; resolves when what is asked for now is to be seen. */
function redraw() {
  if (drawing) {
    next ??= drawing.then(() => {
      next = null;
      return redraw();
    });
    return next;
  }
  drawing = drawNow()
    .catch(failed)
    .finally(() => (drawing = null));
  return drawing;
}

async function drawNow() {
  const began = performance.now();
  paint($("image"), await run(shown(), [state.label]));
  const took = performance.now() - began;
  const name = provider === "webgpu" ? "WebGPU" : "WebAssembly";
  say(`${name}, ${took < 10 ? took.toFixed(1) : Math.round(took)} ms an image`);
}

async function fillGallery() {
  const latents = Array.from({ length: GALLERY }, draw);
  const labels = latents.map(() => state.label);
  const rows = Float32Array.from(latents.flatMap((each) => [...each]));
  const images = await run(rows, labels);
  $("samples").replaceChildren(
    ...latents.map((each, row) => {
      const button = document.createElement("button");
      const canvas = document.createElement("canvas");
      button.title = "Show this sample";
      button.setAttribute("aria-label", `Sample ${row + 1}`);
      paint(canvas, images, row);
      button.append(canvas);
      button.onclick = () => {
        stop();
        return show(each);
      };
      return button;
    }),
  );
}

// Actions

/** Show the image of some latents, with all directions at 0. */
function show(latents) {
  state.base = Float32Array.from(latents);
  state.offsets.fill(0);
  sync();
  return redraw();
}

function newSample() {
  stop();
  return show(draw());
}

/** Pin what is asked for now. Its picture is computed for itself, as that of the image may be of latents before. */
function pin(name) {
  const latents = (state.pins[name] = shown());
  run(latents, [state.label])
    .then((images) => {
      if (state.pins[name] === latents) paint($(`pin-${name}`).querySelector("canvas"), images);
    })
    .catch(failed);
  const both = Boolean(state.pins.a && state.pins.b);
  $("mix").disabled = $("play").disabled = !both;
  $("mix").value = name === "a" ? 0 : 1;
}

function mix(share) {
  if (!state.pins.a || !state.pins.b) return undefined;
  $("mix").value = share;
  return show(interpolate(state.pins.a, state.pins.b, Number($("mix").value)));
}

/** Move a little from where the slider between the pins stands. */
function step(share) {
  stop();
  return mix(Number($("mix").value) + share);
}

/** Move between the pins and back, until stopped. */
function play() {
  if (playing) return stop();
  if ($("play").disabled) return undefined;
  $("play").textContent = "Stop";
  const began = performance.now();
  const frame = async () => {
    await mix((1 - Math.cos((performance.now() - began) / 1500)) / 2);
    if (playing) playing = requestAnimationFrame(frame);
  };
  playing = requestAnimationFrame(frame);
  return undefined;
}

function stop() {
  cancelAnimationFrame(playing);
  playing = 0;
  $("play").textContent = "Play";
}

function reset() {
  state.offsets.fill(0);
  sync();
  return redraw();
}

function setClass(label) {
  state.label = label;
  $("class").value = label;
  return Promise.all([redraw(), fillGallery()]);
}

function download(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

const saveImage = () => $("image").toBlob((blob) => download(`${about.title}.png`, blob));
const saveLatents = () => download(`${about.title}.csv`, new Blob([`${[...shown()].join(",")}\n`], { type: "text/csv" }));

// Controls

function slider(parent, name, hint, input) {
  const [row, text, range, value] = ["label", "span", "input", "output"].map((tag) => document.createElement(tag));
  text.textContent = name;
  Object.assign(range, { type: "range", min: -reach, max: reach, step: 0.01, value: 0, title: hint, disabled: true });
  range.oninput = () => {
    stop();
    value.value = Number(range.value).toFixed(2);
    input(Number(range.value));
    redraw();
  };
  row.append(text, range, value);
  parent.append(row);
  return { range, value };
}

const sliders = {
  offsets: about.directions.map((_, k) =>
    slider($("directions"), `${k}`, `strength ${about.strengths[k].toFixed(3)}`, (value) => (state.offsets[k] = value)),
  ),
  base: Array.from({ length: about.sliders }, (_, i) =>
    slider($("latents"), `${i}`, `latent ${i}`, (value) => (state.base[i] = value)),
  ),
};

/** Let the sliders say what the state is. */
function sync() {
  for (const [part, rows] of Object.entries(sliders)) {
    rows.forEach(({ range, value }, i) => {
      range.value = state[part][i];
      value.value = state[part][i].toFixed(2);
    });
  }
}

function say(text) {
  $("status").textContent = text;
}

function failed(error) {
  console.error(error);
  $("status").className = "failed";
  say(`This browser cannot run the generator: ${error.message ?? error}`);
}

const keys = {
  n: newSample,
  m: fillGallery,
  a: () => pin("a"),
  b: () => pin("b"),
  p: play,
  r: reset,
  s: saveImage,
  ArrowLeft: () => step(-0.05),
  ArrowRight: () => step(0.05),
};

function bind() {
  const actions = { new: newSample, reset, save: saveImage, "save-latents": saveLatents, more: fillGallery, play };
  for (const [id, action] of Object.entries(actions)) $(id).onclick = action;
  for (const name of ["a", "b"]) $(`pin-${name}`).onclick = () => pin(name);
  $("mix").oninput = () => {
    stop();
    mix($("mix").value);
  };
  $("class").onchange = () => setClass(Number($("class").value));
  document.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(SELECT|INPUT)$/.test(event.target.tagName)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const label = about.classes && /^[0-9]$/.test(key) ? Number(key) : about.classes;
    if (label < about.classes) setClass(label);
    else if (keys[key]) keys[key]();
    else return;
    event.preventDefault();
  };
  for (const control of document.querySelectorAll("button, .sliders input")) {
    control.disabled = control.id === "play";
  }
}

function describe() {
  const size = `${width}×${height}`;
  document.title = about.title;
  $("title").textContent = about.title;
  $("latent-count").textContent = about.sliders === about.latent ? about.latent : `first ${about.sliders}`;
  $("about").textContent = about.imported
    ? `A generator of ${size} images, trained elsewhere, and imported by equipoise ${about.equipoise}.`
    : `A generator of ${size} images of ${about.data}, trained as a GAN with the objective ${about.objective} by ` +
      `equipoise ${about.equipoise}; here is ${about.weights}.`;
  document.documentElement.style.setProperty("--ratio", `${width} / ${height}`);
  for (const canvas of document.querySelectorAll("canvas")) Object.assign(canvas, { width, height });
  if (!about.classes) {
    for (const part of [$("class-keys"), $("class-keys").nextElementSibling]) part.remove();
    return;
  }
  $("class-row").hidden = false;
  for (let label = 0; label < about.classes; label++) {
    $("class").append(new Option(about.class_names[label] ?? `${label}`, label));
  }
}

const ready = (async () => {
  describe();
  provider = await start();
  bind();
  await newSample();
  await fillGallery();
})();
ready.catch(failed);

// For scripts and tests: what is shown, and its pixels (RGBA, row by row).
globalThis.generator = {
  ready,
  get provider() {
    return provider;
  },
  async image(latents, label = 0) {
    state.label = label;
    await show(latents);
    return [...$("image").getContext("2d").getImageData(0, 0, width, height).data];
  },
  latents: () => [...shown()],
  interpolate,
};
