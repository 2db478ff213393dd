"use strict";
// Draws the curves of the page; tables and sentences stand in it without this script.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const data = read("data"), labels = read("labels");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colours = () => [colour("--first"), colour("--second")];

  // Percentiles on the axis by how many requests lie beyond: each nine takes the same room.
  const nines = (percentile) => Math.log10(1 / (1 - percentile / 100));
  const TICKS = [50, 75, 90, 99, 99.9, 99.99];

  const axes = (x) => {
    const common = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    return [{ ...common, ...x }, { ...common, size: 66 }];
  };

  const percentiles = (plots) => {
    const [first, second] = colours();
    const line = (label, stroke, dash) => ({ label, stroke, dash, width: 2, points: { show: false }, value: (_, v) => v == null ? "" : v.toFixed(2) + " ms" });
    const last = nines(plots.percentiles[plots.percentiles.length - 1] ?? 50);
    return {
      options: {
        scales: { x: { time: false, range: () => [0, last] }, y: { distr: 3, log: 10 } },
        axes: axes({
          splits: () => TICKS.map(nines).filter((v) => v <= last + 1e-9),
          values: (_, splits) => splits.map((v) => "p" + +(100 * (1 - 10 ** -v)).toFixed(2)),
        }).map((axis, i) => i === 1 ? { ...axis, values: (_, splits) => splits.map((v) => v == null ? "" : v + " ms"), filter: (_, splits) => splits.map((v) => /^[12357]$/.test(String(v).replace(/[0.]/g, "")) ? v : null) } : axis),
        series: [
          { label: "percentile", value: (_, v) => v == null ? "" : "p" + +(100 * (1 - 10 ** -v)).toFixed(2) },
          line(labels[0], first), line(labels[1], second),
          line(labels[0] + " from send", first, [4, 5]), line(labels[1] + " from send", second, [4, 5]),
        ],
      },
      values: [plots.percentiles.map(nines), ...plots.latency, ...plots.service],
    };
  };

  const bySlice = (series) => {
    const stroke = colours();
    return {
      options: {
        scales: { x: { time: false }, y: { range: (_, low, high) => [0, (high || 1) * 1.1] } },
        axes: axes({ values: (_, splits) => splits.map((v) => Number.isInteger(v) ? v : "") }),
        series: [{ label: "pair" }, ...labels.map((label, i) => ({ label, stroke: stroke[i], width: 1.5, points: { size: 5, fill: stroke[i] }, value: (_, v) => v == null ? "" : v.toPrecision(3) }))],
      },
      values: [Array.from(series[0] ?? [], (_, i) => i + 1), ...series],
    };
  };

  const drawn = [];
  const draw = () => {
    drawn.splice(0).forEach((plot) => plot.destroy());
    for (const place of document.querySelectorAll(".plot")) {
      const plots = data[place.dataset.scenario], kind = place.dataset.plot;
      const { options, values } = kind === "percentiles" ? percentiles(plots) : bySlice(plots[kind]);
      if (!values[0].length) { place.textContent = "Nothing was played."; continue; }
      const small = place.classList.contains("small");
      drawn.push(new uPlot({ width: place.clientWidth, height: small ? 180 : 320, legend: { show: true }, ...options }, values, place));
    }
  };
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; draw(); } });
  document.documentElement.dataset.drawn = String(drawn.length);
})();
