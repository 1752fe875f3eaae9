"""Cross-validation folds, stratified and grouped; stratified sampling of an epoch.

Groups are assigned to folds one by one, the largest first, each to the fold that then comes closest to its target
share of every stratum and of all samples. The result depends on the set of ids, not on their order.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from kaggle_unet.errors import ConfigError
from kaggle_unet.types import IGNORED_CLASS, DataFrame, Labels


def draw_samples(strata: Sequence[str], n_items: int, *, strength: float, seed: int) -> NDArray[np.intp]:
    """Draw the samples of one epoch, preferring rare strata.

    The number of items of a stratum is proportional to its number of samples to the power 1 − strength: with 0 in
    proportion to its samples, with 1 the same for every stratum. Samples and strata come as often as expected, rounded
    up or down at random: systematic sampling, which varies less from epoch to epoch than independent draws.

    One bright image among sixteen is a sixteenth of a plain epoch, and a fifth at half strength (√15 : √1):

    >>> strata = ["dark"] * 15 + ["bright"]
    >>> [int((draw_samples(strata, 100, strength=s, seed=0) == 15).sum()) for s in (0, 0.5, 1)]
    [6, 20, 50]
    """
    rng = np.random.default_rng(seed)
    _, stratum, counts = np.unique(np.asarray(strata), return_inverse=True, return_counts=True)
    order = np.lexsort((rng.random(len(stratum)), stratum))
    ends = np.cumsum(counts[stratum[order]].astype(np.float64) ** -strength)
    points = (np.arange(n_items) + rng.random()) / n_items * ends[-1]
    # A point that rounding puts on the last end belongs to the last sample.
    samples: NDArray[np.intp] = order[np.minimum(np.searchsorted(ends, points, side="right"), len(order) - 1)]
    return samples


def assign_folds(
    ids: Sequence[str], *, strata: Sequence[str], groups: Sequence[str], n: int, seed: int
) -> dict[str, int]:
    """Divide samples into folds 0…n-1, stratified and grouped; `seed` orders the groups of one size.

    Fewer groups than folds would leave folds empty; samples are then dealt one by one, and `describe_folds` says so.

    >>> assign_folds(list("abcdef"), strata=list("xxxxyy"), groups=list("112234"), n=2, seed=0)
    {'a': 1, 'b': 1, 'c': 0, 'd': 0, 'e': 0, 'f': 1}
    """
    if len(ids) < n:
        raise ConfigError(f"{len(ids)} samples cannot be divided into {n} folds; lower folds.n or add samples")
    if len(set(groups)) < n:
        groups = ids
    members: dict[str, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    _, stratum_of = np.unique(np.asarray(strata), return_inverse=True)
    wanted = np.bincount(stratum_of) / n
    counts = np.zeros((n, len(wanted)))
    folds = np.zeros(len(ids), np.int64)
    for group in _deal_order(members, seed):
        added = np.bincount(stratum_of[members[group]], minlength=len(wanted))
        fold = _best_fold(counts, added, wanted)
        counts[fold] += added
        folds[members[group]] = fold
    return {id_: int(fold) for id_, fold in zip(ids, folds, strict=True)}


def _deal_order(members: Mapping[str, Sequence[int]], seed: int) -> list[str]:
    """Sort groups from the largest to the smallest, shuffling those of equal size."""
    names = sorted(members)
    luck = np.random.default_rng(seed).permutation(len(names))
    return [names[i] for i in sorted(range(len(names)), key=lambda i: (-len(members[names[i]]), luck[i]))]


def _best_fold(counts: NDArray[np.float64], added: NDArray[np.int64], wanted: NDArray[np.float64]) -> int:
    """Return the fold whose squared distance from its due share grows least; of equals the smallest, then the first."""
    sizes = counts.sum(axis=1)
    by_stratum = (((counts + added - wanted) ** 2 - (counts - wanted) ** 2) / wanted).sum(axis=1)
    in_all = ((sizes + added.sum() - wanted.sum()) ** 2 - (sizes - wanted.sum()) ** 2) / wanted.sum()
    return int(np.lexsort((sizes, np.round(by_stratum + in_all, 9)))[0])


def coverage_class(labels: Labels, *, semantic: bool = False) -> str:
    """Return the class of a mask's coverage, 0 to 10, for strata.

    >>> coverage_class(np.array([[0, 0, 0, 7]]))
    '3'
    """
    return str(-(-10 * int(np.count_nonzero(labels % IGNORED_CLASS if semantic else labels)) // labels.size))


def count_folds(
    folds: Sequence[int], *, strata: Sequence[str], groups: Sequence[str]
) -> tuple[list[str], NDArray[np.int64], int]:
    """Return the strata, the sample counts by fold and stratum, and the number of samples in groups that are split."""
    names = sorted(set(strata), key=lambda name: (int(name), "") if name.isdecimal() else (-1, name))  # 10 follows 9
    counts = np.zeros((max(folds, default=-1) + 1, len(names)), np.int64)
    np.add.at(counts, (np.asarray(folds, np.int64), np.array([names.index(name) for name in strata], np.int64)), 1)
    folds_of = defaultdict(set)
    for fold, group in zip(folds, groups, strict=True):
        folds_of[group].add(fold)
    return names, counts, sum(len(folds_of[group]) > 1 for group in groups)


def chi_square_p(counts: NDArray[np.int64]) -> float:
    """Compute the p-value of Pearson's test of independence on a table; empty rows and columns do not count."""
    table = counts[counts.any(axis=1)][:, counts.any(axis=0)].astype(np.float64)
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    if freedom <= 0:
        return 1.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return float(chdtrc(freedom, ((table - expected) ** 2 / expected).sum()))


def describe_folds(folds: DataFrame) -> list[str]:
    r"""Describe in lines of text how samples are divided into folds.

    >>> from pandas import DataFrame
    >>> folds = DataFrame({"id": ["a", "b"], "fold": [0, 1], "group": ["a", "b"], "stratum": "x"})
    >>> print("\n".join(describe_folds(folds)))
    fold    x  all
       0    1    1
       1    1    1
     all    2    2
    strata against folds: p = 1.00 (chi-square; 1 is even)
    """
    inside = folds.dropna(subset="fold")
    if inside.empty:
        return [f"no folds: none of {len(folds)} samples has one"]
    groups = inside["group"].tolist()
    numbers = inside["fold"].astype(int).tolist()
    strata, counts, n_split = count_folds(numbers, strata=inside["stratum"].tolist(), groups=groups)
    p_value = chi_square_p(counts)
    return [
        *_table(strata, counts),
        f"strata against folds: p = {p_value:.2f} (chi-square; 1 is even)",
        *_warnings(strata, counts, groups, n_split=n_split, n_without=len(folds) - len(inside)),
    ]


def _table(strata: Sequence[str], counts: NDArray[np.int64]) -> list[str]:
    """Format counts with their sums, in columns."""
    head, names = ["fold", *strata, "all"], [*map(str, range(len(counts))), "all"]
    totals = np.vstack([counts, counts.sum(axis=0)])
    body = [[name, *map(str, row), str(row.sum())] for name, row in zip(names, totals, strict=True)]
    widths = [max(4, *(len(row[i]) for row in [head, *body])) for i in range(len(head))]
    return [" ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *body]]


def _warnings(
    strata: Sequence[str], counts: NDArray[np.int64], groups: Sequence[str], *, n_split: int, n_without: int
) -> list[str]:
    """List what a person should know about groups, strata and samples without a fold."""
    n, lines = len(counts), []
    together = [size for size in Counter(groups).values() if size > 1]
    if together:
        lines.append(f"{sum(together)} samples lie in {len(together)} groups; {n_split} of them are split")
    if n_split:
        lines.append(
            "warning: folds that split a group have seen neighbours of their validation samples; scores may be too high"
        )
    small = [f"{name} ({count})" for name, count in zip(strata, counts.sum(axis=0), strict=True) if count < n]
    if small:
        lines.append(f"warning: fewer samples than the {n} folds, so some folds have none of: {', '.join(small)}")
    if n_without:
        lines.append(f"{n_without} samples have no fold: neither trained on nor validated")
    return lines
