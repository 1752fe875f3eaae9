"""Drawn images: nuclei in a microscope and salt in seismic tiles, with labels, from a random generator.

Nuclei are hard in the same ways as real ones: they touch, vary in size and brightness, lie out of focus and among
debris, under uneven light and shot noise. Sediment is layered; salt is quiet and has no direction, so texture tells
them apart, and brightness does not.
"""

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from kaggle_unet.errors import ConfigError
from kaggle_unet.types import Image, Labels, Mask, Shape

Field = NDArray[np.float32]


def smooth_noise(rng: np.random.Generator, shape: Shape, sigma_px: float) -> Field:
    """Draw Gaussian noise of mean 0 and standard deviation 1 that varies over about `sigma_px` pixels."""
    noise = blur(rng.standard_normal(shape).astype(np.float32), sigma_px)
    return np.asarray((noise - noise.mean()) / (noise.std() + 1e-9), dtype=np.float32)


def blur(field: Field, sigma_px: float) -> Field:
    """Blur with a Gaussian, mirrored at the edge."""
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT), dtype=np.float32)


Kind = Literal["gray-dark", "gray-bright", "colour"]

# Slivers of fewer pixels at the image's edge are drawn but not labelled; the smallest nucleus of DSB2018 has 21.
MIN_NUCLEUS_PX = 16
# Light of the bare background, and how strongly a dye absorbs it (Beer-Lambert); one number, or red, green and blue.
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
        """Return the distance from the centre relative to the outline's: 0 at the centre, 1 on the outline."""
        dy, dx = yy - self.y, xx - self.x
        along = (dx * np.cos(self.angle) + dy * np.sin(self.angle)) / np.sqrt(self.elongation)
        across = (dy * np.cos(self.angle) - dx * np.sin(self.angle)) * np.sqrt(self.elongation)
        theta = np.arctan2(across, along)
        outline = 1 + sum(a * np.cos(k * theta + phase) for k, (a, phase) in enumerate(self.waves, start=2))
        return np.asarray(np.hypot(along, across) / (self.radius_px * outline), dtype=np.float32)


def draw_nuclei(
    rng: np.random.Generator,
    shape: Shape = (128, 128),
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
        Source of all randomness.
    shape : tuple of int
        Height and width.
    n : int
        Number of nuclei to place; fewer if there is no room.
    radius_px : float
        Their typical radius; individual nuclei have half to twice that.
    clustering : float
        Probability that a nucleus is placed against an earlier one instead of anywhere.
    debris : int
        Bright specks and threads that are not nuclei.

    Returns
    -------
    image : uint8 array, shape (H, W)
        Bright nuclei on a dark background.
    labels : int32 array, shape (H, W)
        Instances 1…n, consecutive.

    Notes
    -----
    A pixel claimed by two nuclei belongs to the one that it lies deeper in, so neighbours meet in a line and
    never overlap. Nuclei may be cut by the image's edge. With ``n=0`` the labels are all 0: noise and debris remain.

    Examples
    --------
    >>> image, labels = draw_nuclei(np.random.default_rng(0), (64, 96), n=5)
    >>> image.shape, image.dtype.name, labels.dtype.name, sorted(set(labels.ravel().tolist()))
    ((64, 96), 'uint8', 'int32', [0, 1, 2, 3, 4, 5])
    """
    if not (min(shape) > 0 and 0 < radius_px < np.inf):
        raise ConfigError(f"shape {shape}, radius_px {radius_px}; expected a height, a width and a radius above 0")
    nuclei = _place(rng, shape, n, radius_px * rng.uniform(0.85, 1.2), clustering)
    owner, depth = _divide(nuclei, shape)
    light = _render_intensity(rng, owner, depth, len(nuclei))
    haze = smooth_noise(rng, shape, max(shape) / 5)
    light = light * (1 + 0.18 * smooth_noise(rng, shape, max(shape) / 3)) + 0.15 * blur(light, 2.0 * radius_px)
    light += 0.08 + 0.03 * haze + _draw_debris(rng, shape, debris)
    return _expose(rng, np.clip(light, 0, None)), drop_slivers(owner)


def _place(rng: np.random.Generator, shape: Shape, n: int, radius_px: float, clustering: float) -> list[_Nucleus]:
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


def _divide(nuclei: list[_Nucleus], shape: Shape) -> tuple[Labels, Field]:
    """Assign each pixel to the nucleus whose centre is nearest, in radii; also return the depth, 1 at a centre."""
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


def _render_intensity(rng: np.random.Generator, owner: Labels, depth: Field, n: int) -> Field:
    """Render the nuclei's light: own brightness, a dome that falls to the rim, chromatin, each in or out of focus."""
    brightness = np.clip(rng.lognormal(-0.2, 0.22, n + 1), 0.5, 1.5)
    brightness[rng.random(n + 1) < 0.14] *= 0.55
    brightness[0] = 0
    dome = np.sqrt(1 - (1 - depth) ** 2) * 0.6 + 0.4
    chromatin = np.clip(1 + 0.22 * smooth_noise(rng, owner.shape, 1.6), 0.3, None)
    light = (brightness[owner] * dome * chromatin).astype(np.float32)
    is_blurred = (rng.random(n + 1) < 0.2)[owner]
    return blur(np.where(is_blurred, 0, light), rng.uniform(0.7, 1.2)) + blur(np.where(is_blurred, light, 0), 1.7)


def _draw_debris(rng: np.random.Generator, shape: Shape, n: int) -> Field:
    """Draw specks and threads, brighter than nuclei but too small or too thin to be one."""
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
    """Photograph the light, with shot noise, read noise and a random exposure, in 8 bits."""
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
    background, absorbance = _DYES[kind]
    dye = image / max(1.0, float(np.percentile(image, 99.5)))
    return np.asarray(np.round(background * np.exp(-np.multiply.outer(dye, absorbance))), dtype=np.uint8)


# Kaggle's TGS tiles.
SALT_SHAPE = (101, 101)


def draw_salt(rng: np.random.Generator, *, empty: float = 0.36, black: float = 0.02) -> tuple[Image, Mask]:
    """Draw a seismic tile and its salt mask.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of all randomness.
    empty : float
        Probability of sediment without salt.
    black : float
        Probability of an all-black tile, as are 2 % of Kaggle's; its mask is empty.

    Returns
    -------
    image : uint8 array, shape (101, 101)
        Sediment is layered, salt is not; a bright reflection runs along the top of the salt.
    mask : bool array, shape (101, 101)
        Salt; often empty, never full (Kaggle labels no full tile).

    Examples
    --------
    >>> image, mask = draw_salt(np.random.default_rng(0), empty=0.0, black=0.0)
    >>> image.shape, mask.any() and not mask.all()
    ((101, 101), True)
    """
    if rng.random() < black:
        return np.zeros(SALT_SHAPE, np.uint8), np.zeros(SALT_SHAPE, np.bool_)
    inside_px = _salt_body(rng) if rng.random() >= empty else np.full(SALT_SHAPE, -1e3, np.float32)
    fraction = 0.5 + 0.5 * np.tanh(0.75 * inside_px)
    tile = (1 - fraction) * _sediment(rng) + fraction * _salt(rng)
    tile += rng.uniform(1.0, 2.2) * np.exp(-((inside_px / 1.8) ** 2)) * np.sign(rng.uniform(-0.4, 1))
    tile = rng.uniform(95, 140) + rng.uniform(22, 38) * tile + rng.normal(0, 3, SALT_SHAPE)
    return np.clip(np.round(tile), 0, 255).astype(np.uint8), inside_px > 0


def _salt_body(rng: np.random.Generator) -> Field:
    """Return the signed distance, roughly in pixels, into a body with a wavy flank across the tile; positive inside."""
    height, width = SALT_SHAPE
    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    while True:
        angle = rng.normal(np.pi / 2, 0.9)  # mostly towards the bottom: salt rises from below
        through_y, through_x = rng.uniform(-8, height + 8), rng.uniform(-8, width + 8)
        along = (xx - through_x) * np.sin(angle) - (yy - through_y) * np.cos(angle)
        inside_px = (xx - through_x) * np.cos(angle) + (yy - through_y) * np.sin(angle)
        inside_px += rng.normal(0, 0.006) * along**2 + 5 * smooth_noise(rng, SALT_SHAPE, 14)
        if 0.001 < (inside_px > 0).mean() < 0.97:
            return np.asarray(inside_px, dtype=np.float32)


def _sediment(rng: np.random.Generator) -> Field:
    """Draw layers: one random trace of reflections, bent by a smooth warp and a dip."""
    height, width = SALT_SHAPE
    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    fineness = rng.uniform(1.0, 2.6)
    trace = blur(rng.laplace(0, 1, (1, 1200)).astype(np.float32), fineness)[0]
    trace = np.gradient(np.gradient(trace))
    bend = rng.normal(0, 0.25) * xx + rng.uniform(2, 6) * smooth_noise(rng, SALT_SHAPE, 16)
    fault = rng.normal(0, 4) * (xx + rng.normal(0, 0.3) * yy > rng.uniform(0, 2 * width))
    jitter = rng.gamma(1.0, 0.5) * smooth_noise(rng, SALT_SHAPE, 3)
    layers = np.interp(yy + bend + fault + jitter + 500, np.arange(trace.size), trace / trace.std())
    amplitude = np.clip(1 + 0.35 * smooth_noise(rng, SALT_SHAPE, 12), 0.3, None)
    return np.asarray(layers * amplitude + 0.35 * smooth_noise(rng, SALT_SHAPE, 1.0), dtype=np.float32)


def _salt(rng: np.random.Generator) -> Field:
    """Draw salt's own texture: quiet, without direction."""
    quiet = rng.uniform(0.15, 0.45)
    return quiet * smooth_noise(rng, SALT_SHAPE, rng.uniform(1.2, 3.0)) + 0.5 * smooth_noise(rng, SALT_SHAPE, 25)
