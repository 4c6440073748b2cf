"use strict";
// A layer x position map: colours, a tip on hover and focus, arrow keys from cell to cell, and the same numbers as a table.
PB.heatmap = (box, map, { label, metric }) => {
  const METRICS = {
    auroc: { title: "test AUROC", values: map.a, middle: 0.5 },
    validation: { title: "validation AUROC", values: map.v, middle: 0.5 },
    selectivity: { title: "selectivity (AUROC minus shuffled labels)", values: map.s, middle: 0 },
  };
  const REACH = 0.5, DIGITS = 3;
  const { title, values, middle } = METRICS[metric];
  const at = (grid, i, j) => (Array.isArray(grid) ? (PB.known(grid[i][j]) ? grid[i][j] / 1e6 : null) : null);
  const n = (i, j) => (Array.isArray(map.n) ? map.n[i][j] : map.n);
  const cells = map.layers.flatMap((layer, i) => map.positions.map((position, j) => ({
    i, j, layer, position, value: at(values, i, j), auroc: at(map.a, i, j), low: at(map.l, i, j), high: at(map.h, i, j), n: n(i, j),
    why: map.why[`${i},${j}`] ?? null, selected: map.selected !== null && map.selected[0] === layer && map.selected[1] === position,
  })));
  const layerWord = (layer) => (layer === "emb" ? "embedding" : `layer ${layer}`);
  const words = (c) => {
    const figure = PB.known(c.auroc) ? `test AUROC ${PB.figure(c.auroc)}, 95 % interval ${PB.interval(c.low, c.high).slice(1, -1).replace(",", " to") || "absent"}` : `absent${c.why ? `: ${c.why}` : ""}`;
    const extra = metric === "auroc" || !PB.known(c.value) ? "" : `, ${title} ${c.value.toFixed(DIGITS)}`;
    return `${layerWord(c.layer)}, ${c.position}: ${figure}${extra}, n ${PB.count(c.n)}${c.selected ? ", selected on validation" : ""}`;
  };

  const few = map.layers.length <= 16, written = map.layers.length <= 48, w = 44, h = few ? 24 : written ? 16 : 11;
  const margin = { left: 46, top: 6, right: 90, bottom: 24 + 4.6 * d3.max(map.positions, (p) => p.length) };
  const width = margin.left + w * map.positions.length + margin.right, height = margin.top + h * map.layers.length + margin.bottom;
  const ends = PB.dark() ? ["#cdbdf7", "#5d4893", "#232a33", "#35618f", "#8cc2ff"] : ["#3f007d", "#a79ad3", "#f6f4ef", "#7fb0d9", "#0d3f77"];
  const ramp = d3.piecewise(d3.interpolateLab, ends);
  // As on the suite's own maps violet begins with the first value that is printed as below the middle, already pale violet there.
  const PALE = 0.12, HALF_DIGIT = 0.005;
  const colour = (value) => {
    const off = (value - middle) / REACH;
    return ramp(value < middle - HALF_DIGIT ? 0.5 - 0.5 * (PALE + (1 - PALE) * Math.min(1, -off)) : 0.5 + 0.5 * Math.min(1, Math.max(0, off)));
  };
  // Dark or light, whichever stands out more (relative luminance, WCAG 2).
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const luminance = (c) => { const { r, g, b } = d3.rgb(c); return 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255); };
  const [night, day] = ["#14181d", "#ffffff"];
  const ink = (value) => { const l = luminance(colour(value)) + 0.05; return l / (luminance(night) + 0.05) >= 1.05 / l ? night : day; };

  const svg = d3.create("svg").attr("class", "map").attr("viewBox", `0 0 ${width} ${height}`).attr("width", width).attr("height", height)
    .attr("role", "grid").attr("aria-label", `${label}: ${title} by layer and token`).attr("aria-rowcount", map.layers.length).attr("aria-colcount", map.positions.length);
  const defs = svg.append("defs");
  const hatch = defs.append("pattern").attr("id", "absent").attr("width", 6).attr("height", 6).attr("patternUnits", "userSpaceOnUse").attr("patternTransform", "rotate(45)");
  hatch.append("rect").attr("width", 6).attr("height", 6).attr("class", "absent-ground");
  hatch.append("line").attr("y2", 6).attr("class", "absent-line");
  const plot = svg.append("g").attr("transform", `translate(${margin.left},${margin.top})`);
  const rows = plot.selectAll("g").data(map.layers).join("g").attr("role", "row");
  const tip = PB.el("div", { class: "tip", "aria-hidden": "true", hidden: true });

  rows.each(function (layer, i) {
    const row = d3.select(this), mine = cells.filter((c) => c.i === i);
    row.selectAll("rect").data(mine).join("rect").attr("class", (c) => (c.selected ? "cell selected" : "cell"))
      .attr("role", "gridcell").attr("tabindex", -1).attr("aria-label", words).attr("aria-selected", (c) => String(c.selected))
      .attr("x", (c) => c.j * w).attr("y", i * h).attr("width", w - 1).attr("height", h - 1)
      .attr("fill", (c) => (PB.known(c.value) ? colour(c.value) : "url(#absent)"))
      .attr("data-layer", layer).attr("data-position", (c) => c.position)
      .on("pointerenter", function (event, c) { show(this, c); })
      .on("pointerleave", () => { tip.hidden = true; })
      .on("focus", function (event, c) { show(this, c); ring.attr("visibility", null).attr("x", c.j * w - 2).attr("y", c.i * h - 2); })
      .on("blur", () => { tip.hidden = true; ring.attr("visibility", "hidden"); })
      .on("click", function () { move(this); })
      .on("keydown", walk);
    if (written) {
      row.selectAll("text").data(mine.filter((c) => PB.known(c.value))).join("text").attr("class", "value").attr("aria-hidden", "true")
        .attr("x", (c) => c.j * w + w / 2).attr("y", i * h + h / 2 + 3.5).attr("fill", (c) => ink(c.value)).text((c) => c.value.toFixed(2).replace("0.", "."));
    }
  });
  const chosen = cells.find((c) => c.selected);
  for (const kind of chosen ? ["outline under", "outline"] : []) plot.append("rect").attr("class", kind).attr("x", chosen.j * w - 1).attr("y", chosen.i * h - 1).attr("width", w + 1).attr("height", h + 1);

  const ring = plot.append("rect").attr("class", "ring").attr("width", w + 3).attr("height", h + 3).attr("visibility", "hidden");

  const every = map.layers.length <= 24 ? 1 : map.layers.length <= 48 ? 2 : 5;
  const axes = svg.append("g").attr("class", "axis").attr("aria-hidden", "true");
  const edges = [map.layers.find((layer) => layer !== "emb"), map.layers.at(-1)];
  axes.selectAll(".layer").data(map.layers.map((layer, i) => [layer, i]).filter(([layer]) => layer === "emb" || Number(layer) % every === 0 || edges.includes(layer))).join("text")
    .attr("x", margin.left - 8).attr("y", ([, i]) => margin.top + i * h + h / 2 + 3.5).attr("text-anchor", "end").text(([layer]) => layer);
  axes.selectAll(".position").data(map.positions).join("text")
    .attr("transform", (_, j) => `translate(${margin.left + j * w + w / 2 + 3},${margin.top + map.layers.length * h + 14}) rotate(-45)`).attr("text-anchor", "end").text((p) => p);
  const bar = defs.append("linearGradient").attr("id", "ramp").attr("x1", 0).attr("x2", 0).attr("y1", 1).attr("y2", 0);
  d3.range(0, 1.001, 0.0125).forEach((t) => bar.append("stop").attr("offset", t).attr("stop-color", colour(middle - REACH + 2 * REACH * t)));
  const tall = Math.min(200, Math.max(90, h * map.layers.length)), side = margin.left + w * map.positions.length + 18;
  axes.append("rect").attr("x", side).attr("y", margin.top).attr("width", 12).attr("height", tall).attr("fill", "url(#ramp)");
  axes.selectAll(".tick").data([0, 0.25, 0.5, 0.75, 1]).join("text").attr("x", side + 18).attr("y", (t) => margin.top + tall * (1 - t) + 3.5)
    .text((t) => (middle - REACH + 2 * REACH * t).toFixed(2));

  function show(node, c) {
    const line = (text, kind) => PB.el("div", { class: kind }, text);
    tip.replaceChildren(line(`${layerWord(c.layer)} · ${c.position}`, "where"),
      line(PB.known(c.auroc) ? `AUROC ${PB.figure(c.auroc)} ${PB.interval(c.low, c.high)}` : `absent${c.why ? `: ${c.why}` : ""}`),
      line(`n = ${PB.count(c.n)}${c.selected ? " · selected on validation" : ""}`));
    if (metric !== "auroc" && PB.known(c.value)) tip.append(line(`${title}: ${c.value.toFixed(DIGITS)}`));
    tip.hidden = false;
    const frame = box.getBoundingClientRect(), spot = node.getBoundingClientRect();
    const left = Math.min(Math.max(0, spot.left - frame.left + spot.width / 2 - tip.offsetWidth / 2), Math.max(0, frame.width - tip.offsetWidth));
    const above = spot.top - frame.top - tip.offsetHeight - 8;
    tip.style.left = `${left}px`;
    tip.style.top = `${above > 0 ? above : spot.bottom - frame.top + 8}px`;
  }

  const node = (i, j) => rows.nodes()[i]?.querySelectorAll("rect.cell")[j];
  function move(to) {
    if (!to) return;
    svg.selectAll("rect.cell[tabindex='0']").attr("tabindex", -1);
    to.setAttribute("tabindex", "0");
    to.focus();
  }
  function walk(event, c) {
    const last = [map.layers.length - 1, map.positions.length - 1], far = event.ctrlKey || event.metaKey;
    const steps = { ArrowUp: [c.i - 1, c.j], ArrowDown: [c.i + 1, c.j], ArrowLeft: [c.i, c.j - 1], ArrowRight: [c.i, c.j + 1],
      Home: [far ? 0 : c.i, 0], End: [far ? last[0] : c.i, last[1]], PageUp: [0, c.j], PageDown: [last[0], c.j] };
    const to = steps[event.key];
    if (event.key === "Escape") tip.hidden = true;
    if (!to) return;
    event.preventDefault();
    move(node(...to));
  }

  function asTable() {
    const figure = (c) => (PB.known(c.auroc) ? `${PB.figure(c.auroc)} ${PB.interval(c.low, c.high)}, n ${PB.count(c.n)}` : "absent");
    const body = map.layers.map((layer, i) => PB.el("tr", {}, PB.el("th", { scope: "row" }, layerWord(layer)),
      ...cells.filter((c) => c.i === i).map((c) => PB.el("td", { class: c.selected ? "selected" : null }, figure(c), c.selected ? " (selected)" : null))));
    return PB.el("table", {}, PB.el("caption", { class: "hidden" }, `${label}: test AUROC, 95 % interval and n by layer and token`),
      PB.el("thead", {}, PB.el("tr", {}, PB.el("th", { scope: "col" }, "Layer"), ...map.positions.map((p) => PB.el("th", { scope: "col" }, p)))), PB.el("tbody", {}, ...body));
  }

  const details = PB.el("details", {}, PB.el("summary", {}, "The map as a table"));
  details.addEventListener("toggle", () => {
    if (details.open && !details.querySelector("table")) details.append(PB.el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "The map as a table" }, asTable()));
  });
  const scroll = PB.el("div", { class: "scroll bare" });
  scroll.append(svg.node());
  scroll.addEventListener("scroll", () => { tip.hidden = true; });
  const hint = PB.el("p", { class: "status", hidden: true }, "Wider than the window: the map scrolls sideways.");
  box.replaceChildren(scroll, hint, tip, details);
  hint.hidden = scroll.scrollWidth <= scroll.clientWidth;
  if (chosen) scroll.scrollLeft = Math.max(0, margin.left + w * (chosen.j + 1.5) - scroll.clientWidth);
  (chosen ? node(chosen.i, chosen.j) : node(0, 0))?.setAttribute("tabindex", "0");
};
