// Curves of one run or of several in one pair of axes: colour says which run, dashes say real images.

import { colour, count, explained, h, number } from "./dom.js";
import { FIRST, meaning } from "./glossary.js";

const HEIGHT = 190; // pixels of a chart
const COLOURS = ["--run-1", "--run-2", "--run-3"];
const UNKNOWN = new Set(["images", "seconds", "time", "epoch", "step", "steps"]); // columns that are no measure

/** The panels that `columns` of some runs fill: those the server knows, then a panel for every other measure. */
function filled(panels, tables) {
  const has = (name) => tables.some((table) => table[name]?.some((value) => value !== null)); // of tables without a prototype
  const known = panels
    .map((panel) => ({ ...panel, lines: panel.lines.filter((line) => has(line.name)) }))
    .filter((panel) => panel.lines.length);
  const named = new Set(panels.flatMap((panel) => panel.lines.map((line) => line.name)));
  const others = [...new Set(tables.flatMap(Object.keys))].filter((name) => !named.has(name) && !UNKNOWN.has(name) && has(name));
  return [...known, ...others.map((name) => {
    const title = name.replaceAll("_", " ");
    return { title: title[0].toUpperCase() + title.slice(1), unit: "", limits: null, ideal: null, lines: [{ name, symbol: title, label: title, note: "" }] };
  })];
}

/** All charts of the runs that are watched. `runs` are {id, name, columns}, in the order of their colours. */
export class Charts {
  constructor(place, panels) {
    this.panels = panels;
    this.main = h("div", { class: "charts" });
    this.more = h("div", { class: "charts" });
    this.rest = h("details", { class: "more", ontoggle: () => this.resize() }, h("summary", {}, "More curves"), this.more);
    place.append(this.main, this.rest);
    this.drawn = new Map(); // title -> {chart, panel, readout, figure}
    this.marker = null; // images at which a line is drawn: where the time slider is
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(place);
  }

  /** Draw what has come. */
  update(runs) {
    const panels = filled(this.panels, runs.map((run) => run.columns));
    const names = runs.map((run) => run.id).join("+");
    const stale = names !== this.names || panels.some((panel) => this.drawn.get(panel.title)?.lines !== panel.lines.length);
    if (stale) this.#rebuild(runs, panels, names);
    this.runs = runs;
    for (const shown of this.drawn.values()) {
      const tables = runs.map((run) => [run.columns.images, ...shown.panel.lines.map((line) => run.columns[line.name] ?? run.columns.images.map(() => null))]);
      const { chart } = shown;
      const [{ min, max }, [images]] = [chart.scales.x, chart.data];
      const zoomed = images.length > 1 && (min > images[0] || max < images.at(-1)); // somebody looks closer
      chart.setData(tables.length > 1 ? uPlot.join(tables) : tables[0], !zoomed);
      if (zoomed) chart.redraw();
      this.#read(shown, chart.cursor.idx);
    }
  }

  mark(images) {
    this.marker = images;
    for (const { chart } of this.drawn.values()) chart.redraw(false);
  }

  #rebuild(runs, panels, names) {
    this.close();
    this.names = names;
    this.runs = runs;
    this.main.replaceChildren();
    this.more.replaceChildren();
    for (const panel of panels) {
      const readout = h("p", { class: "readout" });
      const axes = h("div", { class: "axes", role: "img" });
      const first = panel.lines[0].name;
      const figure = h("section", { class: "chart card" },
        explained(h("strong", {}, panel.title), [meaning(first), panel.unit && `Measured in: ${panel.unit}.`].filter(Boolean).join(" ")), readout, axes);
      (FIRST.includes(first) ? this.main : this.more).append(figure);
      const shown = { panel, readout, axes, lines: panel.lines.length };
      shown.chart = this.#chart(shown, runs);
      this.drawn.set(panel.title, shown);
    }
    this.rest.hidden = !this.more.children.length;
    this.rest.firstChild.textContent = `More curves (${this.more.children.length})`;
    requestAnimationFrame(() => this.resize());
  }

  #chart(shown, runs) {
    const { panel } = shown;
    const [ink, line] = [colour("--faint"), colour("--line")];
    const font = "12px system-ui, sans-serif";
    const series = runs.flatMap((run, index) => panel.lines.map((each, order) => ({
      label: each.symbol,
      stroke: colour(COLOURS[index]),
      width: 2,
      dash: each.name.endsWith("_real") || (order && !each.name.endsWith("_fake")) ? [6, 4] : undefined,
      spanGaps: true,
      points: { show: (chart, i) => chart.data[i].reduce((n, value) => n + (value !== null && value !== undefined), 0) < 3, size: 6 },
    })));
    const [low, high] = panel.limits ?? [null, null];
    const options = {
      width: 300,
      height: HEIGHT,
      legend: { show: false },
      cursor: { sync: { key: "images" }, y: false, drag: { x: true, y: false } },
      scales: {
        x: { time: false },
        y: { range: (_, least, most) => {
          if (panel.ideal !== null && panel.ideal !== undefined) [least, most] = [Math.min(least ?? panel.ideal, panel.ideal), Math.max(most ?? panel.ideal, panel.ideal)];
          const [from, to] = uPlot.rangeNum(least ?? 0, most ?? 1, 0.08, true);
          return [low === null ? from : Math.max(low, Math.min(from, low)), high === null || high === undefined ? to : high];
        } },
      },
      axes: [
        { stroke: ink, font, grid: { show: false }, ticks: { stroke: line }, size: 34, values: (_, ticks) => ticks.map(short), space: 60, label: "images seen", labelFont: font, labelSize: 18, labelGap: -6 },
        { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { show: false }, size: 52, values: (_, ticks) => ticks.map(number) },
      ],
      series: [{}, ...series],
      hooks: {
        setCursor: [(chart) => this.#read(shown, chart.cursor.idx)],
        draw: [(chart) => this.#lines(chart, panel, ink)],
      },
    };
    return new uPlot(options, [[], ...series.map(() => [])], shown.axes);
  }

  /** The place of the time slider, and where theory wants the measure. */
  #lines(chart, panel, ink) {
    const { ctx, bbox } = chart;
    ctx.save();
    ctx.strokeStyle = ink;
    ctx.lineWidth = devicePixelRatio;
    const stroke = (dash, from, to) => {
      ctx.setLineDash(dash);
      ctx.beginPath();
      ctx.moveTo(...from);
      ctx.lineTo(...to);
      ctx.stroke();
    };
    if (panel.ideal !== null && panel.ideal !== undefined) {
      const y = chart.valToPos(panel.ideal, "y", true);
      stroke([2, 4], [bbox.left, y], [bbox.left + bbox.width, y]);
    }
    const x = this.marker === null ? -1 : chart.valToPos(this.marker, "x", true);
    if (x >= bbox.left && x <= bbox.left + bbox.width) stroke([], [x, bbox.top], [x, bbox.top + bbox.height]);
    ctx.restore();
  }

  /** Values under the pointer, or the last ones, in words beside the lines they belong to. */
  #read(shown, index) {
    const { chart, panel, readout, axes } = shown;
    if (!chart || !this.runs) return;
    const several = this.runs.length > 1;
    let position = 0;
    const parts = this.runs.flatMap((run, which) => panel.lines.map((line) => {
      const values = chart.data[++position] ?? [];
      const value = nearest(values, index ?? values.length - 1);
      return { which, line, value, words: `${several ? `${run.name}: ` : ""}${line.label} ${number(value)}` };
    }));
    const at = index === null || index === undefined ? "" : `after ${count(chart.data[0][index])} images`;
    const told = parts.filter((part) => part.value !== null); // a run of another objective has not all measures
    readout.replaceChildren(...told.map(({ which, line, value }) =>
      h("span", { class: `key run-${which + 1} ${line.name.endsWith("_real") || (line !== panel.lines[0] && !line.name.endsWith("_fake")) ? "dashed" : ""}` },
        several && h("i", {}, this.runs[which].name), `${line.symbol} `, h("b", {}, number(value)))),
      h("small", {}, at || panel.lines[0].note || ""));
    axes.setAttribute("aria-label", `${panel.title}. ${told.map((part) => part.words).join(", ")}`);
  }

  resize() {
    for (const { chart, axes } of this.drawn.values()) {
      const width = axes.clientWidth;
      if (width && width !== chart.width) chart.setSize({ width, height: HEIGHT });
    }
  }

  close() {
    for (const { chart } of this.drawn.values()) chart.destroy();
    this.drawn.clear();
  }
}

/** The value at an index, or the last one before it. */
function nearest(values, index) {
  for (let i = index; i >= 0; i--) if (values[i] !== null && values[i] !== undefined) return values[i];
  return null;
}

const short = (value) => (value >= 1e6 ? `${value / 1e6} M` : value >= 1e3 ? `${value / 1e3}k` : String(value));
