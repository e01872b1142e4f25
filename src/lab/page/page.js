// Draws the charts that the page carries as data. Sets on body: data-ready when all are drawn, data-drawn their number,
// data-error the first error, data-overflow by how many pixels the page is wider than its window.
"use strict";
(() => {
  const body = document.body;
  const fail = (what) => { if (!body.dataset.error) body.dataset.error = String(what); };
  window.addEventListener("error", (e) => fail(e.message));
  document.addEventListener("securitypolicyviolation", (e) => fail("refused: " + e.blockedURI));

  const charts = JSON.parse(document.getElementById("charts").textContent);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const three = (v) => v < 9.995 ? v.toFixed(2) : v < 99.95 ? v.toFixed(1) : v.toFixed(0);
  const plain = (v) => v >= 999.5 ? Math.round(v).toLocaleString("en-US") : v === 0 || v >= 100 || v % 1 === 0 ? v.toFixed(0)
    : v < 0.01 ? v.toExponential(1) : three(v);
  // A figure of a tick (short) or of the legend (three digits).
  const ns = (v, short) => {
    let unit = "ns";
    for (const larger of ["µs", "ms", "s"]) if (v >= 999.5) { v /= 1000; unit = larger; }
    return (short || unit === "ns" ? String(+v.toPrecision(3)) : three(v)) + " " + unit;
  };
  const compact = (v) => {
    const [d, u] = v >= 1e6 ? [1e6, " M"] : v >= 1e4 ? [1e3, " k"] : [1, ""];
    return u ? +(v / d).toPrecision(3) + u : plain(v);
  };
  const percentile = (x) => {
    const nines = Math.max(0, Math.round(Math.log10(x) * 1000) / 1000);
    return (100 - 100 / x).toFixed(Math.max(0, Math.ceil(nines) - 2)) + " %";
  };
  const show = (axis, v, short) => v == null ? "–" : axis.scale === "percentile" ? percentile(v)
    : axis.unit === "ns" ? ns(v, short) : axis.unit === "seconds" ? +v.toFixed(2) + " s" : short ? compact(v) : plain(v);

  // Ends of a logarithmic axis: the nearest of 1, 2 and 5 times a power of ten around the data.
  const steps = [1, 2, 5, 10];
  const power = (v) => 10 ** Math.floor(Math.log10(v) + 1e-9);
  const below = (v) => power(v) * steps.filter((s) => s <= v / power(v) * 1.0001).pop();
  const above = (v) => power(v) * steps.find((s) => s >= v / power(v) * 0.9999);
  const logSplits = (min, max, room) => {
    const decades = Math.log10(max / min);
    const use = decades < 0.8 ? [1, 1.5, 2, 3, 4, 5, 7] : decades > room / 1.3 ? [1] : decades > room / 3 ? [1, 3] : [1, 2, 5];
    const out = [];
    for (let p = power(min); p <= max; p *= 10) for (const s of use) if (p * s >= min * 0.999 && p * s <= max * 1.001) out.push(p * s);
    return out.length > 1 ? out : [min, max];
  };

  const scaleOf = (axis, at) => ({
    time: false,
    distr: axis.scale === "linear" ? 1 : 3,
    range: (u, min, max) => {
      if (min == null || max == null) return [1, 10];
      if (at != null) { min = Math.min(min, at); max = Math.max(max, at); }
      if (axis.scale === "percentile") return [2, Math.max(max, 20)];
      if (axis.scale === "linear") return [Math.min(0, min), max > 0 ? max * (axis.y ? 1.08 : 1) : 1];
      if (!axis.y) return [min / 1.06, max * 1.06];
      const ends = [below(min), above(max)];
      return ends[0] === ends[1] ? [ends[0] / 2, ends[1] * 2] : ends;
    },
  });

  const axisOf = (axis, size) => {
    const out = {
      label: axis.y || axis.unit === "seconds" || axis.scale === "percentile" ? undefined : axis.label,
      labelSize: 20, labelGap: 2, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif",
      stroke: () => colour("muted"),
      grid: { stroke: () => colour("grid"), width: 1 }, ticks: { stroke: () => colour("grid"), width: 1, size: 5 },
      values: (u, splits) => splits.map((v) => show(axis, v, true)),
    };
    if (axis.scale === "percentile") {
      out.splits = (u, i, min, max) => [2, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7].filter((v) => v <= max * 1.001);
      out.filter = (u, splits) => splits;
    } else if (axis.scale === "log") {
      out.splits = (u, i, min, max) => logSplits(min, max, axis.y ? 6 : size / 110);
      out.filter = (u, splits) => splits;
    }
    if (axis.y) { out.size = 64; out.gap = 4; } else { out.space = 70; out.size = out.label ? 34 : 30; }
    return out;
  };

  const rules = (chart) => (u) => {
    const { ctx } = u, { left, top, width, height } = u.bbox, dpr = devicePixelRatio;
    ctx.save();
    ctx.strokeStyle = ctx.fillStyle = colour("fg");
    ctx.lineWidth = 1.5 * dpr;
    ctx.setLineDash([2 * dpr, 3 * dpr]);
    ctx.font = `${12 * dpr}px system-ui, sans-serif`;
    const write = (text, x, y) => {
      ctx.save();
      ctx.setLineDash([]);
      ctx.strokeStyle = colour("card");
      ctx.lineWidth = 4 * dpr;
      ctx.strokeText(text, x, y);
      ctx.restore();
      ctx.fillText(text, x, y);
    };
    const stroke = (x0, y0, x1, y1) => { ctx.beginPath(); ctx.moveTo(x0, y0); ctx.lineTo(x1, y1); ctx.stroke(); };
    if (chart.level) {
      const y = u.valToPos(chart.level.at, "y", true);
      stroke(left, y, left + width, y);
      ctx.textAlign = "left";
      write(chart.level.label, left + 6 * dpr, y - 6 * dpr);
    }
    if (chart.plumb) {
      const x = u.valToPos(chart.plumb.at, "x", true), right = x > left + width / 2;
      stroke(x, top, x, top + height);
      ctx.textAlign = right ? "right" : "left";
      write(chart.plumb.label, x + (right ? -6 : 6) * dpr, top + 14 * dpr);
    }
    ctx.restore();
  };

  const draw = (place, chart) => {
    place.textContent = "";
    const width = place.clientWidth, narrow = width < 480;
    chart.y.y = true;
    const edge = { stroke: "transparent", width: 0, points: { show: false } };
    const count = chart.data[0].length;
    const series = chart.lines.map((line) => {
      if (line.look === "edge") return { ...edge, label: line.name, class: "edge" };
      const c = () => colour("c" + line.colour % 8);
      const points = line.look === "points";
      return {
        label: line.name, stroke: c, width: 2, spanGaps: true, dash: line.look === "dashed" ? [7, 4] : undefined,
        class: line.look, paths: points ? () => null : undefined,
        points: points ? { show: true, size: 9, width: 2, stroke: c, fill: () => colour("card") }
          : { show: chart.x.scale !== "percentile" && count <= 40, size: 5, fill: c, stroke: c },
        value: (u, v) => show(chart.y, v),
      };
    });
    const x = { label: chart.x.scale === "percentile" ? "at" : chart.x.unit === "seconds" ? "time" : chart.x.label, value: (u, v) => show(chart.x, v) };
    const bands = chart.bands.map((pair) => ({ series: pair, fill: () => colour("c" + chart.lines[pair[0] - 1].colour % 8) + "33" }));
    const plot = new uPlot({
      width, height: narrow ? 250 : 300, padding: [10, narrow ? 18 : 26, 0, 0],
      scales: { x: scaleOf(chart.x), y: scaleOf(chart.y, chart.level?.at) },
      axes: [axisOf(chart.x, width), axisOf(chart.y, width)],
      series: [x, ...series], bands, cursor: { drag: { x: false, y: false }, y: false, points: { size: 7 } },
      hooks: { draw: [rules(chart)] },
    }, chart.data, place);
    plot.root.querySelectorAll(".u-series.edge").forEach((row) => row.remove());
    return plot;
  };

  let plots = [];
  const drawAll = () => {
    plots.forEach((plot) => plot.destroy());
    plots = [];
    document.querySelectorAll("[data-chart]").forEach((place) => {
      try { plots.push(draw(place, charts[+place.dataset.chart])); } catch (e) { fail(e.message); }
    });
    body.dataset.drawn = plots.length;
    body.dataset.overflow = Math.max(0, document.documentElement.scrollWidth - window.innerWidth);
  };
  let width = 0, wait = 0;
  const again = () => { if (window.innerWidth !== width) { width = window.innerWidth; clearTimeout(wait); wait = setTimeout(drawAll, 80); } };
  width = window.innerWidth;
  drawAll();
  body.dataset.ready = "yes";
  window.addEventListener("resize", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.open = true; }));
})();
