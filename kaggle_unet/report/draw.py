"""Arrays turned into pictures for people: outlines, coloured instances, heatmaps, captions.

Every picture is uint8 RGB. Colours say the same everywhere: cyan is the outline of the truth, orange that of the
prediction, green where they run together; an instance painted white has no partner.

What a network really sees: every channel, every target and the weights of each sample of a batch.

One strip per sample that shows what a network is taught: outlines, instances, planes, weight maps.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib import get_data_path
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from kaggle_unet.data.batch import Batch
from kaggle_unet.types import Image, Labels, Mask, Planes, Sample, Weights

TRUE_COLOUR = (0, 205, 255)
PRED_COLOUR = (255, 160, 0)
BOTH_COLOUR = (30, 200, 70)
ALONE_COLOUR = (255, 255, 255)
CAPTION_PX = 22
_GOLDEN = 0.61803398875


def stretch(image: Image) -> Image:
    """Stretch an image's contrast so that dim objects can be seen."""
    if image.ndim == 3:
        return image
    low, high = np.percentile(image, (0.5, 99.8))
    if high > low:
        image = np.clip((image - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    return np.repeat(image[..., None], 3, axis=2)


def resize(picture: NDArray[Any], side_px: int, *, smooth: bool = True) -> NDArray[Any]:
    """Bring the longer side of a picture to about a given length."""
    height, width = picture.shape[:2]
    longer = max(height, width)
    if longer <= side_px:
        return picture.repeat(side_px // longer, axis=0).repeat(side_px // longer, axis=1)
    size = (max(1, round(width * side_px / longer)), max(1, round(height * side_px / longer)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST))


def outline(labels: Labels) -> Mask:
    """Find the outermost pixels of every instance.

    Touching instances are both outlined:

    >>> outline(np.array([[1, 1, 1, 2, 2]])).astype(int)
    array([[0, 0, 1, 1, 0]])
    """
    edge = np.zeros(labels.shape, np.bool_)
    beside, above = labels[:, 1:] != labels[:, :-1], labels[1:] != labels[:-1]
    edge[:, 1:] |= beside
    edge[:, :-1] |= beside
    edge[1:] |= above
    edge[:-1] |= above
    return edge & (labels > 0)


def draw_outlines(picture: Image, true: Labels, pred: Labels | None = None) -> Image:
    """Draw the outlines of true and of predicted instances onto a picture."""
    drawn = picture.copy()
    true_edge = outline(true)
    drawn[true_edge] = TRUE_COLOUR
    if pred is not None:
        pred_edge = outline(pred)
        drawn[pred_edge] = PRED_COLOUR
        drawn[pred_edge & true_edge] = BOTH_COLOUR
    return drawn


def colour_labels(labels: Labels, *, white: NDArray[np.integer] | None = None) -> Image:
    """Paint every instance in a colour of its own on black.

    Hues advance by the golden section, so that ids near each other, which often are neighbours, differ most.
    """
    ids = np.arange(int(labels.max(initial=0)) + 1)
    hue, light, depth = ids * _GOLDEN % 1, np.where(ids % 2, 255, 190), np.where(ids % 3, 0.75, 0.5)
    sixth = (hue[:, None] * 6 + (5, 3, 1)) % 6
    away = np.clip(np.minimum(sixth, 4 - sixth), 0, 1)  # how much of a channel the hue takes away
    colours = np.round(light[:, None] * (1 - depth[:, None] * away)).astype(np.uint8)
    colours[0] = 0
    if white is not None:
        colours[white[white < len(colours)]] = ALONE_COLOUR
    return np.asarray(colours[labels], dtype=np.uint8)


def heatmap(values: NDArray[np.floating], *, low: float = 0.0, high: float = 1.0, name: str = "magma") -> Image:
    """Paint numbers as colours."""
    table = np.round(mpl.colormaps[name](np.arange(256))[:, :3] * 255).astype(np.uint8)
    fraction = (np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-12)
    return np.asarray(table[np.clip(fraction * 255, 0, 255).round().astype(np.uint8)])


def compose(panels: list[tuple[str, Image]], *, gap_px: int = 6) -> Image:
    """Set pictures side by side, each below its caption."""
    height = max(picture.shape[0] for _, picture in panels) + CAPTION_PX
    parts = []
    for text, picture in panels:
        part = np.full((height, picture.shape[1] + gap_px, 3), 255, np.uint8)
        part[CAPTION_PX : CAPTION_PX + picture.shape[0], : picture.shape[1]] = picture
        part[:CAPTION_PX, : picture.shape[1]] = _write(text, picture.shape[1])
        parts.append(part)
    return np.hstack(parts)[:, :-gap_px] if gap_px else np.hstack(parts)


def _write(text: str, width: int) -> Image:
    """Write a line of text in black on white, cut where the width ends."""
    strip = Pillow.new("RGB", (width, CAPTION_PX), "white")
    ImageDraw.Draw(strip).text((1, CAPTION_PX // 2), text, fill="black", font=_font(), anchor="lm")
    return np.asarray(strip)


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    """Open the font that matplotlib brings along, the same on every machine."""
    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", 12)


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
