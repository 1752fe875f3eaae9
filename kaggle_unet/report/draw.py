"""Pictures of arrays: outlines, coloured instances, heatmaps, and rows of captioned panels.

Every picture is uint8 RGB. Outlines of the truth are cyan, those of a prediction orange, and green where both coincide;
an instance painted white has no partner. Planes are white where they are 1. Weight maps are dark where they are high,
and all maps of a picture share one scale, so that they can be compared.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib import get_data_path
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from kaggle_unet.data.batch import Batch
from kaggle_unet.errors import DataError
from kaggle_unet.masks.labels import check_dense_labels, check_labels
from kaggle_unet.types import IGNORED_CLASS, Image, Labels, Mask, Sample, Weights

TRUE_COLOUR = (0, 205, 255)
PRED_COLOUR = (255, 160, 0)
BOTH_COLOUR = (30, 200, 70)
ALONE_COLOUR = (255, 255, 255)
WEIGHT_COLOURS = "Blues"  # from white to dark blue
TEXT_PX = 12
CAPTION_PX = 22
GAP_PX = 6
_GOLDEN = 0.61803398875


def stretch(image: Image) -> Image:
    """Turn an image into 8-bit RGB, its contrast stretched so that dim objects are visible, except for 8-bit colours.

    For two channels, or more than three, the mean is shown.
    """
    if image.ndim == 3 and image.shape[2] != 3:
        image = image.mean(axis=2, dtype=np.float32)
    if image.ndim == 3 and image.dtype == np.uint8:
        return image
    low, high = np.percentile(image, (0.5, 99.8))
    if high <= low and image.dtype != np.uint8:  # nearly all is background
        low, high = image.min(), image.max()
    if high > low:
        image = np.clip((image - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    elif image.dtype != np.uint8:
        image = np.zeros(image.shape, np.uint8)
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def resize(picture: NDArray[Any], side_px: int, *, smooth: bool = True) -> NDArray[Any]:
    """Bring the longer side of a picture to about `side_px`: up by whole factors, down by interpolation."""
    height, width = picture.shape[:2]
    longer = max(height, width)
    if longer <= side_px:
        return picture.repeat(side_px // longer, axis=0).repeat(side_px // longer, axis=1)
    size = (max(1, round(width * side_px / longer)), max(1, round(height * side_px / longer)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if smooth else cv2.INTER_NEAREST))


def outline(labels: Labels) -> Mask:
    """Return the outermost pixels of every instance.

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


def draw_outlines(image: Image, true: ArrayLike, pred: ArrayLike | None = None) -> Image:
    """Draw the outlines of true and of predicted instances onto an image.

    Parameters
    ----------
    image : uint8, uint16 or float32 array, shape (H, W) or (H, W, C)
        8-bit gray or RGB is drawn on as it is; other images are stretched, but for their extreme percentiles.
    true : int32 array, shape (H, W)
        Instances, outlined in cyan.
    pred : int32 array, shape (H, W), optional
        Instances, outlined in orange, and in green where both outlines coincide.

    Returns
    -------
    uint8 array, shape (H, W, 3)
        RGB.

    Examples
    --------
    >>> image, labels = np.zeros((1, 3), np.uint8), np.array([[1, 1, 0]], np.int32)
    >>> draw_outlines(image, labels)[0].tolist()
    [[0, 0, 0], [0, 205, 255], [0, 0, 0]]
    """
    image = np.asarray(image)
    if image.dtype not in (np.uint8, np.uint16, np.float32) or image.ndim not in {2, 3}:
        msg = f"the image is {image.dtype} of shape {image.shape}; expected uint8, uint16 or float32, (H, W[, C])"
        raise DataError(msg)
    shape = image.shape[0], image.shape[1]
    is_plain = image.dtype == np.uint8 and image.shape[2:] in {(), (3,)}
    image = image if is_plain else stretch(image)
    drawn = image.copy() if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    true_edge = outline(check_labels(true, "true labels", shape)[0])
    drawn[true_edge] = TRUE_COLOUR
    if pred is not None:
        pred_edge = outline(check_labels(pred, "predicted labels", shape)[0])
        drawn[pred_edge] = PRED_COLOUR
        drawn[pred_edge & true_edge] = BOTH_COLOUR
    return drawn


def draw_overlay(image: Image, labels: Labels) -> Image:
    """Draw the outlines of predicted instances onto an image; channels other than RGB are averaged."""
    if image.ndim == 3 and image.shape[2] != 3:
        image = np.mean([stretch(channel)[..., 0] for channel in np.moveaxis(image, 2, 0)], axis=0).astype(np.uint8)
    return draw_outlines(stretch(image), np.zeros_like(labels), labels)


def colour_labels(labels: ArrayLike, *, white: NDArray[np.integer] | None = None) -> Image:
    """Paint every instance in its own colour, on black.

    Parameters
    ----------
    labels : int32 array, shape (H, W)
        Instances, 0 is background.
    white : integer array, optional
        Ids of instances that are painted white instead.

    Returns
    -------
    uint8 array, shape (H, W, 3)
        RGB. Hues advance by the golden section, so that nearby ids, which are often neighbours, differ most.

    Examples
    --------
    >>> colour_labels(np.array([[0, 1, 2]], np.int32), white=np.array([2]))[0].tolist()
    [[0, 0, 0], [64, 120, 255], [255, 255, 255]]
    """
    labels, highest = check_labels(labels)
    if highest > labels.size:  # a table of all ids would be larger than the image
        ids, labels = np.union1d(labels, [0]), check_dense_labels(labels)[0]
    else:
        ids = np.arange(highest + 1)
    hue, light, depth = ids * _GOLDEN % 1, np.where(ids % 2, 255, 190), np.where(ids % 3, 0.75, 0.5)
    sixth = (hue[:, None] * 6 + (5, 3, 1)) % 6
    away = np.clip(np.minimum(sixth, 4 - sixth), 0, 1)  # how much of a channel the hue takes away
    colours = np.round(light[:, None] * (1 - depth[:, None] * away)).astype(np.uint8)
    colours[0] = 0
    if white is not None:
        colours[np.isin(ids, white)] = ALONE_COLOUR
    return np.asarray(colours[labels], dtype=np.uint8)


def colour_classes(table: Mapping[str, int | tuple[int, int, int]]) -> NDArray[np.uint8]:
    """Return the colour of each class, uint8 (256, 3): that of its table, or else of `colour_labels`; others white."""
    palette = np.full((IGNORED_CLASS + 1, 3), ALONE_COLOUR, np.uint8)
    palette[: len(table)] = colour_labels(np.arange(len(table))[None])[0]
    for number, colour in enumerate(table.values()):
        if not isinstance(colour, int):
            palette[number] = colour
    return palette


def heatmap(values: NDArray[np.floating], *, low: float = 0.0, high: float = 1.0, name: str) -> Image:
    """Paint numbers in the colours of a matplotlib colormap; NaN is painted as `low`."""
    table = np.round(mpl.colormaps[name](np.arange(256))[:, :3] * 255).astype(np.uint8)
    fraction = (np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-12)
    return np.asarray(table[np.clip(fraction * 255, 0, 255).round().astype(np.uint8)])


def weight_panels(maps: Mapping[str, Weights], side_px: int, *, high: float | None = None) -> list[tuple[str, Image]]:
    """Paint weight maps on one scale, from 0 to `high` or their maximum, and append its colour bar."""
    if not maps:
        return []
    high = max(float(values.max(initial=0)) for values in maps.values()) if high is None else high
    panels = []
    for name, values in maps.items():
        caption = f"{name}: {float(values.min(initial=high)):.2g} … {float(values.max(initial=0)):.3g}"
        panels.append((caption, heatmap(resize(values, side_px), high=high, name=WEIGHT_COLOURS)))
    return [*panels, ("", _colour_bar(high, panels[0][1].shape[0]))]


def _colour_bar(high: float, height: int) -> Image:
    """Draw the scale of weight maps, 0 at the bottom, with its ends and its middle labelled."""
    ramp = np.linspace(high, 0, height - 2, dtype=np.float32)[:, None].repeat(TEXT_PX, axis=1)
    framed = np.pad(heatmap(ramp, high=high, name=WEIGHT_COLOURS), ((1, 1), (1, 1), (0, 0)))
    scale = Pillow.new("RGB", (TEXT_PX * 5, height), "white")
    scale.paste(Pillow.fromarray(framed), (0, 0))
    draw = ImageDraw.Draw(scale)
    for value, y, anchor in ((high, 0, "la"), (high / 2, height // 2, "lm"), (0.0, height - 1, "ld")):
        draw.text((TEXT_PX * 3 // 2, y), f"{value:.3g}", fill="black", font=_font(TEXT_PX), anchor=anchor)
    return np.asarray(scale)


def compose(panels: Sequence[tuple[str, Image]], *, text_px: int = TEXT_PX) -> Image:
    """Set pictures side by side, each below its caption."""
    caption_px = round(text_px * CAPTION_PX / TEXT_PX)
    height = max(picture.shape[0] for _, picture in panels) + caption_px
    parts = []
    for text, picture in panels:
        part = np.full((height, picture.shape[1] + GAP_PX, 3), 255, np.uint8)
        part[caption_px : caption_px + picture.shape[0], : picture.shape[1]] = picture
        part[:caption_px, : picture.shape[1]] = _write(text, picture.shape[1], caption_px, text_px)
        parts.append(part)
    return np.hstack(parts)[:, :-GAP_PX]


def _write(text: str, width: int, height: int, text_px: int) -> Image:
    """Write a line of text in black on white, cut off at the width."""
    strip = Pillow.new("RGB", (width, height), "white")
    ImageDraw.Draw(strip).text((1, height // 2), text, fill="black", font=_font(text_px), anchor="lm")
    return np.asarray(strip)


@lru_cache(maxsize=8)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    """Load the font that ships with matplotlib, the same on every machine."""
    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", size_px)


def draw_batch(batch: Batch, plane_names: Sequence[str], channel_names: Sequence[str], *, side_px: int = 256) -> Image:
    """Draw a batch, one row per sample: every input channel, every target plane, and the weights.

    Nothing is clipped or stretched by percentiles, so a single extreme pixel shows: it darkens all others.
    """
    inputs, planes, weights = (tensor.detach().float().cpu().numpy() for tensor in batch[:3])
    show = partial(_panel, side_px=side_px)
    heaviest = float(weights.max(initial=0))
    rows = []
    for id_, channels, targets, weight in zip(batch.ids, inputs, planes, weights, strict=True):
        names = [f"{id_[:8]} {channel_names[0]}", *channel_names[1:]]
        panels = [show(name, channel) for name, channel in zip(names, channels, strict=True)]
        panels += [show(name, target, bounds=(0, 1)) for name, target in zip(plane_names, targets, strict=True)]
        rows.append(compose([*panels, *weight_panels({"weight": weight}, side_px, high=heaviest)]))
    return np.concatenate(rows)


def _panel(
    name: str, values: NDArray[np.float32], side_px: int, bounds: tuple[float, float] | None = None
) -> tuple[str, Image]:
    """Paint an array in grays between `bounds`, by default its own range, which the caption gives."""
    least, greatest = float(values.min()), float(values.max())
    low, high = bounds or (least, greatest)
    shown = heatmap(resize(values, side_px), low=low, high=high, name="gray")
    return f"{name}: {least:.3g} … {greatest:.3g}", shown


def preview(
    sample: Sample, planes: Mapping[str, Image], weights: Mapping[str, Weights], *, side_px: int = 320
) -> Image:
    """Draw what a network is taught about a sample: outlines, instances, target planes and weight maps by name."""
    assert sample.labels is not None
    image, labels = resize(stretch(sample.image), side_px), resize(sample.labels, side_px, smooth=False)
    caption = f"{sample.id[:12]} · {sample.image.shape[0]} × {sample.image.shape[1]}"
    n = len(np.unique(sample.labels[sample.labels > 0]))
    panels = [(caption, draw_outlines(image, labels)), (f"{n} instance{'s' * (n != 1)}", colour_labels(labels))]
    panels += [(name, heatmap(resize(plane, side_px), name="gray")) for name, plane in planes.items()]
    return compose([*panels, *weight_panels(weights, side_px)])
