"use strict";
// Draws the charts of the page and switches its theme; tables and sentences stand in it without this script.
(() => {
  const root = document.documentElement;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const data = read("data"), labels = read("labels");

  // A canvas can't read light-dark(): the browser resolves it on an element.
  const probe = document.body.appendChild(document.createElement("i"));
  probe.hidden = true;
  const colour = (name) => { probe.style.color = `var(${name})`; return getComputedStyle(probe).color; };

  // Percentiles on the axis by how many requests lie beyond: each nine takes the same room.
  const nines = (percentile) => Math.log10(1 / (1 - percentile / 100));
  const percentile = (nines) => "p" + +(100 * (1 - 10 ** -nines)).toFixed(2);
  const TICKS = [50, 75, 90, 99, 99.9, 99.99];
  const shown = (v, unit) => v == null ? "" : +v.toPrecision(3) + " " + unit;

  const axes = (x, y) => {
    const common = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    return [{ ...common, ...x }, { ...common, size: 62, ...y }];
  };
  const line = (label, stroke, unit, more) => ({ label, stroke, width: 2, points: { show: false }, value: (_, v) => shown(v, unit), ...more });
  const DASHED = { dash: [4, 5], width: 1.5 };

  const percentiles = ({ percentiles: at, latency, service }) => {
    const colours = [colour("--first"), colour("--second")];
    const last = nines(at[at.length - 1] ?? 50);
    const both = (values, what, more) => values.map((_, i) => line(labels[i] + what, colours[i], "ms", more));
    return {
      scales: { x: { time: false, range: () => [0, last] }, y: { distr: 3, log: 10 } },
      axes: axes(
        { splits: () => TICKS.map(nines).filter((v) => v <= last + 1e-9), values: (_, splits) => splits.map(percentile) },
        // Of a logarithmic axis only these have room for a label.
        { filter: (_, splits) => splits.map((v) => /^[125]$/.test(String(v).replace(/[0.]/g, "")) ? v : null), values: (_, splits) => splits.map((v) => v == null ? "" : v + " ms") },
      ),
      series: [{ label: "percentile", value: (_, v) => v == null ? "" : percentile(v) }, ...both(latency, ""), ...both(service, " from send", DASHED)],
      values: [at.map(nines), ...latency, ...service],
    };
  };

  const bySlice = (plots, kinds, unit, scenario) => {
    const colours = [colour("--first"), colour("--second")];
    const points = (i) => ({ points: { show: true, size: 4, fill: colours[i], stroke: colours[i] }, width: 1.5 });
    const series = kinds.flatMap(([kind, name], nth) =>
      plots[kind].map((_, i) => line(labels[i] + name, colours[i], unit, nth ? DASHED : points(i))));
    const values = kinds.flatMap(([kind]) => plots[kind]);
    return {
      scales: { x: { time: false }, y: { range: (_, low, high) => [0, (high || 1) * 1.1] } },
      axes: axes({ values: (_, splits) => splits.map((v) => Number.isInteger(v) ? v : "") }, { size: 52 }),
      series: [{ label: "pair" }, ...series],
      // One pointer for all charts of a scenario.
      cursor: { sync: { key: "slices" + scenario } },
      values: [Array.from(values[0] ?? [], (_, i) => i + 1), ...values],
    };
  };

  const charts = {
    percentiles,
    latency: (plots, scenario) => bySlice(plots, [["p50", " p50"], ["p90", " p90"]], "ms", scenario),
    rate: (plots, scenario) => bySlice(plots, [["rate", ""]], "replies/s", scenario),
    cpu: (plots, scenario) => bySlice(plots, [["cpu", ""]], "µs", scenario),
    rss: (plots, scenario) => bySlice(plots, [["rss", ""]], "MiB", scenario),
  };

  let drawn = [];
  const draw = () => {
    drawn.forEach((plot) => plot.destroy());
    drawn = [];
    for (const place of document.querySelectorAll(".plot")) {
      const { scenario, plot: kind } = place.dataset;
      const { values, ...options } = charts[kind](data[scenario], scenario);
      if (!values[0].length) { place.textContent = "Nothing was played."; continue; }
      const height = kind === "percentiles" ? 340 : 190;
      drawn.push(new uPlot({ width: place.clientWidth, height, ...options }, values, place));
    }
    root.dataset.drawn = String(drawn.length);
  };

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
  const toggle = document.getElementById("theme");
  const theme = (wanted) => {
    if (wanted) root.dataset.theme = wanted; else delete root.dataset.theme;
    toggle.textContent = isDark() ? "☀ light" : "☾ dark";
    draw();
  };
  toggle.hidden = false;
  toggle.addEventListener("click", () => theme(isDark() ? "light" : "dark"));
  dark.addEventListener("change", () => theme(root.dataset.theme));
  theme();

  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; draw(); } });

  // On paper: dark on white, and nothing folded away.
  let before;
  addEventListener("beforeprint", () => {
    const folded = [...document.querySelectorAll("details:not([open])")];
    before = { theme: root.dataset.theme, folded };
    folded.forEach((part) => { part.open = true; });
    theme("light");
  });
  addEventListener("afterprint", () => {
    before.folded.forEach((part) => { part.open = false; });
    theme(before.theme);
  });
})();
