"use strict";
// A table that sorts, filters, searches and turns pages: thirty thousand rows keep fifty in the document.
PB.table = (box, { columns, rows, filters = [], search = null, page = 50, initial = {}, grouped = null }) => {
  const label = box.dataset.label;
  const state = { sort: null, down: false, page: 0, words: "", picked: new Map(filters.map((f) => [f.name, initial[f.name] ?? ""])) };
  const controls = PB.el("div", { class: "controls", role: "search", "aria-label": `Filter: ${label}` });
  const status = PB.el("p", { class: "status", role: "status", "aria-live": "polite" });
  const body = PB.el("tbody");
  const heads = columns.map((column) => {
    const button = PB.el("button", { type: "button", onclick: () => sortBy(column) }, column.title, PB.el("span", { class: "arrow", "aria-hidden": "true" }));
    return PB.el("th", { scope: "col", class: column.right ? "right" : null }, column.value ? button : column.title);
  });
  const table = PB.el("table", {}, PB.el("caption", { class: "hidden" }, label), PB.el("thead", {}, PB.el("tr", {}, ...heads)), body);
  const before = PB.el("button", { type: "button", onclick: () => turn(-1) }, "Previous");
  const after = PB.el("button", { type: "button", onclick: () => turn(1) }, "Next");
  let shown = [], live = columns;  // an optional column goes where no row has a value for it

  if (search) {
    const input = PB.el("input", { type: "search", placeholder: "Name", autocomplete: "off", spellcheck: "false" });
    input.addEventListener("input", () => { state.words = input.value; state.page = 0; update(); });
    controls.append(PB.el("label", {}, "Search", input));
  }
  for (const filter of filters) {
    const values = filter.values ?? [...new Set(rows.map(filter.of))];
    const select = PB.el("select", { name: filter.name }, PB.el("option", { value: "" }, filter.all ?? "all"));
    for (const value of values) {
      const [key, words] = Array.isArray(value) ? value : [value, value];
      select.append(PB.el("option", { value: key, selected: state.picked.get(filter.name) === key }, words));
    }
    select.addEventListener("change", () => { state.picked.set(filter.name, select.value); state.page = 0; update(); });
    controls.append(PB.el("label", {}, filter.title, select));
  }

  function sortBy(column) {
    const best = column.down ?? false;
    if (state.sort !== column) { state.sort = column; state.down = best; } else if (state.down === best) state.down = !best;
    else { state.sort = null; }  // the third click returns to the order of the ranks
    state.page = 0;
    update();
  }

  function turn(by) { state.page += by; draw(); box.scrollIntoView({ block: "start" }); }

  function update() {
    const words = state.words.toLowerCase().split(/\s+/).filter(Boolean);
    shown = rows.filter((row) => filters.every((f) => {
      const value = state.picked.get(f.name);
      return value === "" || (f.test ? f.test(row, value) : f.of(row) === value);
    }) && words.every((w) => search(row).toLowerCase().includes(w)));
    live = columns.filter((column) => !column.optional || shown.some((row) => PB.known(column.value(row))));
    if (state.sort && !live.includes(state.sort)) state.sort = null;  // its head is gone
    if (state.sort) {
      const { value } = state.sort, sign = state.down ? -1 : 1;
      shown.sort((a, b) => {
        const x = value(a), y = value(b);
        if (!PB.known(x) || !PB.known(y)) return PB.known(y) - PB.known(x) || a.order - b.order;  // absent always last
        return sign * (typeof x === "string" ? x.localeCompare(y) : x - y) || a.order - b.order;
      });
    }
    heads.forEach((head, i) => {
      const mine = state.sort === columns[i];
      if (mine) head.setAttribute("aria-sort", state.down ? "descending" : "ascending"); else head.removeAttribute("aria-sort");
      const arrow = head.querySelector(".arrow");
      if (arrow) arrow.textContent = mine ? (state.down ? " ↓" : " ↑") : "";
    });
    heads.forEach((head, i) => { head.hidden = !live.includes(columns[i]); });
    draw();
  }

  function draw() {
    const last = Math.max(0, Math.ceil(shown.length / page) - 1);
    state.page = Math.min(Math.max(state.page, 0), last);
    const from = state.page * page, part = shown.slice(from, from + page);
    let key;
    body.replaceChildren(...part.map((row, i) => {
      const now = grouped && !state.sort ? grouped(row) : null;
      const edge = i > 0 && now !== key;
      key = now;
      return PB.el("tr", { class: edge ? "edge" : null }, ...live.map((column) =>
        PB.el(column.head ? "th" : "td", { scope: column.head ? "row" : null, class: ["right", "words", "short"].find((name) => column[name]) ?? null }, column.show(row))));
    }));
    if (!part.length) body.append(PB.el("tr", {}, PB.el("td", { colspan: live.length, class: "absent" }, "No row matches. Loosen a filter.")));
    const end = from + part.length;
    status.textContent = shown.length ? `${(from + 1).toLocaleString("en")}–${end.toLocaleString("en")} of ${shown.length.toLocaleString("en")} rows` : "0 rows";
    before.disabled = state.page === 0;
    after.disabled = state.page === last;
    pager.hidden = shown.length <= page;
  }

  const pager = PB.el("div", { class: "pager" }, before, after);
  const scroll = PB.el("div", { class: "scroll", role: "region", "aria-label": label, tabindex: "0" }, table);
  box.replaceChildren(controls, PB.el("div", { class: "bar" }, status, pager), scroll);
  update();
};
