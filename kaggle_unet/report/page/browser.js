// The page: filters, the list of images, the viewer, the objects with their scatter plot, keys and deep links.
"use strict";

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const hasTruth = data.images.some((entry) => entry.areas.true);

const MEANINGS = {
  found: "a true object with a partner: a prediction whose IoU with it is above the threshold",
  outline: "its partner's IoU is above 0.5, but not above the threshold: the object is there, its outline is off",
  merged: "more than half of it lies in a prediction that holds more than half of another true object as well",
  split: "two or more predictions lie mostly inside it, and none of them alone is its partner",
  missed: "a true object without a partner that is neither merged nor split",
  merging: "a prediction that holds more than half of two or more true objects",
  part: "a prediction that lies mostly inside a true object, beside others",
  extra: "a prediction without a partner that is neither merging nor a part",
  predicted: "a predicted object; there is no truth to compare it with",
  gained: "found by this run and not by the other, at this threshold",
  lost: "found by the other run and not by this one, at this threshold",
};
const KINDS = ["found", "outline", "merged", "split", "missed", "merging", "part", "extra"];
const COLOURS = {
  found: "#1f9d55", outline: "#c79a00", merged: "#9b5de5", split: "#3f7cff", missed: "#e5383b",
  merging: "#7b2cbf", part: "#4895ef", extra: "#f3722c", predicted: "#8a8f94", gained: "#1f9d55", lost: "#e5383b",
};
const state = { k: scores.LOWEST, open: -1, selected: null, view: "images", limit: 60 };
let order = [];

data.images.forEach((entry, index) => {
  entry.index = index;
  entry.compared = scores.compare(entry.areas.true ?? [], entry.areas.pred, entry.pairs.pred ?? []);
  if (!hasTruth) entry.compared.pred.kind.fill("predicted");
  entry.other = entry.areas.other && scores.compare(entry.areas.true, entry.areas.other, entry.pairs.other);
  entry.score = hasTruth ? scores.scoreOf(entry.compared) : 0;
  entry.change = entry.other ? entry.score - scores.scoreOf(entry.other) : 0;
});
const kindsOf = (entry) => (side, object) => scores.kindAt(entry.compared[side], object, state.k);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// Pictures are text in the page, or a script beside it that calls `takePictures`.
const decoded = new Map();
const waiting = new Map();
const takePictures = (src, pictures) => waiting.get(src)(pictures);

function loadPictures({ index, src }) {
  if (!src) return Promise.resolve(JSON.parse($(`pictures-${index}`).textContent));
  return new Promise((resolve, reject) => {
    waiting.set(src, resolve);
    const onerror = () => reject(new Error(`${src} is missing; keep it beside this page`));
    document.head.append(element("script", { src, onerror }));
  });
}

function imageOf(entry) {
  if (!decoded.has(entry.index)) {
    const made = loadPictures(entry).then((pictures) => decodeImage(entry, pictures));
    decoded.set(entry.index, made);
    if (decoded.size > 100) decoded.delete(decoded.keys().next().value); // the oldest, for memory's sake
  }
  return decoded.get(entry.index);
}

/* ---- filters and order ---- */

const SORTS = {
  "worst score": (a, b) => a.score - b.score,
  "best score": (a, b) => b.score - a.score,
  "id": () => 0,
  "largest image": (a, b) => b.size[0] * b.size[1] - a.size[0] * a.size[1],
  "most true objects": (a, b) => (b.areas.true?.length ?? 0) - (a.areas.true?.length ?? 0),
  "most predicted objects": (a, b) => b.areas.pred.length - a.areas.pred.length,
  "most errors at this threshold": (a, b) => errorsOf(b) - errorsOf(a),
  "most gained": (a, b) => b.change - a.change,
  "most lost": (a, b) => a.change - b.change,
};
function errorsOf(entry) {
  const { fp, fn } = scores.countAt(entry.compared, state.k);
  return fp + fn;
}
const sizeOf = (entry) => `${entry.size[0]} × ${entry.size[1]}`;
const pressed = () => [...document.querySelectorAll(".chip[aria-pressed=true]")].map((chip) => chip.dataset.kind);

function hasKind(entry, kinds) {
  if (!kinds.length) return true;
  const counts = scores.countAt(entry.compared, state.k);
  const moved = entry.other && scores.changes(entry.compared, entry.other, state.k);
  return kinds.some((kind) => counts[kind] > 0 || moved?.[kind]?.length > 0);
}

function choose() {
  const text = $("search").value.trim().toLowerCase();
  const kinds = pressed();
  const most = $("most").value === "" ? Infinity : Number($("most").value);
  const byId = (a, b) => (a.id < b.id ? -1 : Number(a.id > b.id));
  const by = SORTS[$("sort").value];
  return data.images
    .filter((entry) => entry.id.toLowerCase().includes(text))
    .filter((entry) => ["kind", "fold"].every((key) => !$(key).value || entry[key] === $(key).value))
    .filter((entry) => !$("size").value || sizeOf(entry) === $("size").value)
    .filter((entry) => entry.score <= most && hasKind(entry, kinds))
    .sort((a, b) => by(a, b) || byId(a, b));
}

function fillSelects() {
  const kept = hasTruth ? (name) => data.other || !name.endsWith("ed") : (name) => /^(id|lar|most pred)/.test(name);
  $("sort").append(...Object.keys(SORTS).filter(kept).map((name) => element("option", {}, name)));
  for (const [key, name, of] of [["kind", "type", (entry) => entry.kind], ["fold", "fold", (entry) => entry.fold],
    ["size", "size", sizeOf]]) {
    const values = [...new Set(data.images.map(of))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    $(key).append(element("option", { value: "" }, `every ${name}`));
    $(key).append(...values.map((value) => element("option", { value }, value || "(none)")));
    $(key).closest("label").hidden = values.length < 2;
  }
  $("most").closest("label").hidden = !hasTruth;
}

/* ---- the head: threshold, chips, figures ---- */

function fillChips() {
  const chip = (kind) => element("button", {
    type: "button", class: "chip", "data-kind": kind, "aria-pressed": "false", title: `${kind}: ${MEANINGS[kind]}`,
    onclick: (event) => {
      const button = event.currentTarget;
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") === "false"));
      update();
    },
  }, element("i", { style: `background: ${COLOURS[kind]}` }), `${kind} `, element("b", {}, "0"));
  const group = (name, kinds) => element("div", { role: "group", "aria-label": name },
    element("span", { class: "name" }, name), ...kinds.map(chip));
  $("chips").append(group("true objects", KINDS.slice(0, 5)), group("predicted", KINDS.slice(5)));
  if (data.other) $("chips").append(group(`against ${data.other}`, ["gained", "lost"]));
  for (const kind of [...KINDS, ...(data.other ? ["gained", "lost"] : [])]) {
    $("meanings").append(element("dt", {}, kind), element("dd", {}, MEANINGS[kind]));
  }
}

const FIGURES = {
  score: ["score", "the mean over the images of their precision, averaged over the IoU thresholds 0.50 to 0.95"],
  mean_precision: ["precision at this IoU",
    "the mean over the images of tp / (tp + fp + fn); 1 where nothing is and nothing was found"],
  ap_pooled: ["AP, pooled", "tp / (tp + fp + fn) over all objects together"],
  recall: ["recall", "tp / (tp + fn)"],
  f1: ["F1", "2 tp / (2 tp + fp + fn)"],
  pq: ["PQ", "panoptic quality: F1 times the mean IoU of the matched pairs"],
  change: ["score gained", "the score minus the other run's; the interval stands in Run and scores"],
  tp: ["tp", "found: pairs with an IoU above the threshold"],
  fp: ["fp", "predicted objects without a partner at this threshold"],
  fn: ["fn", "true objects without a partner at this threshold"],
};

function updateHead() {
  const summary = scores.summarize(order.map((entry) => entry.compared), state.k);
  summary.change = order.reduce((sum, entry) => sum + entry.change, 0) / Math.max(1, order.length);
  summary.score = order.reduce((sum, entry) => sum + entry.score, 0) / Math.max(1, order.length);
  for (const moved of data.other ? order.map((e) => scores.changes(e.compared, e.other, state.k)) : []) {
    for (const kind of ["gained", "lost"]) summary[kind] = (summary[kind] ?? 0) + moved[kind].length;
  }
  for (const chip of document.querySelectorAll(".chip")) {
    chip.querySelector("b").textContent = summary[chip.dataset.kind] ?? 0;
  }
  for (const input of document.querySelectorAll(".iou")) input.value = state.k * 5;
  for (const output of document.querySelectorAll(".iou-value")) output.textContent = (state.k / 20).toFixed(2);
  const figure = ([key, [name, meaning]]) => {
    const value = summary[key] ?? 0;
    const text = ["tp", "fp", "fn"].includes(key) ? String(value) : value.toFixed(4);
    return element("div", { title: meaning, "data-key": key }, element("dt", {}, name), element("dd", {}, text));
  };
  const figures = Object.entries(FIGURES).filter(([key]) => hasTruth && (key !== "change" || data.other));
  $("figures").replaceChildren(...figures.map(figure));
  const n = order.length;
  $("count").textContent = n === data.images.length ? `${n} images` : `${n} of ${data.images.length} images`;
}

function setThreshold(k) {
  state.k = Math.min(scores.HIGHEST, Math.max(scores.LOWEST, k));
  update();
}

/* ---- the list of images ---- */

const seen = new IntersectionObserver((items) => items.filter((item) => item.isIntersecting).forEach(({ target }) => {
  if (target.id === "more") {
    state.limit += 60;
    updateList();
  } else drawCard(target);
}), { rootMargin: "300px" });

function drawCard(card) {
  const entry = data.images[card.dataset.index];
  imageOf(entry).then((shown) => drawThumbnail(card.querySelector("canvas"), shown, kindsOf(entry)))
    .catch((error) => (card.querySelector(".counts").textContent = error.message));
}

const hashOf = (entry, selected) =>
  `#${encodeURIComponent(entry.id)}${selected ? `/${nameObject(...selected)}` : ""}`;

function makeCard(entry) {
  const about = [sizeOf(entry), entry.kind, entry.fold && `fold ${entry.fold}`].filter(Boolean).join(" · ");
  const card = element("li", { "data-index": entry.index },
    element("a", { href: hashOf(entry), "aria-label": `image ${entry.id}` },
      element("canvas", { width: 240, height: Math.ceil((240 * entry.size[0]) / entry.size[1]) })),
    element("div", { class: "line" }, element("b", { class: "id", title: entry.id }, entry.id),
      element("span", { class: "score", title: FIGURES.score[1] }, hasTruth ? entry.score.toFixed(4) : "")),
    element("div", { class: "about" }, about), element("div", { class: "counts" }));
  seen.observe(card);
  return card;
}

const cards = new Map();
function updateList() {
  const shown = order.slice(0, state.limit);
  for (const entry of shown) if (!cards.has(entry.index)) cards.set(entry.index, makeCard(entry));
  const wanted = shown.map((entry) => cards.get(entry.index));
  const list = $("list");
  if (wanted.length !== list.children.length || wanted.some((card, n) => list.children[n] !== card)) {
    list.replaceChildren(...wanted);
  }
  $("more").hidden = shown.length === order.length;
  seen.unobserve($("more"));
  seen.observe($("more"));
  for (const entry of shown) updateCard(cards.get(entry.index), entry);
}

function updateCard(card, entry) {
  const counts = scores.countAt(entry.compared, state.k);
  const moved = entry.other ? scores.changes(entry.compared, entry.other, state.k) : {};
  for (const kind of Object.keys(moved)) counts[kind] = moved[kind].length;
  const parts = [...KINDS, "gained", "lost"].filter((kind) => counts[kind]).map((kind) =>
    element("span", { title: `${kind}: ${MEANINGS[kind]}` },
      element("i", { style: `background: ${COLOURS[kind]}` }), `${counts[kind]} ${kind}`));
  const plain = hasTruth ? "nothing here, nothing found" : `${entry.areas.pred.length} objects`;
  card.querySelector(".counts").replaceChildren(...(hasTruth && parts.length ? parts : [plain]));
}

/* ---- objects: scatter and table ---- */

function listObjects() {
  const kinds = pressed();
  const rows = [];
  for (const entry of order) {
    for (const side of hasTruth ? ["true", "pred"] : ["pred"]) {
      const moved = entry.other && side === "true" ? scores.changes(entry.compared, entry.other, state.k) : {};
      entry.areas[side].forEach((area, object) => {
        const kind = scores.kindAt(entry.compared[side], object, state.k);
        if (side === "pred" && (kind === "found" || kind === "outline")) return; // stands with its true partner
        const isMoved = kinds.some((name) => moved[name]?.includes(object));
        if (kinds.length && !kinds.includes(kind) && !isMoved) return;
        rows.push({ entry, side, object, area, kind, iou: entry.compared[side].iou[object] });
      });
    }
  }
  return rows;
}

const AXES = { left: 46, right: 14, top: 12, bottom: 38 };
let points = [];
function drawScatter(rows) {
  const canvas = $("scatter");
  const [ratio, width, height] = [window.devicePixelRatio || 1, canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const areas = rows.map((row) => row.area);
  const [low, high] = [Math.log10(Math.max(1, areas.reduce((a, b) => Math.min(a, b), 1e9))),
    Math.log10(areas.reduce((a, b) => Math.max(a, b), 10))];
  const perDecade = (width - AXES.left - AXES.right) / Math.max(0.01, high - low);
  const xOf = (area) => AXES.left + (Math.log10(area) - low) * perDecade;
  const yOf = (iou) => height - AXES.bottom - iou * (height - AXES.top - AXES.bottom);
  const ink = getComputedStyle(canvas).color;
  [context.fillStyle, context.strokeStyle, context.font] = [ink, ink, "12px system-ui, sans-serif"];
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    context.globalAlpha = 0.25;
    context.strokeRect(AXES.left, yOf(tick), width - AXES.left - AXES.right, 0);
    context.globalAlpha = 1;
    context.textAlign = "right";
    context.fillText(tick.toFixed(2), AXES.left - 6, yOf(tick) + 4);
  }
  context.textAlign = "center";
  for (let power = Math.floor(low); power <= high; power++) {
    for (const factor of [1, 2, 5]) {
      const [area, x] = [factor * 10 ** power, xOf(factor * 10 ** power)];
      if (x >= AXES.left && x <= width - AXES.right) context.fillText(area, x, height - AXES.bottom + 17);
    }
  }
  context.fillText("area in px² (logarithmic)", (AXES.left + width) / 2, height - 4);
  context.fillText("IoU", 16, yOf(0.625) + 4);
  context.setLineDash([5, 4]);
  context.strokeRect(AXES.left, yOf(state.k / 20), width - AXES.left - AXES.right, 0);
  context.setLineDash([]);
  context.globalAlpha = 0.75;
  points = rows.map((row) => ({ row, x: xOf(row.area), y: yOf(row.iou) }));
  for (const { row, x, y } of points) {
    context.fillStyle = COLOURS[row.kind];
    context.fillRect(x - 2, y - 2, 4, 4);
  }
}

function nearestPoint(event) {
  const box = $("scatter").getBoundingClientRect();
  const away = (point) => Math.hypot(point.x - (event.clientX - box.left), point.y - (event.clientY - box.top));
  const best = points.reduce((a, b) => (a && away(a) <= away(b) ? a : b), null);
  return best && away(best) < 12 ? best.row : null;
}

function updateObjects() {
  if (state.view !== "objects") return;
  const rows = listObjects();
  drawScatter(rows);
  rows.sort((a, b) => a.iou - b.iou || b.area - a.area);
  const row = ({ entry, side, object, area, kind, iou }) => element("tr", {},
    element("td", {}, element("a", { href: hashOf(entry, [side, object]) }, `${entry.id} ${nameObject(side, object)}`)),
    element("td", { title: MEANINGS[kind] }, kind), element("td", {}, String(area)), element("td", {}, iou.toFixed(3)));
  $("objects-rows").replaceChildren(...rows.slice(0, 200).map(row));
  $("objects-count").textContent = `${rows.length > 200 ? "200 of " : ""}${rows.length} objects, lowest IoU first`;
}

function saveCsv() {
  const quote = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const head = ["id", "fold", "type", "side", "object", "kind", "area_px", "iou", "top", "left", "bottom", "right"];
  const lines = listObjects().map(({ entry, side, object, area, kind, iou }) => [
    entry.id, entry.fold, entry.kind, side === "pred" ? "predicted" : side, object + 1, kind, area, iou.toFixed(6),
    ...entry.boxes[side][object],
  ].map(quote));
  const blob = new Blob([[head, ...lines].map((line) => line.join(",")).join("\n"), "\n"], { type: "text/csv" });
  const link = element("a", { href: URL.createObjectURL(blob), download: "objects.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/* ---- the viewer ---- */

const viewer = new Viewer($("canvas"), (picked) => picked && go(data.images[state.open], picked));
const go = (entry, selected) => (location.hash = hashOf(entry, selected));

async function openImage(entry, selected) {
  const isSame = state.open === entry.index;
  Object.assign(state, { open: entry.index, selected });
  if (!$("viewer").open) $("viewer").showModal();
  $("viewer-title").textContent = entry.id;
  if (!isSame) $("viewer-objects").replaceChildren(); // those of the image before
  const shown = await imageOf(entry).catch((error) => ($("viewer-about").textContent = error.message, null));
  if (!shown || state.open !== entry.index) return;
  const names = Object.keys(shown.layers);
  if (!isSame) {
    $("layer").replaceChildren(...names.map((name, n) => element("option", { value: name }, `${n + 1} ${name}`)));
    for (const input of document.querySelectorAll("[data-needs]")) {
      const { needs } = input.dataset;
      input.closest("label").hidden = !(needs === "plane" ? names.length > 1 : shown.paths[needs]);
    }
    for (const next of neighbours()) imageOf(next);
  }
  viewer.show(shown, kindsOf(entry), selected);
  $("layer").value = viewer.options.layer;
  updateViewer(isSame);
}

const neighbours = () => [-1, 1].map((step) => order[order.indexOf(data.images[state.open]) + step]).filter(Boolean);

function updateViewer() {
  if (state.open < 0) return;
  const entry = data.images[state.open];
  const counts = scores.countAt(entry.compared, state.k);
  $("viewer-about").textContent = [sizeOf(entry), entry.kind, entry.fold && `fold ${entry.fold}`,
    entry.shown[0] < entry.size[0] && `shown at ${sizeOf({ size: entry.shown })}`,
    hasTruth && `score ${entry.score.toFixed(4)}, at this IoU ${scores.precisionOf(counts).toFixed(4)}`,
    entry.other && `score minus ${data.other}'s ${entry.change.toFixed(4)}`].filter(Boolean).join(" · ");
  const kinds = kindsOf(entry);
  const moved = entry.other ? scores.changes(entry.compared, entry.other, state.k) : {};
  const item = (side) => (area, object) => {
    const kind = kinds(side, object);
    const change = side === "true" && Object.keys(moved).find((name) => moved[name].includes(object));
    const { iou } = entry.compared[side];
    const isSelected = state.selected?.[0] === side && state.selected[1] === object;
    return { rank: PLAIN.has(kind) && !change ? 1 : 0, made: () => element("li", {}, element("a", {
      href: hashOf(entry, [side, object]), "aria-current": isSelected ? "true" : null, title: MEANINGS[kind],
    }, element("i", { style: `background: ${COLOURS[kind]}` }), element("b", {}, nameObject(side, object)),
    ` ${kind}${change ? `, ${change}` : ""} · ${area} px²${hasTruth ? ` · IoU ${iou[object].toFixed(3)}` : ""}`)) };
  };
  const items = [...(entry.areas.true ?? []).map(item("true")), ...entry.areas.pred.map(item("pred"))];
  $("viewer-objects").replaceChildren(...items.sort((a, b) => a.rank - b.rank).map(({ made }) => made()));
  $("viewer-objects").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  viewer.canvas.setAttribute("aria-label", `image ${entry.id}, ${$("viewer-about").textContent}`);
}

function step(by) {
  const next = order[order.indexOf(data.images[state.open]) + by];
  if (next) go(next);
}

function stepObject(by) {
  const links = [...$("viewer-objects").querySelectorAll("a")];
  const at = links.findIndex((link) => link.getAttribute("aria-current"));
  const next = links[at < 0 ? (by > 0 ? 0 : links.length - 1) : (at + by + links.length) % links.length];
  if (next) location.hash = next.getAttribute("href");
}

function follow() {
  const [id, object] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const entry = data.images.find((other) => other.id === id);
  if (!entry) return $("viewer").close();
  const [, letter, number] = /^([tp])(\d+)$/.exec(object ?? "") ?? [];
  const side = letter === "t" ? "true" : "pred";
  return openImage(entry, letter && entry.areas[side]?.[number - 1] !== undefined ? [side, number - 1] : null);
}

function toggle(name) {
  const input = document.querySelector(`[data-option=${name}]`);
  if (!input.closest("label").hidden) input.click();
}

/* ---- keys ---- */

const KEYS = [
  [["j", "ArrowRight"], "next image", () => step(1)],
  [["k", "ArrowLeft"], "previous image", () => step(-1)],
  [["n", "ArrowDown"], "next object, those in error first", () => stepObject(1)],
  [["b", "ArrowUp"], "previous object", () => stepObject(-1)],
  [["t"], "outlines of the truth", () => toggle("true")],
  [["p"], "outlines of the prediction", () => toggle("pred")],
  [["o"], "outlines of the other run", () => toggle("other")],
  [["f"], "fill objects in error, each in a colour of its own", () => toggle("fill")],
  [["i"], "ids of objects in error", () => toggle("ids")],
  [["m"], "mask: where the plane reaches its threshold", () => toggle("mask")],
  [["+", "="], "zoom in", () => viewer.zoomAt(1.3)],
  [["-"], "zoom out", () => viewer.zoomAt(1 / 1.3)],
  [["0"], "whole image", () => (viewer.fit(), viewer.draw())],
  [["w", "a", "s", "d"], "pan up, left, down, right", (key) => viewer.pan(
    { a: 60, d: -60 }[key] ?? 0, { w: 60, s: -60 }[key] ?? 0)],
];
const ANYWHERE = [
  [["["], "lower IoU threshold", () => setThreshold(state.k - 1)],
  [["]"], "higher IoU threshold", () => setThreshold(state.k + 1)],
  [["/"], "search", () => $("search").focus()],
  [["?"], "this help", () => $("help").showModal()],
];

function onKey(event) {
  const isTyping = event.target.matches("select, input[type=search], input[type=number]")
    || (event.target.matches("input[type=range]") && event.key.startsWith("Arrow"));
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping || $("help").open) return;
  const isOpen = $("viewer").open;
  if (!isOpen && "jk".includes(event.key) && order.length) return moveFocus(event.key === "j" ? 1 : -1);
  if (isOpen && /^[1-9]$/.test(event.key)) {
    const option = $("layer").options[event.key - 1];
    if (option) [$("layer").value] = [option.value], viewer.set("layer", option.value);
    return;
  }
  const found = [...(isOpen ? KEYS : []), ...ANYWHERE].find(([keys]) => keys.includes(event.key));
  if (!found) return;
  event.preventDefault();
  found[2](event.key);
}

function moveFocus(by) {
  const links = [...$("list").querySelectorAll("a")];
  const at = links.indexOf(document.activeElement) + by;
  links[Math.min(links.length - 1, Math.max(0, at))]?.focus();
}

/* ---- putting it together ---- */

function update() {
  order = choose();
  updateHead();
  updateList();
  updateObjects();
  updateViewer();
  if (state.open >= 0) viewer.shown && (viewer.repaint(), viewer.draw());
  requestAnimationFrame(() => document.querySelectorAll("#list > li").forEach((card) => {
    const box = card.getBoundingClientRect();
    if (box.bottom > 0 && box.top < innerHeight && box.width) drawCard(card);
  }));
}

function showView(name) {
  state.view = name;
  for (const button of document.querySelectorAll("nav [data-view]")) {
    button.setAttribute("aria-pressed", String(button.dataset.view === name));
    $(button.dataset.view).hidden = button.dataset.view !== name;
  }
  $("controls").hidden = $("choice").hidden = name === "run";
  update();
}

function listen() {
  document.querySelectorAll("nav [data-view]").forEach((button) => {
    button.addEventListener("click", () => showView(button.dataset.view));
  });
  for (const id of ["search", "sort", "kind", "fold", "size", "most"]) {
    $(id).addEventListener("input", () => ((state.limit = 60), update()));
  }
  document.querySelectorAll(".iou").forEach((input) => {
    input.addEventListener("input", () => setThreshold(Math.round(input.value / 5)));
  });
  document.querySelectorAll("[data-option]").forEach((input) => input.addEventListener("input", () => {
    viewer.set(input.dataset.option, input.type === "checkbox" ? input.checked : input.value);
    $("plane-value").textContent = (viewer.options.threshold / 255).toFixed(2);
  }));
  $("csv").addEventListener("click", saveCsv);
  $("scatter").addEventListener("click", (event) => {
    const row = nearestPoint(event);
    if (row) go(row.entry, [row.side, row.object]);
  });
  $("scatter").addEventListener("pointermove", (event) => {
    const row = nearestPoint(event);
    const text = row && `${row.entry.id} ${nameObject(row.side, row.object)}: ${row.kind}, ${row.area} px²`;
    $("scatter").title = text ?? "";
  });
  for (const [id, by] of [["previous", -1], ["next", 1]]) $(id).addEventListener("click", () => step(by));
  document.querySelectorAll("[data-close]").forEach((button) => {
    button.addEventListener("click", () => button.closest("dialog").close());
  });
  document.querySelectorAll("[data-help]").forEach((button) => {
    button.addEventListener("click", () => $("help").showModal());
  });
  $("viewer").addEventListener("close", () => {
    const card = cards.get(state.open);
    Object.assign(state, { open: -1, selected: null });
    if (location.hash.length > 1) history.replaceState(null, "", "#");
    card?.querySelector("a").focus();
  });
  document.addEventListener("keydown", onKey);
  window.addEventListener("hashchange", follow);
  window.addEventListener("resize", updateObjects);
}

function start() {
  const rows = [...KEYS, ...ANYWHERE, [["1 … 9"], "image, planes"], [["Esc"], "close"]];
  $("keys").append(...rows.flatMap(([keys, meaning]) => [
    element("dt", {}, ...keys.map((key) => element("kbd", {}, key.replace("Arrow", "")))), element("dd", {}, meaning),
  ]));
  document.body.classList.toggle("without-truth", !hasTruth);
  $("choice").open = innerWidth > 700;
  fillSelects();
  fillChips();
  listen();
  showView("images");
  follow();
}
start();
