"use strict";
// The overview's list of models, and a task's list of rows.
(() => {
  const SIZES = ["under 1 B", "1-4 B", "4-10 B", "10-40 B", "over 40 B", "unknown"];
  const tiers = { name: "tier", title: "Tier", all: "all tiers", values: ["rerun", "recomputed", "published"] };
  const families = (rows) => ({ name: "family", title: "Family", all: "all families", of: (r) => r.family, values: [...new Set(rows.map((r) => r.family))].sort() });
  const sizes = { name: "size", title: "Size", all: "all sizes", of: (r) => r.size, values: SIZES };

  PB.rowTable = (box, rows, { withModel, withTask }) => {
    const scale = PB.aurocScale(rows);
    const names = new Map(rows.map((r) => [r.detector, r.label]));
    const filters = [
      { name: "detector", title: "Detector", all: "all detectors", values: [["headline", "headline probe"], ...names],
        test: (r, v) => (v === "headline" ? r.headline : r.detector === v) },
      { ...tiers, of: (r) => r.tier },
    ];
    if (withModel) filters.push(families(rows), sizes);
    if (withTask) filters.unshift({ name: "task", title: "Task", all: "all tasks", of: (r) => r.task });
    if (rows.some((r) => !r.current)) filters.push({ name: "version", title: "Version", all: "all versions", values: [["current", "current"]], test: (r) => r.current });
    const group = { title: "Group", value: (r) => r.rank, show: PB.rank };
    const figure = { title: "AUROC", down: true, value: (r) => r.auroc, show: (r) => PB.auroc(r, scale) };
    const detector = { title: "Detector", words: true, value: (r) => r.label, show: (r) => r.label };
    const columns = [
      ...(withModel ? [group, { title: "Model", head: true, value: (r) => r.model, show: (r) => PB.el("div", {}, PB.modelLink(r.model, r.slug), PB.el("div", { class: "interval" }, r.label)) }, figure] : []),
      ...(withTask ? [{ title: "Task", head: true, short: true, value: (r) => r.task, show: (r) => PB.taskLink(r.task, r.taskSlug) }, detector, figure] : []),
      { title: "Probe − this", optional: true, down: true, value: (r) => r.difference, show: PB.difference },
      ...(withTask ? [group] : []),
      { title: "n", right: true, down: true, value: (r) => r.n, show: (r) => (PB.known(r.n) ? PB.el("span", { class: "num" }, PB.count(r.n)) : PB.el("span", { class: "absent line" }, "not stated")) },
      { title: "Tier", value: (r) => r.tier, show: (r) => PB.el("span", { title: r.source }, PB.tag(r.tier), r.current ? null : PB.el("span", { class: "tag old" }, r.old)) },
    ];
    PB.table(box, {
      columns, rows, filters, initial: withTask ? {} : { detector: "headline" },
      search: (r) => `${withModel ? r.model : r.task} ${r.label}`,
      grouped: withTask ? (r) => r.task : (r) => `${r.published} ${r.current} ${r.detector} ${r.rank}`,
    });
  };

  const task = document.getElementById("rows");
  const page = location.pathname.split("/").slice(-1)[0].replace(/\.html$/, "");
  const own = PB.get(`tasks/${decodeURIComponent(page)}`);
  if (task && own) PB.rowTable(task, PB.records(own), { withModel: true });

  const models = document.getElementById("models");
  const index = PB.get("index");
  if (models && index) {
    const scale = d3.scaleLinear([0, 1], [4, 150]);
    const rows = index.standings.map(([name, slug, family, size, parameters, mine, tasks, first, decided, undecided, low, high], order) =>
      ({ order, name, slug, family, size, parameters, tiers: mine.map((t) => index.tiers[t]), tasks, first, decided, undecided, low, high }));
    PB.table(models, {
      rows, search: (r) => `${r.name} ${r.family}`,
      grouped: (r) => r.tiers.includes("published"),
      filters: [{ ...tiers, test: (r, v) => r.tiers.includes(v) }, families(rows), sizes],
      columns: [
        { title: "Model", head: true, value: (r) => r.name, show: (r) => PB.modelLink(r.name, r.slug) },
        { title: "First group", down: true, value: (r) => (r.decided ? r.first / r.decided : null), show: (r) => (r.decided
          ? PB.el("div", { class: "figure" }, PB.el("span", {}, PB.el("span", { class: "num" }, `${r.first} of ${r.decided}`), " ", PB.el("span", { class: "interval" }, PB.interval(r.low, r.high))),
            PB.glyph(scale, r.first / r.decided, r.low, r.high, 0))
          : PB.el("span", { class: "absent" }, r.undecided ? "nobody differs" : "not ranked yet")) },
        { title: "Nobody differs", right: true, down: true, value: (r) => r.undecided, show: (r) => PB.el("span", { class: "num" }, String(r.undecided)) },
        { title: "Tasks", right: true, down: true, value: (r) => r.tasks, show: (r) => PB.el("span", { class: "num" }, String(r.tasks)) },
        { title: "Family", value: (r) => r.family, show: (r) => r.family },
        { title: "Size", right: true, down: true, value: (r) => r.parameters, show: (r) => (PB.known(r.parameters) ? PB.el("span", { class: "num" }, PB.size(r.parameters)) : PB.el("span", { class: "absent" }, "unknown")) },
        { title: "Tier", show: (r) => PB.el("span", {}, ...r.tiers.map(PB.tag)) },
      ],
    });
  }
})();
