// Scores of images from the areas of their objects and the pixels that pairs of them share: metrics/score.py,
// metrics/matching.py and metrics/error_types.py once more. All comparisons are of integers; a pair matches where its
// IoU is above the threshold, k twentieths; from one half on an object has one partner at most.
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
    return result;
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

  function countAt(compared, k) {
    const counts = Object.fromEntries([...TRUE_KINDS, ...PRED_KINDS].map((kind) => [kind, 0]));
    compared.true.kind.forEach((_, i) => (counts[kindAt(compared.true, i, k)] += 1));
    compared.pred.kind.forEach((_, j) => {
      const kind = kindAt(compared.pred, j, k);
      if (kind !== "found" && kind !== "outline") counts[kind] += 1; // those two are counted with the true objects
    });
    const tp = counts.found;
    return { ...counts, tp, fp: compared.pred.kind.length - tp, fn: compared.true.kind.length - tp };
  }

  const divide = (part, whole) => (whole ? part / whole : 0);

  // The competition's precision at a threshold: 1 where there is nothing and nothing was predicted.
  const precisionOf = ({ tp, fp, fn }) => (tp + fp + fn ? tp / (tp + fp + fn) : 1);

  function scoreOf(compared) {
    let sum = 0;
    for (let k = LOWEST; k <= HIGHEST; k++) sum += precisionOf(countAt(compared, k));
    return sum / (HIGHEST - LOWEST + 1);
  }

  // The row of ku.match(…, strict=True), summed over images.
  function summarize(compared, k) {
    const total = {};
    let [perImage, precision, matched] = [0, 0, 0];
    for (const image of compared) {
      const counts = countAt(image, k);
      for (const [name, n] of Object.entries(counts)) total[name] = (total[name] ?? 0) + n;
      perImage += divide(counts.tp, counts.tp + counts.fp + counts.fn);
      precision += precisionOf(counts);
      image.true.level.forEach((level, i) => level >= k && (matched += image.true.iou[i]));
    }
    const { tp = 0, fp = 0, fn = 0 } = total;
    return {
      ...total,
      ap_pooled: divide(tp, tp + fp + fn),
      ap_per_image: divide(perImage, compared.length),
      mean_precision: divide(precision, compared.length),
      precision: divide(tp, tp + fp),
      recall: divide(tp, tp + fn),
      f1: divide(2 * tp, 2 * tp + fp + fn),
      pq: divide(matched, tp + fp / 2 + fn / 2),
      mean_matched_iou: divide(matched, tp),
    };
  }

  // True objects matched here and not there (gained), and the reverse (lost), as lists of objects.
  function changes(here, there, k) {
    const [gained, lost] = [[], []];
    here.true.level.forEach((level, i) => {
      if (level >= k && there.true.level[i] < k) gained.push(i);
      if (level < k && there.true.level[i] >= k) lost.push(i);
    });
    return { gained, lost };
  }

  return {
    LOWEST, HIGHEST, TRUE_KINDS, PRED_KINDS, compare, kindAt, countAt, precisionOf, scoreOf, summarize, changes,
  };
})();
