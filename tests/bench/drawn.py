"""Labels, predictions and planes of any size, drawn in seconds.

The nuclei of `kaggle_unet.synthetic.files` look real and take minutes by the thousand; these only have the right
sizes, neighbours and noise.
"""

from math import ceil, pi

import cv2
import numpy as np

from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import BorderSettings

# Instances cover a fifth of the image, whatever their number.
COVERAGE = 0.2


def draw_labels(rng, shape, n):
    """Draw ellipses on a shaken grid, a third of them pushed against a neighbour.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of everything random.
    shape : tuple of int
        (H, W).
    n : int
        Instances; their size follows from it.

    Returns
    -------
    int32 array, shape (H, W)
        Instances 1…n, in no order.
    """
    n_tried = n + n // 8 + 2  # some are covered by others
    centres_yx, radii = _place(rng, shape, n_tried, np.sqrt(COVERAGE * shape[0] * shape[1] / (pi * n)))
    stretch, angles = rng.uniform(0.8, 1.25, n_tried), rng.uniform(0, pi, n_tried)
    labels = np.zeros(shape, dtype=np.int32)
    for index, (centre_yx, radius) in enumerate(zip(centres_yx, radii, strict=True)):
        _paint(labels, index + 1, centre_yx, (radius * stretch[index], radius / stretch[index]), angles[index])
    is_kept = np.bincount(labels.ravel(), minlength=n_tried + 1) > 0
    is_kept[0] = False
    new_ids = np.cumsum(is_kept) * is_kept
    return np.where(new_ids > n, 0, new_ids).astype(np.int32)[labels]


def _place(rng, shape, n, radius):
    """Choose centres and radii: two thirds in cells of their own, every other one of these with a partner beside it."""
    n_hosts = ceil(n * 2 / 3)
    n_cells = ceil(np.sqrt(n_hosts))
    cells = np.stack(divmod(rng.permutation(n_cells**2)[:n_hosts], n_cells), axis=1)
    hosts = (cells + rng.uniform(0.25, 0.75, cells.shape)) * np.array(shape) / n_cells
    radii = np.maximum(radius * np.clip(rng.lognormal(0, 0.25, n), 0.5, 1.6), 0.8)
    angles = rng.uniform(0, 2 * pi, n - n_hosts)
    reach = 0.95 * (radii[: n - n_hosts] + radii[n_hosts:])
    partners = hosts[: n - n_hosts] + reach[:, None] * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    return np.clip(np.concatenate([hosts, partners]), 0, np.array(shape) - 1), radii


def _paint(labels, label, centre_yx, radii, angle):
    """Paint one ellipse where nothing is yet."""
    reach = ceil(max(radii)) + 1
    y, x = centre_yx
    top, left = max(0, int(y) - reach), max(0, int(x) - reach)
    window = labels[top : int(y) + reach + 1, left : int(x) + reach + 1]
    dy, dx = np.ogrid[: window.shape[0], : window.shape[1]]
    dy, dx = dy + (top - round(y)), dx + (left - round(x))
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    window[((along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1) & (window == 0)] = label


def draw_prediction(rng, labels):
    """Make what a network might find: everything a little aside, one instance in twenty missed, one in twenty fused.

    Returns
    -------
    int32 array, shape (H, W)
        Instances 1…m, m below the labels' n.
    """
    n = int(labels.max())
    aside = max(1, round(0.1 * np.sqrt(COVERAGE * labels.size / (pi * n))))
    ids = np.arange(n + 1)
    ids[rng.permutation(np.arange(1, n + 1))[: n // 20]] = 0
    fused = rng.permutation(np.arange(1, n + 1))[: n // 20]
    ids[fused] = ids[np.maximum(fused - 1, 1)]
    ids = np.unique(ids, return_inverse=True)[1].astype(np.int32)
    return ids[np.roll(labels, (aside, -aside), axis=(0, 1))]


def draw_planes(rng, labels):
    """Make what a network might predict for `interior_border_background`: soft, noisy, summing to 1.

    Returns
    -------
    float32 array, shape (3, H, W)
    """
    planes = CODECS["interior_border_background"].encode(labels, BorderSettings())
    for plane in planes:
        noise = rng.standard_normal(labels.shape, dtype=np.float32)
        plane[:] = 9 * cv2.GaussianBlur(plane, (0, 0), 0.8) + 3 * cv2.GaussianBlur(noise, (0, 0), 1.5)
    planes = np.exp(planes - planes.max(axis=0))
    return planes / planes.sum(axis=0)
