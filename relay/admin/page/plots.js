import { el, count, rate, span } from "./dom.js";

// Each plot has a label that says what it shows now, and a table of its numbers.
const kinds = [
  { id: "throughput", title: "Messages a second", lines: [["per_second", "messages a second"]], show: (v) => (v == null ? "–" : rate(v)) },
  { id: "pending", title: "Rows that wait", lines: [["pending", "rows"]], show: (v) => (v == null ? "–" : count(v)) },
  { id: "oldest", title: "Oldest row that waits", lines: [["oldest_seconds", "age"]], show: span },
  { id: "latency", title: "From commit to acknowledgement", lines: [["p50_seconds", "p50"], ["p99_seconds", "p99"]], show: span },
  { id: "breaker", title: "Breakers", lines: [["broker_breaker", "broker"], ["table_breaker", "table"]], show: (v) => (v == null ? "–" : v ? "open" : "closed"), range: [0, 1.05], steps: true },
];

const made = new Map();
const height = 120;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function drawPlots(into, history) {
  for (const kind of kinds) {
    try {
      draw(into, kind, history);
    } catch (failure) {
      console.warn(kind.id, failure);
      plot(into, kind).say.textContent = "cannot be drawn";
    }
  }
}

function plot(into, kind) {
  let p = made.get(kind.id);
  if (p) return p;
  const say = el("span"), chart = el("figure", { class: "chart", role: "img", id: "plot-" + kind.id }), body = el("tbody");
  const table = el("table", {}, el("caption", { class: "hide" }, kind.title), el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Time"), ...kind.lines.map(([, name]) => el("th", { scope: "col" }, name)))), body);
  const details = el("details", {}, el("summary", {}, "As a table"), el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": kind.title + ", as a table" }, table));
  const section = el("section", { class: "plot", "aria-labelledby": "title-" + kind.id }, el("h2", { id: "title-" + kind.id }, kind.title, say), chart, details);
  into.append(section);
  watcher.observe(chart);
  p = { say, chart, body, details };
  made.set(kind.id, p);
  details.addEventListener("toggle", () => fill(kind, p));
  return p;
}

function draw(into, kind, history) {
  const p = plot(into, kind);
  p.history = history;
  const data = [history.at, ...kind.lines.map(([name]) => history[name])];
  const now = kind.lines.map(([name, label]) => (kind.lines.length > 1 ? label + " " : "") + kind.show(history[name].at(-1) ?? null)).join(", ");
  p.say.textContent = now;
  const known = data.slice(1).flat().filter((v) => v != null);
  p.chart.setAttribute("aria-label", kind.title + ": now " + now + (known.length ? "; at most " + kind.show(Math.max(...known)) + " in the last 15 minutes" : ""));
  if (!p.u) p.u = new uPlot(options(kind, p), data, p.chart);
  else p.u.setData(data);
  fill(kind, p);
}

function options(kind, p) {
  const axis = { stroke: () => colour("--soft"), grid: { stroke: () => colour("--grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  return {
    width: width(p), height, legend: { show: false }, cursor: { y: false, drag: { x: false, y: false } },
    scales: { x: { time: true, range: () => { const end = p.history.at.at(-1) ?? Date.now() / 1000; return [Math.max(end - 900, Math.min(p.history.at[0] ?? end, end - 60)), end]; } }, y: { range: (u, low, high) => kind.range ?? [0, Math.max(high ?? 0, kind.show === span ? 0.001 : 1) * 1.1] } },
    axes: [
      { ...axis, space: 70, size: 24, gap: 4, values: (u, at) => at.map((t) => clock(t, u.scales.x.max - u.scales.x.min < 300)) },
      { ...axis, size: 58, space: 34, values: (u, at) => at.map((v) => (kind.steps ? (v === 0 ? "closed" : v === 1 ? "open" : "") : kind.show(v))) },
    ],
    series: [{}, ...kind.lines.map(([, name], i) => ({
      label: name, stroke: () => colour(i ? "--plot-2" : "--plot-1"), width: 1.6, dash: i ? [5, 4] : undefined, points: { show: false },
      fill: i || kind.lines.length > 1 ? undefined : () => colour("--good-back"), paths: kind.steps ? uPlot.paths.stepped({ align: 1 }) : undefined,
    }))],
  };
}

// clock is a time of day, with its seconds where the plot is young.
const clock = (t, seconds) => new Date(t * 1000).toTimeString().slice(0, seconds ? 8 : 5);

const width = (p) => Math.max(160, Math.floor(p.chart.clientWidth || 340));

// fill makes the table, but only while somebody looks at it.
function fill(kind, p) {
  if (!p.details.open || !p.history) return;
  p.body.replaceChildren(...p.history.at.map((at, i) => el("tr", {}, el("td", { class: "number" }, clock(at, true)), ...kind.lines.map(([name]) => el("td", { class: "number" }, kind.show(p.history[name][i]))))).reverse());
}

// The plots are as wide as their places.
const watcher = new ResizeObserver(resize);

function resize() {
  for (const p of made.values()) if (p.u && (p.u.width !== width(p) || p.u.height !== height)) p.u.setSize({ width: width(p), height });
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const p of made.values()) p.u?.redraw(false);
});
