"""One strip per sample that shows what a network is taught: outlines, instances, planes, weight maps."""

from collections.abc import Mapping, Sequence

import numpy as np

from kaggle_unet.report.draw import colour_labels, compose, draw_outlines, heatmap, resize, stretch
from kaggle_unet.types import Image, Planes, Sample, Weights


def preview(
    sample: Sample,
    planes: Planes,
    plane_names: Sequence[str],
    weights: Mapping[str, Weights],
    *,
    side_px: int = 320,
) -> Image:
    """Show a sample with its targets."""
    assert len(planes) == len(plane_names), f"{len(planes)} planes but {len(plane_names)} names"
    panels = _picture_panels(sample, side_px)
    panels += [
        (name, heatmap(_resized(plane, side_px), name="gray")) for name, plane in zip(plane_names, planes, strict=True)
    ]
    for name, weight in weights.items():
        high = float(weight.max(initial=0))
        caption = f"{name}: {float(weight.min(initial=high)):.2g} … {high:.3g}"
        panels.append((caption, heatmap(_resized(weight, side_px), high=high or 1.0)))
    return compose(panels)


def _picture_panels(sample: Sample, side_px: int) -> list[tuple[str, Image]]:
    """Show the image, with outlines and instances where they are known."""
    image = np.asarray(resize(stretch(sample.image), side_px), np.uint8)
    caption = f"{sample.id[:12]} · {sample.image.shape[0]} × {sample.image.shape[1]}"
    if sample.labels is None:
        return [(caption, image)]
    labels = np.asarray(resize(sample.labels, side_px, smooth=False), np.int32)
    n = len(np.unique(sample.labels[sample.labels > 0]))
    return [(caption, draw_outlines(image, labels)), (f"{n} instance{'s' * (n != 1)}", colour_labels(labels))]


def _resized(values: Weights, side_px: int) -> Weights:
    """Resize a plane or weight map."""
    return np.asarray(resize(values, side_px), np.float32)
