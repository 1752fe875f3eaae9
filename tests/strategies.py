"""What hypothesis draws: labels of several kinds, none of them symmetric by construction."""

import numpy as np
import scipy.ndimage
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


def shapes(max_side=10):
    """Draw (H, W), often not square, down to a single pixel."""
    return hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=max_side)


@st.composite
def masks(draw, max_side=10):
    """Draw any mask, the empty and the full one too."""
    return draw(hnp.arrays(bool, draw(shapes(max_side))))


@st.composite
def labels(draw, max_side=10, max_id=4):
    """Draw any consecutive labels: instances may touch, be in pieces, or be one pixel."""
    ids = draw(hnp.arrays(np.int32, draw(shapes(max_side)), elements=st.integers(0, max_id)))
    return np.unique(np.append(0, ids), return_inverse=True)[1][1:].reshape(ids.shape).astype(np.int32)


@st.composite
def pairs(draw, max_side=10, max_id=4):
    """Draw two labels of the same image."""
    true = draw(labels(max_side, max_id))
    return true, draw(hnp.arrays(np.int32, true.shape, elements=st.integers(0, max_id)))


@st.composite
def apart(draw, max_side=14):
    """Draw labels of which no two instances touch, each of them in one piece, numbered in raster order."""
    return scipy.ndimage.label(draw(masks(max_side)), np.ones((3, 3)))[0].astype(np.int32)


@st.composite
def tiles(draw, min_side):
    """Draw rectangles of at least `min_side` pixels a side that touch along their whole sides, some of them missing."""
    sides = st.lists(st.integers(min_side, min_side + 4), min_size=1, max_size=4)
    heights, widths = draw(sides), draw(sides)
    is_there = draw(hnp.arrays(bool, (len(heights), len(widths))))
    ids = np.where(is_there, np.cumsum(is_there).reshape(is_there.shape), 0).astype(np.int32)
    return np.repeat(np.repeat(ids, heights, axis=0), widths, axis=1)
