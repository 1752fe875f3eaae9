"""Voting: combine label images or masks of one image into the one that most of them support.

This combines submissions, and networks whose planes can't be averaged. Everything is decided in integers, by the pixels
that objects cover, never by their ids or the order of the sets: the same sets give the same labels in any order, and a
weight of 2 is the same as giving the set twice.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations, pairwise

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.masks.labels import check_mask, relabel, relabel_in_raster_order
from kaggle_unet.masks.rle import encode
from kaggle_unet.metrics.overlap import count_overlap
from kaggle_unet.types import Labels, Mask

# IoUs are added as multiples of 2⁻³¹, so that sums do not depend on their order. With weights that sum to less than
# 2³¹, int64 holds every sum.
_IOU_BITS = 31
_MOST_WEIGHT = 2**31 - 1


def vote_labels(labels: Sequence[Labels], weights: Sequence[float] | None = None) -> Labels:
    """Keep the objects that most of the sets have, each with the pixels that most of those sets claim.

    A set is one voter's labels of the image, with any ids; without weights, each set weighs 1.

    Objects of two sets are the same nucleus if their IoU is above 1/2. As the objects of a set are disjoint, an object
    has at most one such partner in each other set (https://arxiv.org/abs/1801.00868, section 4.1). It and its partners
    form a group, whose support is the total weight of their sets. Groups are taken by support, then by the mean IoU of
    the object and the others (itself included, by weight, in steps of 2⁻³¹), then by the object's run-length code as
    text. A group keeps those of its objects that no earlier group has; it is dropped if the object that it starts from
    is gone, or if the sets of its remaining objects weigh no more than half of the total. A group's pixels are those
    that more than half of its weight claims; of several groups, the one with the most votes gets the pixel, in a tie
    the one taken first. A group without pixels vanishes.

    So an object that more than half of the total weight has pixel for pixel is returned as it is, and two sets of equal
    weight keep the pixels that both have, of the objects that both have. The time is linear in the pixels for any
    number of objects, and quadratic in the number of sets.
    """
    int_weights = np.array(to_integer_weights(weights, len(labels)), dtype=np.int64)
    sets = [relabel(voted) for voted in labels]
    _refuse_other_shapes(sets)
    firsts, partners, ious = _pair_up(sets)
    groups, group_weights = _select_groups(sets, partners, ious, int_weights)
    return relabel_in_raster_order(_paint(sets, np.split(groups, firsts[1:-1]), group_weights, int_weights))


def vote_mask(masks: Sequence[Mask], weights: Sequence[float] | None = None) -> Mask:
    """Keep the pixels set in masks of more than half of the total weight; a tie is background."""
    int_weights = to_integer_weights(weights, len(masks))
    masks = [check_mask(mask) for mask in masks]
    _refuse_other_shapes(masks)
    votes = sum(weight * mask.astype(np.int64) for mask, weight in zip(masks, int_weights, strict=True))
    return np.asarray(2 * votes > sum(int_weights))


def to_integer_weights(weights: Sequence[float] | None, n: int) -> tuple[int, ...]:
    """Return whole numbers in the same proportions, without a common divisor, so that ties are exact."""
    if weights is None:
        return (1,) * n
    if len(weights) != n or not all(math.isfinite(weight) and weight > 0 for weight in weights):
        given = ", ".join(f"{weight:g}" for weight in weights) or "none"
        raise ConfigError(f"weights are {given}; expected {n} numbers above 0, one for each voter, in order")
    fractions = [Fraction(str(weight)) for weight in weights]
    scale = math.lcm(*(fraction.denominator for fraction in fractions))
    int_weights = [int(fraction * scale) for fraction in fractions]
    int_weights = [weight // math.gcd(*int_weights) for weight in int_weights]
    if sum(int_weights) > _MOST_WEIGHT:
        given = ", ".join(map(str, weights))
        raise ConfigError(f"weights are {given}; expected rounder ones: as whole numbers their sum is above 2³¹")
    return tuple(int_weights)


def _refuse_other_shapes(arrays: Sequence[NDArray[np.generic]]) -> None:
    shapes = list(dict.fromkeys(array.shape for array in arrays))
    if not shapes:
        raise DataError("there is nothing to vote on; expected labels or masks of one image")
    if len(shapes) > 1:
        raise DataError(f"the votes have the shapes {' and '.join(map(str, shapes))}: all must be of the same image")


def _pair_up(sets: Sequence[Labels]) -> tuple[list[int], NDArray[np.int64], NDArray[np.int64]]:
    """Find the partners of all n objects of k sets, one set after the other; ids are consecutive.

    Return the first object of each set, and n; partners (n, k), the same nucleus in each set, or the object itself if a
    set has none; and their IoUs (n, k), 0 where there is no partner, and 1 in the object's own set.
    """
    k = len(sets)
    firsts = np.cumsum([0, *(int(voted.max(initial=0)) for voted in sets)]).tolist()
    n = firsts[-1]
    partners, ious = np.repeat(np.arange(n)[:, None], k, axis=1), np.zeros((n, k), dtype=np.int64)
    for index, (first, end) in enumerate(pairwise(firsts)):
        ious[first:end, index] = 1 << _IOU_BITS
    for i, j in combinations(range(k), 2):
        overlap = count_overlap(sets[i], sets[j])
        is_same = 2 * overlap.shared_px > overlap.union_px
        ours, theirs = firsts[i] + overlap.true[is_same], firsts[j] + overlap.pred[is_same]
        partners[ours, j], partners[theirs, i] = theirs, ours
        ious[ours, j] = ious[theirs, i] = (overlap.shared_px[is_same] << _IOU_BITS) // overlap.union_px[is_same]
    return firsts, partners, ious


def _select_groups(
    sets: Sequence[Labels], partners: NDArray[np.int64], ious: NDArray[np.int64], weights: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Select groups in order; return the group of each object (0 for none), and the weight of each group."""
    supports, agreements = ((ious > 0) @ weights).tolist(), (ious @ weights).tolist()
    rles = [code for voted in sets for code in encode(voted)]
    groups, group_weights = np.zeros(len(rles), dtype=np.int32), [0]
    for index in sorted(range(len(rles)), key=lambda index: (-supports[index], -agreements[index], rles[index])):
        members = partners[index]
        is_left = (ious[index] > 0) & (groups[members] == 0)
        support = weights[is_left].sum()
        if groups[index] == 0 and 2 * support > weights.sum():
            groups[members[is_left]] = len(group_weights)
            group_weights.append(support)
    return groups, np.array(group_weights, dtype=np.int64)


def _paint(
    sets: Sequence[Labels],
    groups: Sequence[NDArray[np.int32]],
    group_weights: NDArray[np.int64],
    weights: NDArray[np.int64],
) -> Labels:
    """Assign each pixel to the group with the most votes there, among groups of which more than half claims it."""
    claims = [np.append(np.int32(0), own)[voted] for voted, own in zip(sets, groups, strict=True)]
    is_claimed = np.logical_or.reduce([claim > 0 for claim in claims])
    claims = [claim[is_claimed] for claim in claims]
    owners, most = np.zeros(int(is_claimed.sum()), dtype=np.int32), np.zeros(int(is_claimed.sum()), dtype=np.int64)
    for claim in claims:
        votes = sum(weight * (other == claim) for other, weight in zip(claims, weights, strict=True))
        is_better = (votes > most) | ((votes == most) & (claim < owners))
        wins = (claim > 0) & (2 * votes > group_weights[claim]) & is_better
        owners[wins], most[wins] = claim[wins], votes[wins]
    labels = np.zeros(sets[0].shape, dtype=np.int32)
    labels[is_claimed] = owners
    return labels
