"""How far a mean may be trusted."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

N_RESAMPLES = 2000  # enough for the third digit of an interval's ends


def interval_of_mean(
    values: Sequence[float] | NDArray[np.float64], groups: Sequence[str] | None = None, *, level: float = 0.95
) -> tuple[float, float]:
    """Give the bootstrap interval of a mean.

    Parameters
    ----------
    values : sequence of float
        A score per image; for a comparison the difference of two, image by image.
    groups : sequence of str, optional
        Images of one group, such as tiles of one picture, are drawn together, as they are no independent evidence.
    level : float, default: 0.95
        The interval's.

    Returns
    -------
    low, high : float
        Percentiles of the means of 2,000 resamples, always the same for the same values.

    References
    ----------
    .. [1] Bootstrap Methods: Another Look at the Jackknife, 1979. https://doi.org/10.1214/aos/1176344552

    Examples
    --------
    >>> interval_of_mean([1.0, 1.0, 1.0])
    (1.0, 1.0)
    >>> interval_of_mean([0.0, 1.0], ["a", "a"])  # one picture
    (0.5, 0.5)
    """
    values = np.asarray(values, dtype=np.float64)
    _, group_of = np.unique(range(len(values)) if groups is None else groups, return_inverse=True)
    sums, counts = np.bincount(group_of, weights=values), np.bincount(group_of)
    draws = np.random.default_rng(0).integers(len(sums), size=(N_RESAMPLES, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.percentile(means, (50 - 50 * level, 50 + 50 * level))
    return float(low), float(high)
