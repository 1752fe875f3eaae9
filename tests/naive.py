"""The obvious twin of every kernel, and independent codes and scores: slow, short, easy to believe."""

import heapq
from fractions import Fraction
from itertools import count, groupby

import numpy as np
import scipy.ndimage
from scipy.optimize import linear_sum_assignment


def encode_mask(mask):
    """Write 1-based, column-major runs, pixel by pixel."""
    n_y, n_x = mask.shape
    runs = []
    number = 0
    is_open = False
    for x in range(n_x):
        for y in range(n_y):
            number += 1
            if mask[y, x] and is_open:
                runs[-1][1] += 1
            elif mask[y, x]:
                runs.append([number, 1])
            is_open = bool(mask[y, x])
    return " ".join(f"{start} {length}" for start, length in runs)


def decode_mask(rle, shape):
    """Set every pixel that the code names."""
    mask = np.zeros(shape, dtype=bool)
    numbers = [int(token) for token in rle.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        for number in range(start - 1, start - 1 + length):
            mask[number % shape[0], number // shape[0]] = True
    return mask


def find_segments(ids):
    """Follow every column by itself; sorted by id, then in column-major order."""
    pieces = []
    for x in range(ids.shape[1]):
        y = 0
        for label, pixels in groupby(ids[:, x].tolist()):
            length = len(list(pixels))
            pieces += [(label, x, y, length)] if label else []
            y += length
    return [[x, y, length, label] for label, x, y, length in sorted(pieces)]


def read_rle_text(lines, n_px):
    """Read each line's 0-based runs, or give None if one breaks a rule."""
    codes = []
    for line in lines:
        numbers = [int(token) for token in line.split(" ") if token]
        runs = [(start - 1, length) for start, length in zip(numbers[::2], numbers[1::2], strict=False)]
        ends = [0, *(start + length for start, length in runs)]
        is_sound = len(numbers) % 2 == 0 and ends[-1] <= n_px and all(length > 0 for _, length in runs)
        if not is_sound or any(start < end for (start, _), end in zip(runs, ends, strict=False)):
            return None
        codes.append(runs)
    return codes


def paint_masks(masks, shape):
    """Ask at every pixel which of its masks is smallest; of equals, the first pixels in column-major order decide."""
    precedence = [(int(mask.sum()), (~mask).ravel(order="F").tolist(), index) for index, mask in enumerate(masks)]
    owners = np.zeros(shape, dtype=np.int32)
    n_contested = 0
    for y, x in np.ndindex(*shape):
        claims = [index for index, mask in enumerate(masks) if mask[y, x]]
        n_contested += len(claims) > 1
        if claims:
            owners[y, x] = 1 + min(claims, key=lambda index: precedence[index])
    present = sorted(set(owners.ravel().tolist()) - {0})
    labels = np.zeros(shape, dtype=np.int32)
    for new, old in enumerate(present, start=1):
        labels[owners == old] = new
    return labels, n_contested, len(masks) - len(present)


def count_overlap(true, pred):
    """Count pixels pair by pair.

    Returns
    -------
    areas_true, areas_pred : list of int
        In ascending order of ids.
    pairs : list of (int, int, int)
        Index of the true instance, of the predicted one, and the pixels they share.
    """
    true_ids, pred_ids = (sorted(set(labels.ravel().tolist()) - {0}) for labels in (true, pred))
    shared = [
        (i, j, int(np.count_nonzero((true == true_id) & (pred == pred_id))))
        for i, true_id in enumerate(true_ids)
        for j, pred_id in enumerate(pred_ids)
    ]
    areas_true, areas_pred = (
        [int(np.count_nonzero(labels == label)) for label in ids]
        for labels, ids in ((true, true_ids), (pred, pred_ids))
    )
    return areas_true, areas_pred, [pair for pair in shared if pair[2]]


def window(labels, y, x, radius):
    """Cut the window round a pixel."""
    return labels[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]


def border(labels, rule, radius_of):
    """Apply the rule's sentence to every pixel; `radius_of` gives a pixel's radius from its id."""
    marked = np.zeros(labels.shape, dtype=bool)
    for y, x in np.ndindex(*labels.shape):
        own = int(labels[y, x])
        ids = set(window(labels, y, x, radius_of(own)).ravel().tolist())
        marked[y, x] = len(ids - {0}) >= 2 if rule == "touching" else own > 0 and len(ids) >= 2
    return marked


def flood(levels, seeds, mask):
    """Run a watershed on a priority queue ordered by level, then by time of arrival."""
    labels = np.where(mask, seeds, 0)
    time = count()
    queue = [(levels[y, x], next(time), y, x) for y, x in np.argwhere(labels > 0)]
    heapq.heapify(queue)
    while queue:
        _, _, y, x = heapq.heappop(queue)
        for dy, dx in ((-1, 0), (0, -1), (0, 1), (1, 0), (-1, -1), (-1, 1), (1, -1), (1, 1)):
            v, u = y + dy, x + dx
            if 0 <= v < labels.shape[0] and 0 <= u < labels.shape[1] and mask[v, u] and labels[v, u] == 0:
                labels[v, u] = labels[y, x]
                heapq.heappush(queue, (levels[v, u], next(time), v, u))
    return labels


def runs(mask):
    """List row, start and end of what is set, row by row."""
    found = []
    for y in range(mask.shape[0]):
        edges = np.flatnonzero(np.diff(np.pad(mask[y].astype(int), 1)))
        found += [[y, int(start), int(end)] for start, end in edges.reshape(-1, 2)]
    return found


def mask_of_best_iou(inside, least):
    """Try every level, the highest first; nothing if the best mask's expected IoU is below `least`."""
    best, found = -1.0, inside < 0
    for level in sorted(set(inside[inside > 0].tolist()), reverse=True):
        mask = inside >= level
        iou = inside[mask].sum(dtype=float) / (mask.sum() + inside[~mask].sum(dtype=float))
        if iou > best:
            best, found = iou, mask
    return found if best >= least else inside < 0


def decode(inside, core, border, rules, min_area_px):
    """Do what the settings say, one sentence after the other."""
    mask = (
        mask_of_best_iou(inside, rules.mask_threshold)
        if rules.expected_iou
        else inside > np.float32(rules.mask_threshold)
    )
    ground = 1 - core if border is None else (1 - core + border) / 2
    levels = np.rint(np.clip(ground, 0, 1) * 255)
    seeds = mask & (core > np.float32(rules.seed_threshold))
    if border is not None:
        seeds &= border <= np.float32(rules.border_threshold)
    labels, n_seeds = scipy.ndimage.label(seeds, np.ones((3, 3)))
    for seed in range(1, n_seeds + 1):
        if np.count_nonzero(labels == seed) < rules.min_seed_px:
            labels[labels == seed] = 0
    labels = flood(levels, labels, mask)
    if rules.keep_seedless:
        seedless, _ = scipy.ndimage.label(mask & (labels == 0), np.ones((3, 3)))
        labels = np.where(seedless > 0, seedless + n_seeds, labels)
    if rules.single_object:
        labels = mask.astype(int)
    numbered = np.zeros_like(labels)
    for label in dict.fromkeys(labels[labels > 0].tolist()):  # in the order of their first pixels
        if np.count_nonzero(labels == label) >= min_area_px:
            numbered[labels == label] = numbered.max() + 1
    return numbered


def two_nearest_px(labels):
    """Stack one distance transform per instance and sort them; infinite where there is no such instance."""
    distances = [np.full(labels.shape, np.inf)] * 2
    distances += [
        scipy.ndimage.distance_transform_edt(labels != label) for label in range(1, int(labels.max(initial=0)) + 1)
    ]
    return np.sort(np.stack(distances), axis=0)[:2]


def match(true, pred, threshold, *, strict):
    """Match instances after StarDist's definition, on exact fractions: the largest set of pairs, then the largest IoUs.

    Returns
    -------
    tp, fp, fn : int
    matched : Fraction
        Sum of the matched pairs' IoUs.
    """
    return _match(_ious(true, pred), threshold, strict=strict)


def score_image(true, pred):
    """Average precision over the ten thresholds, on exact fractions."""
    ious = _ious(true, pred)
    precisions = []
    for twentieths in range(10, 20):
        tp, fp, fn, _ = _match(ious, Fraction(twentieths, 20), strict=True)
        precisions.append(Fraction(tp, tp + fp + fn) if tp + fp + fn else Fraction(1))
    return sum(precisions) / 10


def _match(ious, threshold, *, strict):
    """Solve the assignment on a table of fractions."""
    n_true, n_pred = ious.shape
    if not ious.size:
        return 0, n_pred, n_true, Fraction(0)
    is_hit = ious > threshold if strict else ious >= threshold
    costs = -is_hit.astype(float) - ious.astype(float) / (2 * min(ious.shape))
    pairs = [(i, j) for i, j in zip(*linear_sum_assignment(costs), strict=True) if is_hit[i, j]]
    return len(pairs), n_pred - len(pairs), n_true - len(pairs), sum((ious[pair] for pair in pairs), Fraction(0))


def _ious(true, pred):
    """Divide every pair's shared pixels by its united ones, as fractions: shape (n_true, n_pred)."""
    true_ids, pred_ids = (sorted(set(labels.ravel().tolist()) - {0}) for labels in (true, pred))
    ious = np.empty((len(true_ids), len(pred_ids)), dtype=object)
    for i, j in np.ndindex(*ious.shape):
        one, other = true == true_ids[i], pred == pred_ids[j]
        ious[i, j] = Fraction(int(np.count_nonzero(one & other)), int(np.count_nonzero(one | other)))
    return ious


def fill_holes(labels, max_px):
    """Look at every hole by itself."""
    filled = labels.copy()
    holes, n_holes = scipy.ndimage.label(labels == 0)
    for hole in range(1, n_holes + 1):
        pixels = np.argwhere(holes == hole)
        at_edge = (pixels == 0).any() or (pixels == np.array(labels.shape) - 1).any()
        near = {int(i) for y, x in pixels for i in window(labels, y, x, 1).ravel()} - {0}
        if len(pixels) <= max_px and not at_edge and len(near) == 1:
            filled[holes == hole] = near.pop()
    return filled


def pieces_and_holes(labels, label):
    """Label an instance by itself, and what is not it with a frame round the image."""
    own = np.pad(labels == label, 1)
    return scipy.ndimage.label(own, np.ones((3, 3)))[1], scipy.ndimage.label(~own)[1] - 1


def vote_labels(sets, weights):
    """Compare every object with every other one, and let every group that is taken outvote those before it."""
    objects = [(labels == id_, weight) for labels, weight in zip(sets, weights, strict=True)
               for id_ in sorted(set(labels.ravel().tolist()) - {0})]  # fmt: skip
    groups = []
    for leader, (mask, _) in enumerate(objects):
        ious = [Fraction(int((mask & other).sum()), int((mask | other).sum())) for other, _ in objects]
        members = [index for index, iou in enumerate(ious) if iou > Fraction(1, 2)]
        support = sum(objects[index][1] for index in members)
        agreement = sum(objects[index][1] * (ious[index] * 2**31 // 1) for index in members)
        groups.append((-support, -agreement, encode_mask(mask), leader, members))
    owners, most, used = np.zeros(sets[0].shape, dtype=np.int32), np.zeros(sets[0].shape, dtype=np.int64), set()
    for rank, (_, _, _, leader, members) in enumerate(sorted(groups), start=1):
        left = set(members) - used
        support = sum(objects[index][1] for index in left)
        if leader in left and 2 * support > sum(weights):
            used |= left
            votes = sum(objects[index][0] * objects[index][1] for index in left)
            wins = (2 * votes > support) & (votes > most)
            owners[wins], most[wins] = rank, votes[wins]
    labels = np.zeros_like(owners)
    for new, old in enumerate(dict.fromkeys(owners[owners > 0].tolist()), start=1):
        labels[owners == old] = new
    return labels


def trace_rings(pieces, piece):
    """Chain the sides of a piece's pixels, clockwise; where two ways lead on from a corner, the left one is taken."""
    sides = {}
    for y, x in np.argwhere(pieces == piece).tolist():
        around = {(-1, 0): ((x, y), (x + 1, y)), (0, 1): ((x + 1, y), (x + 1, y + 1))}
        around |= {(1, 0): ((x + 1, y + 1), (x, y + 1)), (0, -1): ((x, y + 1), (x, y))}
        for (dy, dx), (start, end) in around.items():
            is_inside = 0 <= y + dy < pieces.shape[0] and 0 <= x + dx < pieces.shape[1]
            if not is_inside or pieces[y + dy, x + dx] != piece:
                sides.setdefault(start, []).append(end)
    rings = []
    while sides:
        ring = [min(sides), sides[min(sides)].pop()]
        while ring[-1] != ring[0]:
            (x, y), (before_x, before_y) = ring[-1], ring[-2]
            ends = sides[ring[-1]]
            turns = [(x - before_x) * (end_y - y) - (y - before_y) * (end_x - x) for end_x, end_y in ends]
            ring.append(ends.pop(int(np.argmin(turns))))
        sides = {start: ends for start, ends in sides.items() if ends}
        rings.append(ring[:-1])
    return rings
