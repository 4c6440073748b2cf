"use strict";
// Two models side by side: the same detector on the tasks both have.
(() => {
  const index = PB.get("index"), place = document.getElementById("compare");
  if (!index || !place) return;
  const Z95 = 1.959964;
  const models = [...new Map(index.standings.map(([name, slug]) => [slug, { name, slug }])).values()].sort((a, b) => a.name.localeCompare(b.name));
  const asked = new URLSearchParams(location.hash.slice(1));
  // Whoever is not asked for is the model that shares most tasks with the other one, at first the two that share most of all.
  const known = (slug) => models.some((m) => m.slug === slug);
  const partners = new Map(index.partners), [first] = index.partners[0] ?? [models[0].slug];
  const pick = (title, wanted, other) => {
    const select = PB.el("select", {}, ...models.map((m) => PB.el("option", { value: m.slug }, m.name)));
    select.value = known(wanted) ? wanted : partners.get(other) ?? first;
    select.addEventListener("change", draw);
    return [PB.el("label", { class: "grow" }, title, select), select];
  };
  const [labelA, a] = pick("First model", known(asked.get("a")) ? asked.get("a") : partners.has(asked.get("b")) ? null : first, asked.get("b"));
  const [labelB, b] = pick("Second model", asked.get("b"), a.value);
  const detector = PB.el("select", {});
  detector.addEventListener("change", draw);
  const result = PB.el("div", {});
  const note = PB.el("p", { class: "status", role: "status", "aria-live": "polite" });
  place.append(PB.el("div", { class: "controls" }, labelA, labelB, PB.el("label", {}, "Detector", detector)), note, result);

  // One figure per task: a run counts before a published figure, and only rows on the current version of the task.
  function figures(data, name) {
    const found = new Map();
    for (const row of PB.records(data)) {
      if (!row.current || !PB.known(row.auroc) || !(name === "headline" ? row.headline : row.detector === name)) continue;
      const key = `${row.task} ${row.published ? "published" : "run"}`;
      if (!found.has(key)) found.set(key, row);
    }
    return found;
  }

  async function draw() {
    history.replaceState(null, "", `#a=${encodeURIComponent(a.value)}&b=${encodeURIComponent(b.value)}`);
    let one, two;
    try { [one, two] = await Promise.all([PB.load(`models/${a.value}`), PB.load(`models/${b.value}`)]); } catch (error) { note.textContent = error.message; return; }
    const names = new Map([...PB.records(one), ...PB.records(two)].map((r) => [r.detector, r.label]));
    const wanted = names.has(detector.value) ? detector.value : "headline";
    detector.replaceChildren(PB.el("option", { value: "headline" }, "headline probe"), ...[...names].map(([name, label]) => PB.el("option", { value: name }, label)));
    detector.value = wanted;
    const left = figures(one, wanted), right = figures(two, wanted);
    const shared = [...left.keys()].filter((key) => right.has(key)).map((key) => [left.get(key), right.get(key)]);
    note.textContent = shared.length ? `${shared.length} figure${shared.length === 1 ? "" : "s"} on the same task under the same kind of protocol.` : "No task has this detector for both models.";
    if (!shared.length) { result.replaceChildren(); return; }
    const scale = PB.aurocScale(shared.flat(), 190);
    // Half a 95 % interval of the difference: paired by question, else as if the two were independent; null where neither is known.
    const pairedSe = (x) => Object.hasOwn(one.paired[x.order], b.value) ? one.paired[x.order][b.value] / 1e6 : null;
    const half = (x, y) => PB.known(pairedSe(x)) ? Z95 * pairedSe(x) : [x.low, x.high, y.low, y.high].every(PB.known) ? Math.hypot(x.high - x.low, y.high - y.low) / 2 : null;
    const reach = Math.max(0.1, d3.max(shared, ([x, y]) => Math.abs(x.auroc - y.auroc) + (half(x, y) ?? 0)));
    const around = d3.scaleLinear([-reach, reach], [4, 150]).clamp(true);
    const figure = (row) => [PB.auroc(row, scale), PB.known(row.n) ? PB.el("div", { class: "interval" }, `n = ${PB.count(row.n)}`) : null];
    const rows = shared.map(([x, y]) => {
      const difference = x.auroc - y.auroc, reaches = half(x, y);
      const [low, high] = PB.known(reaches) ? [difference - reaches, difference + reaches] : [null, null];
      return PB.el("tr", {}, PB.el("th", { scope: "row" }, PB.taskLink(x.task, x.taskSlug), " ", PB.tag(x.published ? "published" : x.tier)), 
        PB.el("td", {}, PB.el("div", { class: "figure" }, PB.paired(difference, low, high),
          PB.glyph(around, difference, low, high, 0)), PB.known(reaches) && !PB.known(pairedSe(x)) ? PB.el("div", { class: "interval" }, "as if independent") : null),
        PB.el("td", {}, ...figure(x)), PB.el("td", {}, ...figure(y)));
    });
    const head = ["Task", "First minus second", PB.modelLink(one.name, a.value), PB.modelLink(two.name, b.value)].map((title) => PB.el("th", { scope: "col" }, title));
    result.replaceChildren(PB.el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Comparison" },
      PB.el("table", { class: "compact" }, PB.el("caption", { class: "hidden" }, `${one.name} and ${two.name}`), PB.el("thead", {}, PB.el("tr", {}, ...head)), PB.el("tbody", {}, ...rows))));
  }
  draw();
})();
