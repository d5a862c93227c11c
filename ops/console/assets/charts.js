// Latency and throughput of the last minutes.
import { count, millis, tone } from "/dashboard/format.js";

const MINUTES = 5;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Points by stream, then by second. */
export class History {
  #streams = new Map();

  #of(stream) {
    if (!this.#streams.has(stream)) this.#streams.set(stream, new Map());
    return this.#streams.get(stream);
  }

  /** Takes points in; one that is known already is replaced. */
  add(series) {
    for (const { stream, points } of series) {
      const known = this.#of(stream);
      for (const point of points) known.set(point.at, point);
      for (const at of known.keys()) {
        if (at >= (points.at(-1)?.at ?? 0) - MINUTES * 60) break;
        known.delete(at);
      }
    }
  }

  /** Seconds, then for each of these streams what `of` makes of its points. */
  columns(streams, of) {
    const end = Math.max(0, ...[...this.#streams.values()].map((points) => [...points.keys()].at(-1) ?? 0));
    const seconds = Array.from({ length: MINUTES * 60 }, (_, index) => end - MINUTES * 60 + 1 + index);
    const values = streams.flatMap(({ name }) => of.map((pick) => seconds.map((at) => {
      const point = this.#of(name).get(at);
      return point ? pick(point) : null;
    })));
    return [seconds, ...values];
  }

  /** The usual latency of the last minute over all streams, and the 99 % of its worst second; null without events. */
  lastMinute() {
    const points = [...this.#streams.values()].flatMap((known) => [...known.values()].slice(-60)).filter((point) => point.events);
    if (!points.length) return { p50: null, p99: null };
    const sorted = points.toSorted((a, b) => a.p50_ms - b.p50_ms);
    const half = points.reduce((all, point) => all + point.events, 0) / 2;
    let below = 0;
    const middle = sorted.find((point) => (below += point.events) >= half);
    return { p50: middle.p50_ms, p99: Math.max(...points.map((point) => point.p99_ms)) };
  }
}

/** A chart that follows the size of its element and the colours of the page. */
class Chart {
  #plot = null;
  #data;

  constructor(element, options) {
    this.element = element;
    this.options = options;
    new ResizeObserver(() => this.#plot?.setSize(this.#size())).observe(element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#make());
  }

  #size() {
    return { width: this.element.clientWidth, height: this.element.clientHeight };
  }

  #make() {
    this.#plot?.destroy();
    this.#plot = new uPlot({ ...this.options(), ...this.#size() }, this.#data, this.element);
  }

  show(data, words) {
    this.#data = data;
    if (this.#plot) this.#plot.setData(data);
    else this.#make();
    this.element.setAttribute("aria-label", words);
  }
}

function axes(numbers) {
  const look = { stroke: colour("--quiet"), grid: { stroke: colour("--rule"), width: 1 }, ticks: { show: false }, font: "12px Plex, sans-serif" };
  const clock = (_, splits) => splits.map((at) => new Date(at * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false }));
  return [{ ...look, grid: { show: false }, values: clock, space: 90, incrs: [60, 120], size: 26 }, { ...look, ...numbers, size: 60 }];
}

/** Of a logarithmic scale, the powers of ten only. */
const decades = (_, splits) => splits.map((value) => (Number.isInteger(Math.log10(value)) ? value : null));

const quiet = { cursor: { show: false }, legend: { show: false }, padding: [8, 4, 0, 0] };
const line = (name, dashed, fill) => ({ stroke: colour(name), width: dashed ? 1.25 : 2, dash: dashed ? [4, 4] : undefined, points: { show: true, size: 3, fill: colour(name) },
  fill: fill ? `${colour(name)}22` : undefined });

function legend(element, entries) {
  const list = document.createElement("div");
  list.className = "legend";
  for (const [text, tone, dashed] of entries) {
    const item = document.createElement("span");
    const mark = document.createElement("i");
    mark.className = dashed ? "dashed" : "";
    mark.dataset.tone = tone;
    item.append(mark, text);
    list.append(item);
  }
  element.after(list);
}

/** Both charts of these streams; the result shows what a history holds. */
function draw(streams) {
  const elements = ["latency-chart", "rate-chart"].map((id) => document.getElementById(id));
  legend(elements[0], streams.flatMap(({ many }, index) => [[`${many}, half`, tone(index)], ["99 %", tone(index), true]]));
  legend(elements[1], streams.map(({ stages }, index) => [stages.at(-1).records, tone(index)]));
  const colours = streams.map((_, index) => `--tone-${tone(index)}`);
  const latency = new Chart(elements[0], () => ({
    ...quiet,
    scales: { y: { distr: 3, range: (_, low, high) => [Math.min(low ?? 1, 1) || 1, Math.max(high ?? 1, 1000)] } },
    axes: axes({ filter: decades, grid: { stroke: colour("--rule"), width: 1, filter: decades }, values: (_, splits) => splits.map((ms) => (ms === null ? "" : millis(ms))) }),
    series: [{}, ...colours.flatMap((name) => [line(name, false), line(name, true)])],
  }));
  const rate = new Chart(elements[1], () => ({
    ...quiet,
    scales: { y: { range: (_, low, high) => [0, Math.max(10, high * 1.1)] } },
    axes: axes({ values: (_, splits) => splits.map(count) }),
    series: [{}, ...colours.map((name) => ({ ...line(name, false, true), points: { show: false } }))],
  }));
  return (history) => {
    const { p50, p99 } = history.lastMinute();
    latency.show(history.columns(streams, [(point) => point.p50_ms, (point) => point.p99_ms]),
      `End-to-end latency of the last minute: half of the events within ${millis(p50)}, 99 % of the worst second's within ${millis(p99)}`);
    rate.show(history.columns(streams, [(point) => point.events]), "Messages committed in the last layer a second, over the last five minutes");
  };
}

/** Both charts; the result shows what a history holds, from the first look at the fleet on. */
export function charts() {
  let show = null;
  return (history, fleet) => {
    if (!fleet) return;
    show ??= draw(fleet.streams);
    show(history);
  };
}
