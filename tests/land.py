"""Drawn land from above: fields, forests, water, roads and buildings, every pixel with a class except under clouds."""

import cv2
import numpy as np

from kaggle_unet.io.images import encode_png
from kaggle_unet.store import atomic_write
from kaggle_unet.synthetic.images import blur, smooth_noise
from kaggle_unet.types import IGNORED_CLASS

LAND_CLASSES = {
    "field": (240, 220, 110), "forest": (20, 110, 40), "water": (40, 90, 220), "road": (150, 150, 150),
    "building": (220, 40, 40),
}  # fmt: skip
_LIGHT = np.array([[150, 150, 80], [50, 80, 45], [45, 70, 95], [125, 120, 118], [150, 105, 95]])  # red, green, blue
_TEXTURE_PX, _CONTRAST = (3.0, 1.2, 6.0, 2.0, 1.5), (14, 22, 5, 7, 16)  # of each class: grain and its strength


def draw_land(rng, shape=(128, 128)):
    """Draw an RGB image of fields, forests, water, roads and buildings, and every pixel's class (0…4, clouds 255).

    Colours overlap between images, as haze and light differ, so that texture and form have to tell classes apart.
    """
    wet, wooded = smooth_noise(rng, shape, shape[0] / 6), smooth_noise(rng, shape, shape[0] / 9)
    classes = np.where(wooded > 0.5, 1, 0).astype(np.int32)
    classes[wet < -1.0] = 2
    for _ in range(int(rng.integers(1, 3))):
        _draw_road(rng, classes)
    for _ in range(int(rng.integers(2, 8))):
        _draw_building(rng, classes)
    grains = np.stack(
        [strength * smooth_noise(rng, shape, grain) for grain, strength in zip(_TEXTURE_PX, _CONTRAST, strict=True)]
    )
    grain = np.take_along_axis(grains, classes[None], axis=0)[0]
    light = _LIGHT[classes] * rng.uniform(0.8, 1.2, 3) + grain[..., None] * rng.uniform(0.8, 1.2)
    light = light * (1 + 0.12 * smooth_noise(rng, shape, shape[0] / 3))[..., None] + rng.normal(0, 4, (*shape, 3))
    cloud = np.clip(smooth_noise(rng, shape, shape[0] / 7) - rng.uniform(1.5, 3), 0, 1)
    light += np.asarray(blur(cloud.astype(np.float32), 1.5))[..., None] * 2 * (235 - light)
    labels = np.where(cloud > 0.1, IGNORED_CLASS, classes).astype(np.int32)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8), labels


def _draw_road(rng, classes):
    """Draw a bent line from side to side."""
    height, width = classes.shape
    x = np.linspace(-5, width + 5, 6)
    y = rng.uniform(0, height) + np.cumsum(rng.normal(0, height / 12, 6))
    points = np.stack([x, y] if rng.random() < 0.5 else [y, x], axis=1).round().astype(np.int32)
    cv2.polylines(classes, [points], isClosed=False, color=3, thickness=int(rng.integers(3, 6)))


def _draw_building(rng, classes):
    """Draw a turned rectangle on fields and forests."""
    height, width = classes.shape
    centre, sides = rng.uniform(0, (width, height)), rng.uniform(7, 18, 2)
    box = cv2.boxPoints((centre.tolist(), sides.tolist(), float(rng.uniform(0, 90)))).round().astype(np.int32)
    roof = np.zeros(classes.shape, np.float32)
    cv2.fillPoly(roof, [box], 1.0)
    classes[(roof > 0) & (classes < 2)] = 4


def write_land(path, seed, n, *, shape=(128, 128), masks="colours"):
    """Write drawn land as a folder of images and of masks in the colours or ids of classes; return the labels by id."""
    rng = np.random.default_rng(seed)
    palette = np.zeros((IGNORED_CLASS + 1, 3), np.uint8)
    palette[: len(LAND_CLASSES)] = list(LAND_CLASSES.values())
    truth = {}
    for id_ in (f"land_{index:03d}" for index in range(n)):
        image, truth[id_] = draw_land(rng, shape)
        mask = palette[truth[id_]] if masks == "colours" else truth[id_].astype(np.uint8)
        atomic_write(path / "images" / f"{id_}.png", encode_png(image))
        atomic_write(path / "masks" / f"{id_}.png", encode_png(mask))
    return truth
