"""Which samples an epoch has: every one as often as the others, or those of rare strata more often."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def draw_samples(strata: Sequence[str], n_items: int, *, strength: float, seed: int) -> NDArray[np.intp]:
    """Draw the samples of one epoch, rare strata preferred.

    Parameters
    ----------
    strata : sequence of str
        Image type or class of coverage, by sample; at least one sample.
    n_items : int
        Items of the epoch.
    strength : float
        A stratum's share of the items is proportional to its number of samples to the power 1 − strength: from 0, its
        own share, to 1, the same for every stratum.
    seed : int
        Not negative.

    Returns
    -------
    samples : intp array, shape (n_items,)
        Indices of `strata`, sorted by stratum.

    Notes
    -----
    Within a stratum all samples are as likely. Sample and stratum alike come as often as their share says, rounded up
    or down by chance: systematic sampling, which varies less from epoch to epoch than independent draws do.

    Examples
    --------
    One bright image among sixteen is a sixteenth of a plain epoch, and a fifth with half the strength (√15 : √1):

    >>> strata = ["dark"] * 15 + ["bright"]
    >>> [int((draw_samples(strata, 100, strength=s, seed=0) == 15).sum()) for s in (0, 0.5, 1)]
    [6, 20, 50]
    """
    rng = np.random.default_rng(seed)
    _, stratum, counts = np.unique(np.asarray(strata), return_inverse=True, return_counts=True)
    order = np.lexsort((rng.random(len(stratum)), stratum))
    ends = np.cumsum(counts[stratum[order]].astype(np.float64) ** -strength)
    points = (np.arange(n_items) + rng.random()) / n_items * ends[-1]
    # A point on the last end, by rounding, belongs to the last sample.
    samples: NDArray[np.intp] = order[np.minimum(np.searchsorted(ends, points, side="right"), len(order) - 1)]
    return samples
