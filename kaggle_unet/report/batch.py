"""What a network really sees: every channel, every target and the weights of each sample of a batch."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.data.batch import Batch
from kaggle_unet.report.draw import compose, heatmap, resize
from kaggle_unet.types import Image

_GAP_PX = 6


def draw_batch(
    batch: Batch, plane_names: Sequence[str], channel_names: Sequence[str] | None = None, *, side_px: int = 256
) -> Image:
    """Show a batch, a row per sample.

    Nothing is clipped or stretched by percentiles, so that a single wild pixel can be seen: it darkens all others.
    """
    inputs, planes, weights = (tensor.detach().float().cpu().numpy() for tensor in batch[:3])
    assert planes.shape[1] == len(plane_names), f"{planes.shape[1]} planes but {len(plane_names)} names"
    names = list(channel_names or map(str, range(inputs.shape[1])))
    assert inputs.shape[1] == len(names), f"{inputs.shape[1]} inputs but {len(names)} names"
    show = partial(_panel, side_px=side_px)
    rows = []
    for id_, channels, targets, weight in zip(batch.ids, inputs, planes, weights, strict=True):
        panels = [show(f"{id_[:8]} {names[0]}", channels[0])]
        panels += [show(name, channel) for name, channel in zip(names[1:], channels[1:], strict=True)]
        panels += [show(name, target, low=0, high=1) for name, target in zip(plane_names, targets, strict=True)]
        panels.append(show("weight", weight, low=0, colours="magma"))
        rows.append(compose(panels, gap_px=_GAP_PX))
    return np.concatenate(rows)


def _panel(
    name: str,
    values: NDArray[np.float32],
    *,
    side_px: int,
    low: float | None = None,
    high: float | None = None,
    colours: str = "gray",
) -> tuple[str, Image]:
    """Paint an array from `low` to `high`, by default its own, below a caption with its range."""
    least, greatest = float(values.min()), float(values.max())
    painted = heatmap(
        np.asarray(resize(values, side_px), np.float32),
        low=least if low is None else low,
        high=greatest if high is None else high,
        name=colours,
    )
    return f"{name}: {least:.3g} … {greatest:.3g}", painted
