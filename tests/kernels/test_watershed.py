import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kaggle_unet.targets.watershed import grow_seeds
from tests import naive, strategies


@st.composite
def landscapes(draw):
    """Draw seeds, levels (few, so that there is flat ground) and a mask."""
    seeds = draw(strategies.labels(max_side=12, max_id=9)) // 3
    levels = draw(hnp.arrays(np.uint8, seeds.shape, elements=st.sampled_from([0, 1, 128, 254, 255])))
    return seeds, levels, draw(hnp.arrays(bool, seeds.shape, elements=st.sampled_from([True, True, False])))


@given(landscapes())
@settings(max_examples=80, deadline=None)
def test_buckets_flood_as_a_heap_does(landscape):
    seeds, levels, mask = landscape

    grown = grow_seeds(seeds, levels.astype(np.float32) / 255, mask)

    assert (grown == naive.flood(levels, seeds, mask)).all()
