// Throughput over time, by uPlot, which is given numbers alone.

import { rate } from "./format.js";

/* global uPlot */

// Seconds that are shown, once there are as many, and the fewest.
const WINDOW = 300;
const LEAST = 60;

/** Points of the last five minutes: seconds, down, up, and the limits that held (B/s, null: none). */
export class History {
  constructor() {
    this.columns = [[], [], [], [], [], []];
  }

  /** Adds a point; one of the same second is replaced. */
  add(at, down, up, limits = {}) {
    const [times] = this.columns;
    const last = times.at(-1);
    if (last !== undefined && at < last) return;
    if (at === last) for (const column of this.columns) column.pop();
    [at, down, up, limits.shared ?? null, limits.down ?? null, limits.up ?? null].forEach((value, index) => this.columns[index].push(value));
    const first = times.findIndex((time) => time > at - WINDOW - 2);
    if (first > 0) for (const column of this.columns) column.splice(0, first);
  }
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function series(names) {
  const line = (label, name, more) => ({ label, stroke: colour(name), width: 2, points: { show: false }, value: (_, value) => rate(value), ...more });
  const limit = (label, name) => line(label, name, { width: 2, dash: [7, 5], paths: uPlot.paths.stepped({ align: 1 }) });
  const all = [
    { label: "Time", value: (_, value) => (value === null ? "–" : new Date(value * 1000).toLocaleTimeString("en-GB")) },
    line("Down", "--down", { fill: colour("--down-fill") }),
    line("Up", "--up"),
    limit("Limit", "--limit"),
    limit("Limit down", "--limit"),
    limit("Limit up", "--limit-up"),
  ];
  return all.slice(0, names);
}

/** A chart in `element`; `limits`: whether it has lines for limits. */
export class Chart {
  constructor(element, limits) {
    this.element = element;
    this.count = limits ? 6 : 3;
    this.history = new History();
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(element);
    document.addEventListener("themechange", () => this.build());
  }

  size() {
    return { width: Math.max(this.element.clientWidth, 200), height: this.element.clientWidth < 500 ? 170 : 220 };
  }

  build() {
    this.plot?.destroy();
    const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    this.plot = new uPlot(
      {
        ...this.size(),
        cursor: { drag: { x: false, y: false } },
        legend: { live: true },
        scales: {
          x: { time: true, range: (_, first, last) => [Math.max(last - WINDOW, Math.min(first ?? last, last - LEAST)), last] },
          y: { range: (_, __, most) => [0, Math.max(most ?? 0, 1000) * 1.08] },
        },
        axes: [
          { ...axis, space: 70, size: 30, values: [[60, "{HH}:{mm}", null, null, null, null, null, null, 1], [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1]] },
          { ...axis, size: 70, space: 34, values: (_, ticks) => ticks.map((tick) => rate(tick).replace(/(\.[0-9]*?)0+ /, "$1 ").replace(". ", " ")) },
        ],
        series: series(this.count),
      },
      this.data(),
      this.element,
    );
    this.legend();
  }

  data() {
    return this.history.columns.slice(0, this.count);
  }

  fit() {
    if (this.plot && this.element.clientWidth > 0) this.plot.setSize(this.size());
  }

  /** Draws `history`, and says it in `words` to whoever cannot see it. */
  draw(history, words) {
    this.history = history;
    this.element.setAttribute("aria-label", words);
    if (this.element.clientWidth === 0) return;
    if (!this.plot) this.build();
    else this.plot.setData(this.data());
    this.legend();
  }

  /** A line that has no point has no place in the legend, which tells of now unless somebody points at another time. */
  legend() {
    if (this.plot.cursor.left === undefined || this.plot.cursor.left < 0) this.plot.setLegend({ idx: this.data()[0].length - 1 });
    const rows = this.element.querySelectorAll(".u-legend .u-series");
    this.data().forEach((column, index) => {
      if (index > 2 && rows[index]) rows[index].hidden = column.every((value) => value === null);
    });
  }
}
