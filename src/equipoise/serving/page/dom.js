// Elements, words for numbers, and the two patterns that every view needs.

/** An element: h("button", { class: "primary", onclick: go }, "Go"). Absent and false attributes and children are left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** "120,000" */
export const count = (value) => Math.round(value).toLocaleString("en");

/** Three significant digits, such as "0.0371" or "1,040". */
export function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 1000) return count(value);
  if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

/** "3 min 20 s" */
export function duration(seconds) {
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, Math.round(seconds) % 60];
  if (h >= 48) return `${Math.round(h / 24)} days`;
  if (h) return m ? `${h} h ${m} min` : `${h} h`;
  if (m >= 10 || (m && !s)) return `${m} min`;
  return m ? `${m} min ${s} s` : `${s} s`;
}

/** A button that opens an explanation beneath it. */
export function explained(label, text) {
  if (!text) return h("span", {}, label);
  return h("details", { class: "what" }, h("summary", {}, h("span", {}, label), h("i", { "aria-hidden": "true" }, "?"),
    h("span", { class: "hidden" }, ", what is this?")), h("p", {}, text));
}

/** A label above what it names. */
export const field = (name, control, hint) =>
  h("label", { class: "field" }, h("span", {}, name), control, hint && h("small", {}, hint));

export const select = (options, chosen, onchange, attributes = {}) =>
  h("select", { onchange, ...attributes }, options.map(([value, text]) =>
    h("option", { value, selected: String(value) === String(chosen) }, text)));

/** A function that runs `work` again after the run under way, once, however often it was called meanwhile. */
export function newest(work) {
  let running = null;
  let again = false;
  return function call() {
    if (running) {
      again = true;
      return running;
    }
    running = (async () => {
      do {
        again = false;
        await work();
      } while (again);
    })().finally(() => (running = null));
    return running;
  };
}

/** Say something under a heading: what goes on, or what went wrong. */
export function say(place, text, kind = "") {
  place.textContent = text;
  place.className = `says ${kind}`;
}

/** Save bytes as a file. */
export function save(blob, name) {
  const link = h("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export const png = (base64) => (base64.startsWith("data:") ? base64 : `data:image/png;base64,${base64}`);

/** The colour of a CSS variable as it is in this theme; canvases cannot name variables. */
export function colour(name) {
  const probe = h("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
