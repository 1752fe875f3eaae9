// The page: filters, the list of images, the viewer, keys and deep links.
"use strict";

let order = [];

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const mark = (kind) => element("i", { style: `background: ${WORDS[kind][0]}` });

// Pictures are text in the page, or a script beside it that calls `takePictures`.
const decoded = new Map();
const NONE = "(none)"; // shown for an image without a type or a fold
const waiting = new Map();
const takePictures = (src, pictures) => waiting.get(src)(pictures);

function loadPictures({ index, src }) {
  if (!src) return Promise.resolve(JSON.parse($(`pictures-${index}`).textContent));
  return new Promise((resolve, reject) => {
    waiting.set(src, resolve);
    const onerror = () => reject(new Error(`${src} is missing; keep it beside this page`));
    document.head.append(element("script", { src: src.split("/").map(encodeURIComponent).join("/"), onerror }));
  });
}

function imageOf(entry) {
  if (!decoded.has(entry.index)) {
    const made = loadPictures(entry).then((pictures) => decodeImage(entry, pictures, data));
    decoded.set(entry.index, made);
    if (decoded.size > 100) decoded.delete(decoded.keys().next().value); // the oldest, for memory's sake
  }
  return decoded.get(entry.index);
}

/* ---- filters and order ---- */

const numberOf = (entry, side) => entry.areas?.[side]?.length ?? 0;
const SORTS = {
  ...(isScored ? {
    "worst score": (a, b) => a.score - b.score,
    "best score": (a, b) => b.score - a.score,
  } : {}),
  "id": () => 0,
  "largest image": (a, b) => b.size[0] * b.size[1] - a.size[0] * a.size[1],
  ...(hasSide("true") ? { "most true objects": (a, b) => numberOf(b, "true") - numberOf(a, "true") } : {}),
  ...(hasSide("pred") ? { "most predicted objects": (a, b) => numberOf(b, "pred") - numberOf(a, "pred") } : {}),
  ...(compares ? { "most errors at this threshold": (a, b) => errorsOf(b) - errorsOf(a) } : {}),
  ...(data.other ? { "best against the other": (a, b) => b.change - a.change } : {}),
  ...(data.other ? { "worst against the other": (a, b) => a.change - b.change } : {}),
  ...Object.fromEntries(data.classes.map(({ name }, c) =>
    [`worst ${name}`, (a, b) => (a.rows[c].iou ?? 2) - (b.rows[c].iou ?? 2)])),
};
const errorsOf = (entry) => countsOf(entry).fp + countsOf(entry).fn;
const sizeOf = (entry) => `${entry.size[0]} × ${entry.size[1]}`;
const pressed = () => [...document.querySelectorAll(".chip[aria-pressed=true]")].map((chip) => chip.dataset.kind);

function choose() {
  const text = $("search").value.trim().toLowerCase();
  const kinds = pressed();
  const most = $("most").value === "" ? Infinity : Number($("most").value);
  return byId
    .filter((entry) => [entry.id, ...entry.issues].some((said) => said.toLowerCase().includes(text)))
    .filter((entry) => ["kind", "fold"].every((key) => !$(key).value || (entry[key] || NONE) === $(key).value))
    .filter((entry) => entry.score <= most && (!$("size").value || sizeOf(entry) === $("size").value))
    .filter((entry) => !kinds.length || kinds.some((kind) => countsOf(entry)[kind] > 0))
    .sort(SORTS[$("sort").value]);
}
const byId = [...data.images].sort((a, b) => (a.id < b.id ? -1 : Number(a.id > b.id)));

function fillSelects() {
  $("sort").append(...Object.keys(SORTS).map((name) => element("option", {}, name)));
  for (const [key, name, of] of [["kind", "type", (entry) => entry.kind], ["fold", "fold", (entry) => entry.fold],
    ["size", "size", sizeOf]]) {
    const values = [...new Set(data.images.map(of))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    $(key).append(element("option", { value: "" }, `every ${name}`));
    $(key).append(...values.map((value) => element("option", {}, value || NONE)));
    $(key).closest("label").hidden = values.length < 2;
  }
  $("thumbnails").append(...data.layers.map((name) => element("option", {}, name)));
  $("thumbnails").closest("label").hidden = data.layers.length < 2;
}

/* ---- the head: threshold, chips, figures ---- */

function fillChips() {
  const chip = (kind) => element("button", {
    type: "button", class: "chip", "data-kind": kind, "aria-pressed": "false", title: `${kind}: ${MEANINGS[kind]}`,
    onclick: ({ currentTarget: button }) => {
      button.ariaPressed = String(button.ariaPressed === "false");
      update();
    },
  }, mark(kind), `${kind} `, element("b", {}, "0"));
  const group = (name, kinds) => element("div", { role: "group", "aria-label": name },
    element("span", { class: "name" }, name), ...kinds.map(chip));
  const groups = { "true objects": KINDS.slice(0, 5), "predicted": KINDS.slice(5),
    "classes": data.classes.map(({ name }) => name), [`changed from ${data.other}`]: CHANGES };
  for (const [name, kinds] of Object.entries(groups)) if (kinds.length) $("chips").append(group(name, kinds));
  const plain = isScored || isClasses ? [] : [kindOf(data.images[0], sides[0], 0)];
  for (const kind of [...Object.values(groups).flat(), ...plain]) {
    $("meanings").append(element("dt", {}, kind), element("dd", {}, MEANINGS[kind]));
  }
  for (const cell of document.querySelectorAll("#run th, #run td:first-child")) {
    if (MEANINGS[cell.textContent]) cell.title = MEANINGS[cell.textContent];
  }
}

const FIGURES = isClasses ? {
  score: ["score", "the mean over the images of their IoU, averaged over the classes in truth or prediction"],
  iou: ["mean IoU", "the mean over the classes of their IoU over the pixels of the chosen images together"],
  accuracy: ["accuracy", "the share of the pixels whose class is right"],
} : {
  score: ["score", "the mean over the images of their precision, averaged over the IoU thresholds 0.50 to 0.95"],
  mean_precision: ["AP at this IoU",
    "the mean over the images of tp / (tp + fp + fn); 1 where nothing is and nothing was found"],
  ap_pooled: ["AP, pooled", "tp / (tp + fp + fn) over all objects together"],
  recall: ["recall", "tp / (tp + fn)"],
  f1: ["F1", "2 tp / (2 tp + fp + fn)"],
  pq: ["PQ", "panoptic quality: F1 times the mean IoU of the matched pairs"],
  change: ["score difference", "the score minus the other run's; the interval stands in Run and scores"],
  tp: ["tp", "found: pairs with an IoU above the threshold"],
  fp: ["fp", "predicted objects that are in no pair with an IoU above the threshold"],
  fn: ["fn", "true objects that are in no pair with an IoU above the threshold"],
};

const describeClass = ({ truePx, iou }, totalPx) =>
  (isScored ? iou?.toFixed(3) ?? "–" : `${((100 * truePx) / Math.max(1, totalPx)).toFixed(1)} %`);

function summarizeClasses() {
  const confusion = order.length ? scores.addConfusions(order.map((entry) => entry.confusion)) : [];
  const rows = scores.classRows(confusion);
  const total = rows.reduce((sum, row) => sum + row.truePx, 0);
  const right = rows.reduce((sum, _, c) => sum + confusion[c][c], 0);
  const ious = rows.map((row, c) => [data.classes[c].name, describeClass(row, total)]);
  return { ...Object.fromEntries(ious), iou: scores.meanIou(rows), accuracy: total ? right / total : 1 };
}

function summarizeObjects() {
  const summary = scores.summarize(order.map((entry) => entry.compared), state.k);
  for (const change of CHANGES) summary[change] = order.reduce((sum, entry) => sum + countsOf(entry)[change], 0);
  return summary;
}

function updateHead() {
  const summary = isClasses ? summarizeClasses() : summarizeObjects();
  for (const key of ["score", "change"]) {
    summary[key] = order.reduce((sum, entry) => sum + entry[key], 0) / Math.max(1, order.length);
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
  const figures = Object.entries(FIGURES).filter(([key]) => isScored && (key !== "change" || data.other));
  $("figures").replaceChildren(...figures.map(figure));
  const chosen = order.length < data.images.length ? `${order.length} of ` : "";
  $("count").textContent = `${chosen}${data.images.length} images`;
}

const setThreshold = (k) => ((state.k = Math.min(scores.HIGHEST, Math.max(scores.LOWEST, k))), update());

/* ---- the list of images ---- */

const visible = new Set(); // cards on the screen or near it: the others wait
const seen = new IntersectionObserver((items) => items.forEach(({ target, isIntersecting }) => {
  if (target.id === "more") {
    if (isIntersecting) state.limit += 60, updateList();
  } else if (isIntersecting) visible.add(target), updateCard(target);
  else visible.delete(target);
}), { rootMargin: "300px" });

const hashOf = (entry, selected) =>
  `#${encodeURIComponent(entry.id)}${selected ? `/${nameObject(...selected)}` : ""}`;

function makeCard(entry) {
  const about = [sizeOf(entry), entry.kind, entry.fold && `fold ${entry.fold}`].filter(Boolean).join(" · ");
  const width = Math.round(240 * Math.min(2, window.devicePixelRatio || 1));
  const card = element("li", { "data-index": entry.index },
    element("a", { href: hashOf(entry), "aria-label": `image ${entry.id}` },
      element("canvas", { width, height: Math.ceil((width * entry.size[0]) / entry.size[1]) })),
    element("div", { class: "line" }, element("b", { class: "id", title: entry.id }, entry.id),
      element("span", { class: "score", title: FIGURES.score[1] }, isScored ? entry.score.toFixed(4) : "")),
    element("div", { class: "about" }, about), element("div", { class: "counts" }));
  seen.observe(card);
  return card;
}

const cards = new Map();
function updateList() {
  const shown = order.slice(0, state.limit);
  for (const entry of shown) if (!cards.has(entry.index)) cards.set(entry.index, makeCard(entry));
  const wanted = shown.map((entry) => cards.get(entry.index));
  const { children } = $("list");
  const isOther = wanted.length !== children.length || wanted.some((card, n) => children[n] !== card);
  if (isOther) $("list").replaceChildren(...wanted);
  $("more").hidden = shown.length === order.length;
  seen.unobserve($("more"));
  seen.observe($("more"));
  if (state.open < 0) visible.forEach(updateCard); // else they are behind the viewer
}

function describeCounts(entry) {
  if (isClasses) {
    const totalPx = entry.rows.reduce((sum, row) => sum + row.truePx, 0); // those that count
    return entry.rows.map((row, c) => [data.classes[c].name, row]).filter(([, { iou }]) => iou !== null)
      .map(([name, row]) => [name, `${name} ${describeClass(row, totalPx)}`]);
  }
  return [...KINDS, ...CHANGES].map((kind) => [kind, countsOf(entry)[kind]]).filter(([, n]) => n > 0)
    .map(([kind, n]) => [kind, `${n} ${kind}`]);
}

function updateCard(card) {
  const [entry, counts] = [data.images[card.dataset.index], card.querySelector(".counts")];
  const parts = describeCounts(entry).map(([kind, text]) =>
    element("span", { title: `${kind}: ${MEANINGS[kind]}` }, mark(kind), text));
  const plain = compares ? "nothing here, nothing found" : `${numberOf(entry, sides[0])} objects`;
  counts.replaceChildren(...(parts.length || isClasses ? parts : [plain]));
  const kinds = (side, object) => kindOf(entry, side, object);
  imageOf(entry).then((shown) => drawThumbnail(card.querySelector("canvas"), shown, state.layer, kinds))
    .catch((error) => (counts.textContent = error.message));
}

/* ---- the viewer ---- */

const viewer = new Viewer($("canvas"), (picked) => picked && go(data.images[state.open], picked));
const go = (entry, selected) => (location.hash = hashOf(entry, selected));

async function openImage(entry, selected) {
  const isNew = state.open !== entry.index;
  Object.assign(state, { open: entry.index, selected });
  if (!$("viewer").open) $("viewer").showModal();
  $("viewer-title").textContent = entry.id;
  if (isNew) $("viewer-objects").replaceChildren(); // those of the image before
  const shown = await imageOf(entry).catch((error) => ($("viewer-about").textContent = error.message, null));
  if (!shown || state.open !== entry.index) return;
  const names = Object.keys(shown.layers);
  if (isNew) {
    $("layer").replaceChildren(...names.map((name, n) => element("option", { value: name }, `${n + 1} ${name}`)));
    for (const input of document.querySelectorAll("[data-needs]")) {
      const { needs } = input.dataset;
      input.closest("label").hidden = !(needs === "plane" ? shown.planes.length : shown.paths[needs]);
    }
    [-1, 1].map(neighbour).filter(Boolean).forEach(imageOf);
  }
  viewer.show(shown, (side, object) => kindOf(entry, side, object), selected);
  $("layer").value = viewer.options.layer;
  updateViewer();
}

const neighbour = (by) => order[order.indexOf(data.images[state.open]) + by];
const step = (by) => neighbour(by) && go(neighbour(by));

function updateViewer() {
  if (state.open < 0) return;
  const entry = data.images[state.open];
  const atThreshold = compares && scores.precisionOf(scores.countAt(entry.compared, state.k)).toFixed(4);
  $("viewer-about").textContent = [sizeOf(entry), entry.kind, entry.fold && `fold ${entry.fold}`,
    entry.shown[0] < entry.size[0] && `shown at ${sizeOf({ size: entry.shown })}`,
    isScored && `score ${entry.score.toFixed(4)}${compares ? `, at this IoU ${atThreshold}` : ""}`,
    entry.other && `score minus ${data.other}'s ${entry.change.toFixed(4)}`,
    ...entry.issues].filter(Boolean).join(" · ");
  $("viewer-objects").replaceChildren(...(isClasses ? listClasses(entry) : listOfImage(entry)));
  $("viewer-objects").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  viewer.canvas.setAttribute("aria-label", `image ${entry.id}, ${$("viewer-about").textContent}`);
  updateScales();
}

const listClasses = (entry) => entry.rows.map(({ truePx, predPx, iou }, c) => element("li", {},
  mark(data.classes[c].name), element("b", {}, data.classes[c].name),
  ` ${truePx} px${isScored ? `, predicted ${predPx} px · IoU ${iou?.toFixed(3) ?? "–"}` : ""}`));

// Objects in error and changed ones first; of very many, the first 300 and the selected one.
function listOfImage(entry) {
  const items = sides.flatMap((side) => entry.areas[side].map((area, object) => {
    const [kind, change] = [kindOf(entry, side, object), changeOf(entry, side, object)];
    const isSelected = isSame(state.selected, [side, object]);
    return { side, object, area, kind, change, isSelected, rank: PLAIN.has(kind) && !change ? 1 : 0 };
  })).filter(({ side, kind }) => side !== "other" || kind === "gone extra").sort((a, b) => a.rank - b.rank);
  const link = ({ side, object, area, kind, change, isSelected }) => element("li", {}, element("a", {
    href: hashOf(entry, [side, object]), "aria-current": isSelected ? "true" : null, title: MEANINGS[change ?? kind],
  }, mark(change ?? kind), element("b", {}, nameObject(side, object)),
  ` ${nameKind(kind, change)} · ${area} px²`, compares ? ` · IoU ${iouOf(entry, side, object).toFixed(3)}` : ""));
  const more = items.length > 300 ? [element("li", {}, `… of ${items.length} objects`)] : [];
  return [...items.filter((item, n) => n < 300 || item.isSelected).map(link), ...more];
}

// The colour bars of the layers of numbers that the viewer and the small pictures show; all images have the same scale.
function updateScales() {
  const { layer, darkest, brightest } = viewer.options;
  for (const [id, name, from, to] of [["scale", layer, darkest, brightest], ["list-scale", state.layer, 0, 255]]) {
    const isWeights = data.weights.includes(name);
    const high = isWeights ? data.high : 1;
    $(id).hidden = !isWeights && !data.planes.includes(name);
    $(id).style.setProperty("--stops", (isWeights ? HEAT : GRAYS).join(", "));
    $(id).querySelectorAll("b").forEach((end, n) => {
      end.textContent = Number((([from, to][n] / 255) * high).toPrecision(3));
    });
  }
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
  const [, letter, number] = /^([tpo])(\d+)$/.exec(object ?? "") ?? [];
  const side = { t: "true", p: "pred", o: "other" }[letter];
  return openImage(entry, entry.areas?.[side]?.[number - 1] !== undefined ? [side, number - 1] : null);
}

const toggle = (name) => document.querySelector(`label:not([hidden]) > [data-option=${name}]`)?.click();

/* ---- keys ---- */

const KEYS = [
  [["j", "ArrowRight"], "next image", () => step(1)],
  [["k", "ArrowLeft"], "previous image", () => step(-1)],
  [["n", "ArrowDown"], "next object, those in error first", () => stepObject(1)],
  [["b", "ArrowUp"], "previous object", () => stepObject(-1)],
  [["t"], "truth: show or hide", () => toggle("true")],
  [["p"], "prediction: show or hide", () => toggle("pred")],
  [["o"], "other run: show or hide", () => toggle("other")],
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
  const option = isOpen && /^[1-9]$/.test(event.key) && $("layer").options[event.key - 1];
  if (option) return $("layer").value = option.value, $("layer").dispatchEvent(new Event("input"));
  const [, , act] = [...(isOpen ? KEYS : []), ...ANYWHERE].find(([keys]) => keys.includes(event.key)) ?? [];
  if (act) event.preventDefault(), act(event.key);
}

function moveFocus(by) {
  const links = [...$("list").querySelectorAll("a")];
  links[Math.min(links.length - 1, Math.max(0, links.indexOf(document.activeElement) + by))]?.focus();
}

/* ---- putting it together ---- */

function update() {
  order = choose();
  updateHead();
  updateList();
  updateObjects();
  updateScales();
  updateViewer();
  if (state.open >= 0 && viewer.shown) viewer.refill(), viewer.draw();
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

const onEach = (selector, event, act) =>
  document.querySelectorAll(selector).forEach((one) => one.addEventListener(event, () => act(one)));

function listen() {
  onEach("nav [data-view]", "click", (button) => showView(button.dataset.view));
  onEach("#search, #sort, #kind, #fold, #size, #most", "input", () => ((state.limit = 60), update()));
  onEach(".iou", "input", (input) => setThreshold(Math.round(input.value / 5)));
  onEach("#thumbnails", "input", ({ value }) => ((state.layer = value), update()));
  onEach("[data-option]", "input", (input) => {
    viewer.set(input.dataset.option, input.type === "checkbox" ? input.checked : input.value);
    $("plane-value").textContent = (viewer.options.threshold / 100).toFixed(2);
    updateScales();
  });
  $("csv").addEventListener("click", saveCsv);
  $("canvas").addEventListener("pointermove", (event) => ($("pixel").textContent = viewer.describePixel(event)));
  $("scatter").addEventListener("click", (event) => {
    const row = nearestPoint(event);
    if (row) go(row.entry, [row.side, row.object]);
  });
  $("scatter").addEventListener("pointermove", (event) => {
    const row = nearestPoint(event);
    $("scatter").title = row ? `${row.entry.id} ${nameObject(row.side, row.object)}, ${row.area} px²` : "";
  });
  onEach("#previous", "click", () => step(-1));
  onEach("#next", "click", () => step(1));
  onEach("[data-close]", "click", (button) => button.closest("dialog").close());
  onEach("[data-help]", "click", () => $("help").showModal());
  $("viewer").addEventListener("close", () => {
    const card = cards.get(state.open);
    Object.assign(state, { open: -1, selected: null });
    if (location.hash.length > 1) history.replaceState(null, "", "#");
    visible.forEach(updateCard);
    card?.querySelector("a").focus();
  });
  document.addEventListener("keydown", onKey);
  window.addEventListener("hashchange", follow);
  window.addEventListener("resize", updateObjects);
}

function start() {
  const rows = [...KEYS, ...ANYWHERE, [["1 … 9"], "image, planes, weight maps"], [["Esc"], "close"]];
  $("keys").append(...rows.flatMap(([keys, meaning]) => [
    element("dt", {}, ...keys.map((key) => element("kbd", {}, key.replace("Arrow", "")))), element("dd", {}, meaning),
  ]));
  $("choice").open = innerWidth > 700;
  fillSelects();
  fillChips();
  listen();
  showView("images");
  follow();
}
start();
