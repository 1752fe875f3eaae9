// What a page shows: objects with their kinds, by image and in one table, as a scatter plot and as CSV.
"use strict";

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const hasSide = (side) => data.images.some((entry) => entry.areas?.[side]);
const isClasses = data.classes.length > 0;
const compares = hasSide("true") && hasSide("pred");
const isScored = compares || data.layers.includes("predicted classes");
const sides = SIDES.filter(hasSide);

const WORDS = {
  found: ["#1f9d55", "a true object with a partner: a prediction whose IoU with it is above the threshold"],
  outline: ["#c79a00", "its partner's IoU is above 0.5, but not above the threshold: it is there, its outline is off"],
  merged: ["#9b5de5", "more than half of it lies in a prediction that holds more than half of another one as well"],
  split: ["#3f7cff", "two or more predictions lie mostly inside it, and none of them alone is its partner"],
  missed: ["#e5383b", "a true object without a partner that is neither merged nor split"],
  merging: ["#7b2cbf", "a prediction that holds more than half of two or more true objects"],
  part: ["#4895ef", "a prediction that lies mostly inside a true object, beside others"],
  extra: ["#f3722c", "a prediction without a partner that is neither merging nor a part"],
  predicted: ["#8a8f94", "a predicted object; there is no truth to compare it with"],
  labelled: ["#00a5d0", "an object of the labels; there is no prediction to compare it with"],
  gained: ["#1f9d55", "found by this run and not by the other, at this threshold"],
  lost: ["#e5383b", "found by the other run and not by this one, at this threshold"],
  "new extra": ["#e5383b", "an extra object of this run without a partner among the other run's extra objects"],
  "gone extra": ["#1f9d55", "an extra object of the other run without a partner among this run's extra objects"],
};
const CHANGES = data.other ? ["gained", "lost", "new extra", "gone extra"] : [];
const KINDS = compares ? ["found", "outline", "merged", "split", "missed", "merging", "part", "extra"] : [];
for (const { name, colour } of data.classes) {
  WORDS[name] = [colour, `the ${isScored ? "IoU" : "share"} of this class, over the pixels of the chosen images`];
}
const MEANINGS = Object.fromEntries(Object.entries(WORDS).map(([word, [, meaning]]) => [word, meaning]));
const INKS = Object.fromEntries(Object.entries(WORDS).map(([word, [colour]]) => [word, pack(bytesOf(colour))]));
const state = { k: scores.LOWEST, open: -1, selected: null, view: "images", limit: 60, layer: "image" };

for (const [index, entry] of data.images.entries()) {
  Object.assign(entry, { index, score: 0, change: 0, counts: [] });
  if (isClasses) {
    entry.rows = scores.classRows(entry.confusion);
    entry.score = scores.meanIou(entry.rows);
  } else {
    entry.compared = scores.compare(entry.areas.true ?? [], entry.areas.pred ?? [], entry.pairs.pred ?? []);
    entry.score = compares ? scores.scoreOf(entry.compared) : 0;
  }
  if (!data.other) continue;
  entry.other = scores.compare(entry.areas.true, entry.areas.other, entry.pairs.other);
  entry.change = entry.score - scores.scoreOf(entry.other);
  entry.unshared = findUnshared(entry);
}

// Extra objects of one prediction that have no partner among the extra ones of the other.
function findUnshared({ compared, other, areas, pairs }) {
  const extras = ({ kind, partner }) => new Set([...kind.keys()].filter((n) => partner[n] < 0 && kind[n] === "extra"));
  const found = { pred: extras(compared.pred), other: extras(other.pred) };
  for (const [i, j, shared] of pairs.both) {
    const isPair = 2 * shared > areas.pred[i] + areas.other[j] - shared;
    if (isPair && found.pred.has(i) && found.other.has(j)) found.pred.delete(i), found.other.delete(j);
  }
  return found;
}

function kindOf(entry, side, object) {
  if (side === "other") return entry.unshared.other.has(object) ? "gone extra" : "predicted";
  if (!compares) return side === "true" ? "labelled" : "predicted";
  return scores.kindAt(entry.compared[side], object, state.k);
}

// How an object differs from the other run's: a word of CHANGES, or nothing.
function changeOf(entry, side, object) {
  if (!entry.other) return null;
  if (side !== "true") return entry.unshared[side].has(object) ? (side === "pred" ? "new extra" : "gone extra") : null;
  const [here, there] = [entry.compared, entry.other].map((compared) => compared.true.level[object] >= state.k);
  return here === there ? null : here ? "gained" : "lost";
}

const iouOf = (entry, side, object) => (side === "other" ? entry.other.pred : entry.compared[side]).iou[object];
const nameKind = (kind, change) => (change && change !== kind ? `${kind}, ${change}` : kind);

// Objects of an image by kind, and by change, at this threshold; pixels of its classes.
const countsOf = (entry) => (entry.counts[state.k] ??= isClasses ? countPixels(entry) : countObjects(entry));

const countPixels = ({ rows }) =>
  Object.fromEntries(rows.map(({ truePx, predPx }, c) => [data.classes[c].name, truePx + predPx]));

function countObjects(entry) {
  const counts = { ...scores.countAt(entry.compared, state.k) };
  if (!entry.other) return counts;
  const changes = entry.areas.true.map((_, object) => changeOf(entry, "true", object));
  for (const name of ["gained", "lost"]) counts[name] = changes.filter((change) => change === name).length;
  return Object.assign(counts, { "new extra": entry.unshared.pred.size, "gone extra": entry.unshared.other.size });
}

/* ---- the table of objects: made once, lowest IoU first; predictions with a partner stand with the true object ---- */

let table = null;
function tabulateObjects() {
  const rows = [];
  for (const entry of data.images) {
    for (const side of sides) {
      entry.areas[side].forEach((area, object) => {
        if (side === "other" && !entry.unshared.other.has(object)) return;
        if (side === "pred" && entry.compared.pred.partner[object] >= 0) return;
        const [top, left, bottom, right] = entry.boxes[side][object];
        const height = compares ? iouOf(entry, side, object) : area / ((bottom - top) * (right - left));
        const { partner, level } = entry.compared[side] ?? { partner: [], level: [] };
        const kind = partner[object] >= 0 ? null : kindOf(entry, side, object);
        rows.push({ entry, side, object, area, height, kind, level: level[object] });
      });
    }
  }
  return rows.sort((a, b) => a.height - b.height || b.area - a.area);
}

// The kind of a row: that of an object with a partner depends on the threshold.
const kindOfRow = ({ kind, level }) => kind ?? (level >= state.k ? "found" : "outline");

function listObjects() {
  const kinds = new Set(pressed());
  const chosen = new Set(order);
  table ??= tabulateObjects();
  if (!kinds.size) return chosen.size === data.images.length ? table : table.filter((row) => chosen.has(row.entry));
  return table.filter((row) => chosen.has(row.entry)
    && (kinds.has(kindOfRow(row)) || kinds.has(changeOf(row.entry, row.side, row.object))));
}

const AXES = { left: 46, right: 14, top: 12, bottom: 38 };
const points = { rows: [] };

// Place points once for the same rows, for half a million of them: those without an ink have that of their level.
function placePoints(rows, width, height) {
  let [least, most] = [1e9, 10];
  for (const { area } of rows) [least, most] = [Math.min(least, area), Math.max(most, area)];
  const [low, high] = [Math.log10(least), Math.log10(most)];
  const perDecade = (width - AXES.left - AXES.right) / Math.max(0.01, high - low);
  const xOf = (area) => AXES.left + (Math.log10(area) - low) * perDecade;
  const yOf = (share) => height - AXES.bottom - share * (height - AXES.top - AXES.bottom);
  const x = Float32Array.from(rows, (row) => xOf(row.area));
  const y = Float32Array.from(rows, (row) => yOf(row.height));
  const ink = Uint32Array.from(rows, (row) => (row.kind ? INKS[row.kind] : 0));
  Object.assign(points, { rows, width, height, low, high, xOf, yOf, x, y, ink });
  points.level = Uint8Array.from(rows, (row) => row.level);
}

function drawScatter(rows) {
  const canvas = $("scatter");
  const [ratio, width, height] = [window.devicePixelRatio || 1, canvas.clientWidth, canvas.clientHeight];
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  if (points.rows !== rows || points.width !== width || points.height !== height) placePoints(rows, width, height);
  const [{ low, high, xOf, yOf }, context] = [points, canvas.getContext("2d")];
  drawPoints(context, ratio);
  context.scale(ratio, ratio);
  const ink = getComputedStyle(canvas).color;
  [context.fillStyle, context.strokeStyle, context.font] = [ink, ink, "12px system-ui, sans-serif"];
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    context.globalAlpha = 0.25;
    context.strokeRect(AXES.left, yOf(tick), width - AXES.left - AXES.right, 0);
    Object.assign(context, { globalAlpha: 1, textAlign: "right" });
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
  context.fillText(compares ? "IoU" : "fill", 16, yOf(0.625) + 4);
  if (!compares) return;
  context.setLineDash([5, 4]);
  context.strokeRect(AXES.left, yOf(state.k / 20), width - AXES.left - AXES.right, 0);
}

function drawPoints(context, ratio) {
  const { width, height } = context.canvas;
  const painted = new ImageData(width, height);
  const [words, side] = [new Uint32Array(painted.data.buffer), Math.round(4 * ratio)];
  for (let n = 0; n < points.rows.length; n++) {
    const ink = points.ink[n] || (points.level[n] >= state.k ? INKS.found : INKS.outline);
    let at = Math.round(points.y[n] * ratio - side / 2) * width + Math.round(points.x[n] * ratio - side / 2);
    for (let line = 0; line < side; line++, at += width) for (let x = at; x < at + side; x++) words[x] = ink;
  }
  context.putImageData(painted, 0, 0);
}

function nearestPoint(event) {
  const box = $("scatter").getBoundingClientRect();
  const [x, y] = [event.clientX - box.left, event.clientY - box.top];
  let [best, least] = [null, 12];
  points.rows.forEach((row, n) => {
    const away = Math.hypot(points.x[n] - x, points.y[n] - y);
    if (away < least) [best, least] = [row, away];
  });
  return best;
}

function updateObjects() {
  if (state.view !== "objects") return;
  const rows = listObjects();
  drawScatter(rows);
  const item = (row) => {
    const { entry, side, object, area, height } = row;
    const [kind, change] = [kindOfRow(row), changeOf(entry, side, object)];
    return element("tr", {},
      element("td", {}, element("a", { href: hashOf(entry, [side, object]) },
        `${entry.id} ${nameObject(side, object)}`)),
      element("td", { title: MEANINGS[change ?? kind] }, nameKind(kind, change)),
      element("td", {}, String(area)), element("td", {}, height.toFixed(3)));
  };
  $("objects-rows").replaceChildren(...rows.slice(0, 100).map(item));
  const sorted = compares ? "lowest IoU first" : "least filled first";
  $("objects-count").textContent = `${rows.length > 100 ? "100 of " : ""}${rows.length} objects, ${sorted}`;
}

function saveCsv() {
  const quote = (value) => (/[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
  const head = ["id", "fold", "type", "side", "object", "kind", ...(data.other ? ["change"] : []), "area_px",
    ...(compares ? ["iou"] : []), "top", "left", "bottom", "right"];
  const lines = listObjects().map(({ entry, side, object, area, height, kind, level }) => [
    entry.id, entry.fold, entry.kind, { pred: "predicted" }[side] ?? side, object + 1, kindOfRow({ kind, level }),
    ...(data.other ? [changeOf(entry, side, object) ?? ""] : []), area,
    ...(compares ? [height.toFixed(6)] : []), ...entry.boxes[side][object],
  ].map(quote));
  const blob = new Blob([[head, ...lines].map((line) => line.join(",")).join("\n"), "\n"], { type: "text/csv" });
  const link = element("a", { href: URL.createObjectURL(blob), download: "objects.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
