"use strict";
// One model: its maps, loaded when they are asked for, and all its rows.
(() => {
  const slug = decodeURIComponent(location.pathname.split("/").slice(-1)[0].replace(/\.html$/, ""));
  const data = PB.get(`models/${slug}`);
  if (!data) return;
  PB.rowTable(document.getElementById("rows"), PB.records(data), { withTask: true });

  const place = document.getElementById("map");
  if (!place || !data.maps.length) return;
  const drawing = PB.el("div", { class: "mapframe" });
  const note = PB.el("p", { class: "status", role: "status", "aria-live": "polite" });
  const choose = (title, name, options) => {
    const select = PB.el("select", { name }, ...options.map(([value, words]) => PB.el("option", { value }, words)));
    select.addEventListener("change", draw);
    return [PB.el("label", {}, title, select), select];
  };
  const [mapLabel, mapSelect] = choose("Task and site", "map", data.maps.map((m, i) => [i, `${m.task}, ${m.site}`]));
  const [metricLabel, metricSelect] = choose("Colours", "metric", [["auroc", "test AUROC"], ["validation", "validation AUROC"], ["selectivity", "selectivity"]]);

  function draw() {
    const chosen = data.maps[Number(mapSelect.value)];
    PB.load(chosen.key).then((map) => {
      note.textContent = `${chosen.task}, ${chosen.site}: ${map.layers.length} rows of layers, ${map.positions.length} tokens${map.p ? `; its best cell against shuffled labels: ${map.p.replaceAll(" ", "\u00a0")}` : ""}.`;
      PB.heatmap(drawing, map, { label: `${data.name} on ${chosen.task}, ${chosen.site}`, metric: metricSelect.value });
    }, () => { note.textContent = "This map's file is missing from the site."; });
  }

  place.append(PB.el("div", { class: "controls" }, mapLabel, metricLabel), note, drawing);
  document.addEventListener("themechange", draw);
  draw();
})();
