"""Microscope images of nuclei and their instance labels, drawn from a random generator.

They are made to be hard in the ways the real ones are: nuclei touch, differ in size and brightness, lie out of focus
and among debris, under uneven light and shot noise.
"""

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from kaggle_unet.competitions.drawn_texture import Field, blur, smooth_noise
from kaggle_unet.types import Image, Labels

Kind = Literal["gray-dark", "gray-bright", "colour"]

# Slivers at the image's edge of fewer pixels are drawn but not labelled; the smallest nucleus of DSB2018 has 21.
MIN_NUCLEUS_PX = 16
# Light of the bare ground, and how strongly a dye takes it away (Beer-Lambert); one number, or red, green and blue.
_DYES = {
    "gray-bright": (np.array(225), np.array(1.6)),
    "colour": (np.array([238, 212, 232]), np.array([1.1, 1.7, 0.7])),
}


@dataclass(frozen=True)
class _Nucleus:
    """One outline: an ellipse whose radius is modulated by a few harmonics of the angle."""

    y: float
    x: float
    radius_px: float
    elongation: float
    angle: float
    waves: NDArray[np.float64]  # (harmonics, 2): amplitude and phase of harmonic 2, 3, …

    def relative_radius(self, yy: Field, xx: Field) -> Field:
        """Distance from the centre divided by the outline's there: 0 at the centre, 1 on the outline."""
        dy, dx = yy - self.y, xx - self.x
        along = (dx * np.cos(self.angle) + dy * np.sin(self.angle)) / np.sqrt(self.elongation)
        across = (dy * np.cos(self.angle) - dx * np.sin(self.angle)) * np.sqrt(self.elongation)
        theta = np.arctan2(across, along)
        outline = 1 + sum(a * np.cos(k * theta + phase) for k, (a, phase) in enumerate(self.waves, start=2))
        return np.asarray(np.hypot(along, across) / (self.radius_px * outline), dtype=np.float32)


def draw_nuclei(
    rng: np.random.Generator,
    shape: tuple[int, int] = (128, 128),
    *,
    n: int = 13,
    radius_px: float = 10.0,
    clustering: float = 0.45,
    debris: int = 3,
) -> tuple[Image, Labels]:
    """Draw a fluorescence image of nuclei and its instance labels.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of everything random.
    shape : tuple of int
        Height and width.
    n : int
        Nuclei to place; fewer where there is no room.
    radius_px : float
        Their typical radius; single ones have half or twice of it.
    clustering : float
        Chance that a nucleus is placed against an earlier one instead of anywhere.
    debris : int
        Bright specks and threads that are no nuclei.

    Returns
    -------
    image : uint8 array, shape (H, W)
        Bright nuclei on dark ground.
    labels : int32 array, shape (H, W)
        Instances 1…n, consecutive.

    Notes
    -----
    A pixel that two outlines claim belongs to the nucleus that it lies deeper in, so neighbours meet in a line and
    never overlap. Nuclei may be cut by the image's edge. With ``n=0`` the labels are all 0: noise and debris remain.

    Examples
    --------
    >>> image, labels = draw_nuclei(np.random.default_rng(0), (64, 96), n=5)
    >>> image.shape, image.dtype.name, labels.dtype.name, sorted(set(labels.ravel().tolist()))
    ((64, 96), 'uint8', 'int32', [0, 1, 2, 3, 4, 5])
    """
    nuclei = _place(rng, shape, n, radius_px * rng.uniform(0.85, 1.2), clustering)
    owner, depth = _divide(nuclei, shape)
    light = _shine(rng, owner, depth, len(nuclei))
    haze = smooth_noise(rng, shape, max(shape) / 5)
    light = light * (1 + 0.18 * smooth_noise(rng, shape, max(shape) / 3)) + 0.15 * blur(light, 2.0 * radius_px)
    light += 0.08 + 0.03 * haze + _litter(rng, shape, debris)
    return _expose(rng, np.clip(light, 0, None)), drop_slivers(owner)


def _place(
    rng: np.random.Generator, shape: tuple[int, int], n: int, radius_px: float, clustering: float
) -> list[_Nucleus]:
    """Place nuclei one by one, many against an earlier one; those that would cover another are tried elsewhere."""
    nuclei: list[_Nucleus] = []
    for _ in range(20 * n):
        if len(nuclei) == n:
            break
        radius = radius_px * float(np.clip(rng.lognormal(0, 0.3), 0.5, 2))
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        if nuclei and rng.random() < clustering:
            host, angle = nuclei[rng.integers(len(nuclei))], rng.uniform(0, 2 * np.pi)
            reach = rng.uniform(0.80, 0.98) * (host.radius_px + radius)
            y, x = host.y + reach * np.sin(angle), host.x + reach * np.cos(angle)
        inside = 0 <= y < shape[0] and 0 <= x < shape[1]
        if inside and all(math.hypot(y - o.y, x - o.x) > 0.78 * (radius + o.radius_px) for o in nuclei):
            waves = np.stack([rng.normal(0, 0.15 / np.arange(2, 6)), rng.uniform(0, 2 * np.pi, 4)], axis=1)
            nuclei.append(_Nucleus(y, x, radius, 1 + rng.gamma(2.0, 0.17), rng.uniform(0, np.pi), waves))
    return nuclei


def _divide(nuclei: list[_Nucleus], shape: tuple[int, int]) -> tuple[Labels, Field]:
    """Give each pixel to the nucleus it lies deepest in; also return how deep, 1 at a centre and 0 outside."""
    owner = np.zeros(shape, np.int32)
    nearest = np.ones(shape, np.float32)
    for i, nucleus in enumerate(nuclei, start=1):
        reach = int(2.5 * nucleus.radius_px) + 1
        top, left = max(0, int(nucleus.y) - reach), max(0, int(nucleus.x) - reach)
        window = np.s_[top : int(nucleus.y) + reach, left : int(nucleus.x) + reach]
        height, width = owner[window].shape
        yy, xx = np.mgrid[top : top + height, left : left + width].astype(np.float32)
        relative = nucleus.relative_radius(yy, xx)
        closer = relative < nearest[window]
        owner[window][closer] = i
        nearest[window][closer] = relative[closer]
    return owner, 1 - nearest


def _shine(rng: np.random.Generator, owner: Labels, depth: Field, n: int) -> Field:
    """Light of the nuclei: own brightness, a dome that falls to the rim, chromatin, each in or out of focus."""
    brightness = np.clip(rng.lognormal(-0.2, 0.22, n + 1), 0.5, 1.5)
    brightness[rng.random(n + 1) < 0.14] *= 0.55
    brightness[0] = 0
    dome = np.sqrt(1 - (1 - depth) ** 2) * 0.6 + 0.4
    chromatin = np.clip(1 + 0.22 * smooth_noise(rng, owner.shape, 1.6), 0.3, None)
    light = (brightness[owner] * dome * chromatin).astype(np.float32)
    is_blurred = (rng.random(n + 1) < 0.2)[owner]
    return blur(np.where(is_blurred, 0, light), rng.uniform(0.7, 1.2)) + blur(np.where(is_blurred, light, 0), 1.7)


def _litter(rng: np.random.Generator, shape: tuple[int, int], n: int) -> Field:
    """Specks and threads: brighter than nuclei, too small or too thin to be one."""
    canvas = np.zeros(shape, np.float32)
    for _ in range(n):
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        if rng.random() < 0.5:
            steps = rng.normal(0, 2.5, (rng.integers(4, 10), 2)) + rng.normal(0, 2, 2)
            path = np.round(np.cumsum(steps, axis=0) + np.array([x, y])).astype(np.int32)
            cv2.polylines(canvas, [path], False, rng.uniform(0.4, 0.9), 1 + int(rng.integers(2)))
        else:
            cv2.circle(canvas, (int(x), int(y)), int(rng.integers(1, 3)), rng.uniform(0.6, 1.6), -1)
    return blur(canvas, 0.9)


def _expose(rng: np.random.Generator, light: Field) -> Image:
    """Photograph: shot noise, read noise, a random exposure, 8 bits."""
    photons = rng.uniform(80, 200)
    seen = rng.poisson(light * photons) / photons + rng.normal(0, 0.012, light.shape)
    scale = rng.uniform(90, 235) / np.percentile(seen, 99.7)
    return np.clip(np.round(seen * scale), 0, 255).astype(np.uint8)


def drop_slivers(labels: Labels) -> Labels:
    """Drop instances that hardly show."""
    shows = np.bincount(labels.ravel()) >= MIN_NUCLEUS_PX
    shows[0] = False
    return np.where(shows, np.cumsum(shows), 0).astype(np.int32)[labels]


def stain(image: Image, kind: Kind) -> Image:
    """Turn a fluorescence image into another kind of microscopy."""
    if kind == "gray-dark":
        return image
    ground, absorbance = _DYES[kind]
    dye = image / max(1.0, float(np.percentile(image, 99.5)))
    seen: Image = np.round(ground * np.exp(-np.multiply.outer(dye, absorbance))).astype(np.uint8)
    return seen
