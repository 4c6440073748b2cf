"use strict";
// What every page shares: data, elements, words and the interval glyph. Submitted text only ever becomes text nodes.
const PB = (() => {
  const root = document.body.dataset.root || "";
  const store = new Map();
  const waiting = new Map();
  // The only addresses that may become scripts: data files of this site.
  const safe = /^(\.\.\/)?data\/(models|maps)\/[A-Za-z0-9._\/@-]+\.js$/;
  const policy = window.trustedTypes
    ? window.trustedTypes.createPolicy("probebench", {
      createScriptURL: (url) => {
        if (!safe.test(url) || url.slice(3).includes("..")) throw new TypeError(`Not a data file: ${url}`);
        return url;
      },
    })
    : { createScriptURL: (url) => url };

  function put(key, json) {
    store.set(key, JSON.parse(json));
    if (waiting.has(key)) waiting.get(key).forEach((resolve) => resolve(store.get(key)));
    waiting.delete(key);
  }

  // A data file by its key, such as "models/tiny": files work from file:// where fetch does not.
  function load(key) {
    if (store.has(key)) return Promise.resolve(store.get(key));
    return new Promise((resolve, reject) => {
      if (waiting.has(key)) { waiting.get(key).push(resolve); return; }
      waiting.set(key, [resolve]);
      const script = document.createElement("script");
      script.addEventListener("error", () => { waiting.delete(key); reject(new Error(`No data for ${key}`)); });
      script.src = policy.createScriptURL(`${root}data/${key}.js`);
      document.head.append(script);
    });
  }

  function el(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
    }
    node.append(...children.filter((c) => c !== null && c !== undefined));
    return node;
  }

  const known = (value) => value !== null && value !== undefined;
  const figure = (value) => (known(value) ? value.toFixed(3) : "absent");
  // Digits that show an interval: three where an end lies within a hundredth of zero, at most four until ends that differ show it.
  const enough = (low, high) => {
    const least = Math.abs(low) < 0.01 || Math.abs(high) < 0.01 ? 3 : 2;
    return low === high ? least : [least, 3].find((n) => signed(low, n) !== signed(high, n)) ?? 4;
  };
  // What rounds to zero has no sign.
  const signed = (value, digits = 3) => { const text = Math.abs(value).toFixed(digits); return Number(text) ? (value < 0 ? "−" : "+") + text : text; };
  const within = (low, high, say) => (known(low) && known(high) ? `[${say(low, enough(low, high))}, ${say(high, enough(low, high))}]` : "");
  const interval = (low, high) => within(low, high, (value, digits) => value.toFixed(digits));
  const span = (low, high) => within(low, high, signed);
  const count = (n) => (known(n) ? n.toLocaleString("en") : "not stated");
  const size = (n) => (!known(n) ? "unknown" : n >= 1e9 ? `${+(n / 1e9).toPrecision(3)} B` : `${+(n / 1e6).toPrecision(3)} M`);
  // A line may break after the owner of a model, and between the words of a name.
  const broken = (name) => name.split(/(?<=[\/_])/).flatMap((part, i) => (i ? [el("wbr"), part] : [part]));
  const modelLink = (name, slug) => el("a", { href: `${root}models/${encodeURIComponent(slug)}.html` }, ...broken(name));
  const taskLink = (name, slug) => el("a", { href: `${root}tasks/${encodeURIComponent(slug)}.html` }, ...broken(name));
  const tag = (name) => el("span", { class: `tag ${["published", "recomputed", "rerun"].includes(name) ? name : ""}` }, name);

  // Dot and whisker on a common axis; the words beside it say the same, so it is hidden from screen readers.
  function glyph(scale, value, low, high, mark) {
    const [x0, x1] = scale.range();
    const svg = d3.create("svg").attr("class", "glyph").attr("viewBox", `0 0 ${x1 + 4} 14`).attr("width", x1 + 4).attr("height", 14).attr("aria-hidden", "true");
    if (known(mark)) svg.append("line").attr("class", "mark").attr("x1", scale(mark)).attr("x2", scale(mark)).attr("y1", 0).attr("y2", 14);
    if (known(low) && known(high)) svg.append("line").attr("class", "whisker").attr("x1", Math.max(x0, scale(low))).attr("x2", Math.min(x1, scale(high))).attr("y1", 7).attr("y2", 7);
    if (known(value)) svg.append("circle").attr("class", "dot").attr("cx", scale(value)).attr("cy", 7).attr("r", 3.2);
    return svg.node();
  }

  // Rows of a data file: columns of dictionary codes back to records.
  function records(data) {
    const c = data.rows;
    return c.m.map((m, i) => ({
      order: i, model: data.models[m][0], slug: data.models[m][1], family: data.models[m][2], size: data.models[m][3], parameters: data.models[m][4],
      task: data.tasks[c.k[i]][0], taskSlug: data.tasks[c.k[i]][1],
      detector: data.detectors[c.d[i]][0], label: data.detectors[c.d[i]][1], when: data.detectors[c.d[i]][2],
      auroc: known(c.a[i]) ? c.a[i] / 1e6 : null, low: known(c.l[i]) ? c.l[i] / 1e6 : null, high: known(c.h[i]) ? c.h[i] / 1e6 : null,
      difference: known(c.b[i]) ? c.b[i] / 1e6 : null, differenceLow: known(c.bl[i]) ? c.bl[i] / 1e6 : null, differenceHigh: known(c.bh[i]) ? c.bh[i] / 1e6 : null,
      spread: known(c.e[i]) ? c.e[i] / 1e6 : null, splitsSd: known(c.y[i]) ? c.y[i] / 1e6 : null, splits: c.z[i], n: c.n[i], rank: c.g[i], tier: data.tiers[c.t[i]], published: data.tiers[c.t[i]] === "published", old: c.v[i], headline: c.x[i] === 1,
      current: c.o[i] === 0, source: known(c.s[i]) ? data.sources[c.s[i]] : null,
    }));
  }

  function rank(row) {
    if (!known(row.rank)) return el("span", { class: "absent", title: row.current ? "not ranked: no rival, or fewer than ten test answers of a class, or groups of them" : "of an older version, not ranked" }, "–");
    return el("span", { class: row.rank === 1 ? "rank first" : "rank" }, `${row.published ? "P" : ""}${row.rank}`);
  }

  // The run's probe minus this detector, on the same examples.
  const difference = (row) => known(row.difference) ? paired(row.difference, row.differenceLow, row.differenceHigh) : el("span", { class: "absent" }, "–");

  // A difference with its interval, strong where that leaves zero out.
  function paired(value, low, high) {
    const clear = known(low) && known(high) && (low > 0 || high < 0);
    return el("span", { class: clear ? "clear" : null }, el("span", { class: "num" }, signed(value)), " ", el("span", { class: "interval" }, span(low, high)));
  }

  function auroc(row, scale) {
    if (!known(row.auroc)) return el("span", { class: "absent" }, "absent");
    return el("div", { class: "figure" }, el("span", {}, el("span", { class: "num" }, row.published ? row.auroc.toFixed(2) : figure(row.auroc)), " ",
      el("span", { class: "interval" }, !row.published ? interval(row.low, row.high) : known(row.spread) ? `± ${row.spread.toFixed(3)}` : "")),
      glyph(scale, row.auroc, row.low, row.high, 0.5), known(row.splitsSd) ? el("div", { class: "interval below" }, `sd ${figure(row.splitsSd)} over ${row.splits} splits`) : null);
  }

  function aurocScale(rows, width = 150) {
    const low = d3.min(rows, (r) => (known(r.low) ? r.low : r.auroc)) ?? 0.5;
    return d3.scaleLinear([Math.min(0.4, Math.floor(low * 10) / 10), 1], [4, width]);
  }

  const dark = () => getComputedStyle(document.documentElement).getPropertyValue("--dark").trim() === "1";
  return { put, load, el, known, figure, interval, signed, count, size, modelLink, taskLink, tag, glyph, records, rank, difference, paired, auroc, aurocScale, dark, get: (key) => store.get(key) };
})();
