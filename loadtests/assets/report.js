"use strict";
// Draws the charts of the page and switches its theme; tables and sentences stand in it without this script.
(() => {
  const root = document.documentElement;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const { labels, scenarios, charts: described } = read("data");

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

  // Of a logarithmic axis only these have room for a label.
  const logarithmic = (unit) => ({ filter: (_, splits) => splits.map((v) => /^[125]$/.test(String(v).replace(/[0.]/g, "")) ? v : null), values: (_, splits) => splits.map((v) => v == null ? "" : v + " " + unit) });
  const fromZero = { range: (_, low, high) => [0, (high || 1) * 1.1] };

  const percentiles = ({ percentiles: at, latency, service }) => {
    const colours = [colour("--first"), colour("--second")];
    const last = nines(at[at.length - 1] ?? 50);
    const both = (values, what, more) => values.map((_, i) => line(labels[i] + what, colours[i], "ms", more));
    return {
      scales: { x: { time: false, range: () => [0, last] }, y: { distr: 3, log: 10 } },
      axes: axes(
        { splits: () => TICKS.map(nines).filter((v) => v <= last + 1e-9), values: (_, splits) => splits.map(percentile) },
        logarithmic("ms"),
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
      scales: { x: { time: false }, y: fromZero },
      axes: axes({ values: (_, splits) => splits.map((v) => Number.isInteger(v) ? v : "") }, { size: 60 }),
      series: [{ label: "pair" }, ...series],
      // One pointer for all charts of a scenario.
      cursor: { sync: { key: "slices" + scenario } },
      values: [plots.pairs, ...values],
    };
  };

  const charts = {
    percentiles,
    latency: (plots, scenario) => bySlice(plots, [["p50", " p50"], ["p90", " p90"]], "ms", scenario),
    rate: (plots, scenario) => bySlice(plots, [["rate", ""]], "replies/s", scenario),
    cpu: (plots, scenario) => bySlice(plots, [["cpu", ""]], "µs", scenario),
    rss: (plots, scenario) => bySlice(plots, [["rss", ""]], "MiB", scenario),
  };

  // Charts that say themselves what they show.
  const STYLES = {
    line: () => ({}),
    dashed: () => DASHED,
    dots: (colour) => ({ paths: () => null, points: { show: true, size: 9, width: 2, stroke: colour, fill: colour } }),
    rings: (colour, paper) => ({ paths: () => null, points: { show: true, size: 9, width: 2, stroke: colour, fill: paper } }),
  };
  const chart = ({ x, unit, log, at, lines }) => {
    const paper = colour("--paper");
    const room = (at[at.length - 1] - at[0]) * 0.03 || 1;
    const pointed = lines.some((line) => line.style === "dots" || line.style === "rings");
    const series = lines.map(({ label, colour: name, style }) => {
      const stroke = colour("--" + name);
      return line(label, stroke, unit, STYLES[style](stroke, paper));
    });
    return {
      // Points at the ends need room.
      scales: { x: { time: false, ...(pointed && { range: () => [at[0] - room, at[at.length - 1] + room] }) }, y: log ? { distr: 3, log: 10 } : fromZero },
      axes: axes({ values: (_, splits) => splits.map((v) => x === "stage" && !Number.isInteger(v) ? "" : v + (x === "s" ? " s" : "")) }, log ? { ...logarithmic(unit), size: 80 } : {}),
      series: [{ label: x, value: (_, v) => v == null ? "" : +v.toPrecision(4) }, ...series],
      values: [at, ...lines.map((line) => line.values)],
    };
  };

  let drawn = [];
  const draw = () => {
    drawn.forEach((plot) => plot.destroy());
    drawn = [];
    for (const place of document.querySelectorAll(".plot")) {
      const { scenario, plot: kind, chart: nth } = place.dataset;
      const { values, ...options } = nth ? chart(described[nth]) : charts[kind](scenarios[scenario], scenario);
      if (!values[0].length) { place.textContent = "Nothing was played."; continue; }
      const height = place.classList.contains("small") ? 190 : nth ? 260 : 340;
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

  // Pairs of traces: those whose id begins with what is looked for, in whichever field.
  document.querySelectorAll(".find-trace").forEach((field) => field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    const pairs = [...document.querySelectorAll(".pair")];
    const found = pairs.filter((pair) => wanted && pair.dataset.traces.split(" ").some((trace) => trace.startsWith(wanted)));
    pairs.forEach((pair) => pair.classList.toggle("found", found.includes(pair)));
    found.forEach((pair) => { pair.open = true; });
    found[0]?.scrollIntoView({ block: "center" });
    field.closest("p").querySelector("[role=status]").textContent =
      !wanted ? "" : found.length ? `${found.length} found` : `none of the ${pairs.length} pairs that were kept`;
  }));

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
