"""Seismic tiles with salt, drawn from a random generator.

Sediment is layered; salt is quiet and without direction, so that texture tells them apart and brightness does not.
"""

import numpy as np

from kaggle_unet.competitions.drawn_texture import Field, blur, smooth_noise
from kaggle_unet.types import Image, Mask

# Kaggle's TGS tiles.
SALT_SHAPE = (101, 101)


def draw_salt(rng: np.random.Generator, *, empty: float = 0.36, black: float = 0.02) -> tuple[Image, Mask]:
    """Draw a seismic tile and its salt mask.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of everything random.
    empty : float
        Chance of sediment without salt.
    black : float
        Chance of a tile that is all 0, as 2 % of Kaggle's; its mask is empty.

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
    share = 0.5 + 0.5 * np.tanh(0.75 * inside_px)
    tile = (1 - share) * _sediment(rng) + share * _salt(rng)
    tile += rng.uniform(1.0, 2.2) * np.exp(-((inside_px / 1.8) ** 2)) * np.sign(rng.uniform(-0.4, 1))
    tile = rng.uniform(95, 140) + rng.uniform(22, 38) * tile + rng.normal(0, 3, SALT_SHAPE)
    return np.clip(np.round(tile), 0, 255).astype(np.uint8), inside_px > 0


def _salt_body(rng: np.random.Generator) -> Field:
    """Signed distance, about in pixels, into a body with one wavy flank that crosses the tile; positive inside."""
    height, width = SALT_SHAPE
    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    while True:
        angle = rng.normal(np.pi / 2, 0.9)  # towards the bottom mostly: salt rises from below
        through_y, through_x = rng.uniform(-8, height + 8), rng.uniform(-8, width + 8)
        along = (xx - through_x) * np.sin(angle) - (yy - through_y) * np.cos(angle)
        inside_px = (xx - through_x) * np.cos(angle) + (yy - through_y) * np.sin(angle)
        inside_px += rng.normal(0, 0.006) * along**2 + 5 * smooth_noise(rng, SALT_SHAPE, 14)
        if 0.001 < (inside_px > 0).mean() < 0.97:
            return np.asarray(inside_px, dtype=np.float32)


def _sediment(rng: np.random.Generator) -> Field:
    """Layers: one random trace of reflections, bent by a smooth warp and a dip."""
    height, width = SALT_SHAPE
    yy, xx = np.mgrid[:height, :width].astype(np.float32)
    fineness = rng.uniform(1.0, 2.6)
    trace = blur(rng.laplace(0, 1, (1, 1200)).astype(np.float32), fineness)[0]
    trace = np.gradient(np.gradient(trace))
    bend = rng.normal(0, 0.25) * xx + rng.uniform(2, 6) * smooth_noise(rng, SALT_SHAPE, 16)
    fault = rng.normal(0, 4) * (xx + rng.normal(0, 0.3) * yy > rng.uniform(0, 2 * width))
    tremble = rng.gamma(1.0, 0.5) * smooth_noise(rng, SALT_SHAPE, 3)
    layers = np.interp(yy + bend + fault + tremble + 500, np.arange(trace.size), trace / trace.std())
    loudness = np.clip(1 + 0.35 * smooth_noise(rng, SALT_SHAPE, 12), 0.3, None)
    return np.asarray(layers * loudness + 0.35 * smooth_noise(rng, SALT_SHAPE, 1.0), dtype=np.float32)


def _salt(rng: np.random.Generator) -> Field:
    """Salt's own texture: quiet, without direction."""
    quiet = rng.uniform(0.15, 0.45)
    return quiet * smooth_noise(rng, SALT_SHAPE, rng.uniform(1.2, 3.0)) + 0.5 * smooth_noise(rng, SALT_SHAPE, 25)
