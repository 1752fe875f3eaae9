import numpy as np
import skimage.measure
from hypothesis import given, settings

from kaggle_unet.masks.polygons import trace_polygons
from tests import naive, strategies


def without_midpoints(ring):
    """Keep the corners, rotated so that the smallest comes first."""
    before, after = ring[-1:] + ring[:-1], ring[1:] + ring[:1]
    corners = [
        b for a, b, c in zip(before, ring, after, strict=True) if not (a[0] == b[0] == c[0] or a[1] == b[1] == c[1])
    ]
    start = corners.index(min(corners))
    return corners[start:] + corners[:start]


@given(strategies.labels(max_side=9, max_id=2))
@settings(max_examples=100, deadline=None)
def test_rings_are_those_of_the_obvious_twin(labels):
    pieces = skimage.measure.label(labels, background=0, connectivity=1)
    found = [ring.tolist() for parts in trace_polygons(labels).values() for rings in parts for ring in rings]
    expected = [ring for piece in range(1, pieces.max() + 1) for ring in naive.trace_rings(pieces, piece)]

    def ordered(rings):
        return sorted(without_midpoints([tuple(point) for point in ring]) for ring in rings)

    assert ordered(found) == ordered(expected)


def test_a_ring_that_meets_itself_at_a_corner_is_parted_into_an_outline_and_a_hole():
    labels = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]], np.int32)
    ((rings,),) = trace_polygons(labels).values()
    assert [len(ring) for ring in rings] == [6, 4]
