// Scores of images from the areas of their objects and the pixels that pairs of them share: metrics/score.py,
// metrics/matching.py and metrics/error_types.py once more. All comparisons are of integers; a pair matches where its
// IoU is above the threshold, k twentieths; from one half on an object has one partner at most. Classes are scored by
// their confusions, as metrics/pixels.py does.
"use strict";

const scores = (() => {
  const LOWEST = 10;
  const HIGHEST = 19;
  const TRUE_KINDS = ["found", "outline", "merged", "split", "missed"];
  const PRED_KINDS = ["found", "outline", "merging", "part", "extra"];

  // What does not depend on the threshold. Pairs are [true, predicted, shared pixels], objects counted from 0.
  function compare(trueAreas, predAreas, pairs) {
    const result = { true: sides(trueAreas), pred: sides(predAreas) };
    const inPred = new Uint32Array(predAreas.length);
    const inTrue = new Uint32Array(trueAreas.length);
    for (const [i, j, shared] of pairs) {
      const union = trueAreas[i] + predAreas[j] - shared;
      note(result.true, i, j, shared, union);
      note(result.pred, j, i, shared, union);
      inPred[j] += 2 * shared > trueAreas[i];
      inTrue[i] += 2 * shared > predAreas[j];
    }
    for (const [i, j, shared] of pairs) {
      if (2 * shared > predAreas[j] && inTrue[i] > 1) [result.true.kind[i], result.pred.kind[j]] = ["split", "part"];
    }
    for (const [i, j, shared] of pairs) {
      if (2 * shared > trueAreas[i] && inPred[j] > 1) result.true.kind[i] = "merged";
    }
    inPred.forEach((n, j) => n > 1 && (result.pred.kind[j] = "merging"));
    result.true.kind = result.true.kind.map((kind) => kind ?? "missed");
    result.pred.kind = result.pred.kind.map((kind) => kind ?? "extra");
    return Object.assign(result, tally(result), { at: [] });
  }

  // What counts at any threshold are sums of: partners by level, and the kinds of objects without one.
  function tally(compared) {
    const [levels, ious] = [new Uint32Array(HIGHEST + 1), new Float64Array(HIGHEST + 1)];
    const alone = Object.fromEntries([...TRUE_KINDS, ...PRED_KINDS].map((kind) => [kind, 0]));
    for (const side of ["true", "pred"]) {
      compared[side].kind.forEach((kind, i) => compared[side].partner[i] < 0 && (alone[kind] += 1));
    }
    compared.true.level.forEach((level, i) => {
      levels[level] += level > 0;
      ious[level] += level > 0 ? compared.true.iou[i] : 0;
    });
    return { levels, ious, alone };
  }

  function sides(areas) {
    const n = areas.length;
    return { kind: Array(n).fill(null), partner: Array(n).fill(-1), level: Array(n).fill(0), iou: Array(n).fill(0) };
  }

  function note(side, object, other, shared, union) {
    side.iou[object] = Math.max(side.iou[object], shared / union);
    if (2 * shared > union) {
      side.partner[object] = other;
      side.level[object] = Math.floor((20 * shared - 1) / union); // the highest twentieth that the IoU exceeds
    }
  }

  // The error type of an object at a threshold; outline: it has a partner, but their IoU is not above the threshold.
  function kindAt(side, object, k) {
    if (side.partner[object] < 0) return side.kind[object];
    return side.level[object] >= k ? "found" : "outline";
  }

  const sum = (values, from = 0) => values.subarray(from).reduce((total, value) => total + value, 0);

  // Objects of every kind (those with a partner count once, as true ones), and tp, fp, fn.
  const countAt = (compared, k) => (compared.at[k] ??= countAnew(compared, k));

  function countAnew({ levels, alone, true: { kind: trueKinds }, pred: { kind: predKinds } }, k) {
    const tp = sum(levels, k);
    const outline = sum(levels) - tp;
    return { ...alone, found: tp, outline, tp, fp: predKinds.length - tp, fn: trueKinds.length - tp };
  }

  const divide = (part, whole) => (whole ? part / whole : 0);

  // The competition's precision at a threshold: 1 where there is nothing and nothing was predicted.
  const precisionOf = ({ tp, fp, fn }) => (tp + fp + fn ? tp / (tp + fp + fn) : 1);

  function scoreOf(compared) {
    let total = 0;
    for (let k = LOWEST; k <= HIGHEST; k++) total += precisionOf(countAt(compared, k));
    return total / (HIGHEST - LOWEST + 1);
  }

  // What the page shows of the row of ku.match(…, strict=True), summed over images.
  function summarize(compared, k) {
    const total = {};
    let [precision, matched] = [0, 0];
    for (const image of compared) {
      const counts = countAt(image, k);
      for (const name in counts) total[name] = (total[name] ?? 0) + counts[name];
      precision += precisionOf(counts);
      matched += sum(image.ious, k);
    }
    const { tp = 0, fp = 0, fn = 0 } = total;
    return {
      ...total,
      ap_pooled: divide(tp, tp + fp + fn),
      mean_precision: divide(precision, compared.length),
      recall: divide(tp, tp + fn),
      f1: divide(2 * tp, 2 * tp + fp + fn),
      pq: divide(matched, tp + fp / 2 + fn / 2),
    };
  }

  // The classes of a confusion (true class by predicted class, in pixels); without an IoU where a class is nowhere.
  function classRows(confusion) {
    return confusion.map((row, c) => {
      const [truePx, predPx] = [row, confusion.map((other) => other[c])].map((px) => px.reduce((x, y) => x + y, 0));
      return { truePx, predPx, iou: truePx + predPx ? row[c] / (truePx + predPx - row[c]) : null };
    });
  }

  function meanIou(rows) {
    const ious = rows.map((row) => row.iou).filter((iou) => iou !== null);
    return ious.length ? ious.reduce((x, y) => x + y, 0) / ious.length : 1;
  }

  const addConfusions = (all) => all.reduce((total, one) => total.map((row, i) => row.map((n, j) => n + one[i][j])));

  const ofObjects = { compare, kindAt, countAt, precisionOf, scoreOf, summarize };
  return { LOWEST, HIGHEST, ...ofObjects, classRows, meanIou, addConfusions };
})();
