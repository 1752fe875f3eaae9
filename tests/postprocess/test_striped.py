from collections import Counter
from functools import partial

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kaggle_unet.masks.labels import components
from kaggle_unet.postprocess import decoder, striped
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.postprocess.striped import decode_large, plan_windows
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import BorderSettings, DecodeSettings


def draw_planes(codec, rng, shape):
    """Draw planes of a network in doubt: blocks of a few values, so that there are shapes, ties and holes."""
    coarse = rng.choice([0.1, 0.3, 0.6, 0.9], size=(len(codec.planes), -(-shape[0] // 2), -(-shape[1] // 2)))
    return coarse.repeat(2, axis=1).repeat(2, axis=2)[:, : shape[0], : shape[1]].astype(np.float16)


@given(
    codec=st.sampled_from(list(CODECS.values())),
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 30), st.integers(1, 20)),
    stripe_px=st.integers(1, 12),
    decode=st.builds(
        DecodeSettings,
        mask_threshold=st.sampled_from([0.2, 0.5, 1.0]),
        min_seed_px=st.integers(0, 6),
        keep_seedless=st.booleans(),
    ),
    postprocess=st.builds(PostprocessSettings, fill_holes_px=st.integers(0, 8), min_area_px=st.integers(0, 12)),
)
@settings(max_examples=300, deadline=None)
def test_stripes_give_the_labels_of_one_piece(codec, seed, shape, stripe_px, decode, postprocess):
    planes = draw_planes(codec, np.random.default_rng(seed), shape)
    out = np.zeros(shape, np.int32)
    assert decode_large(codec, planes, decode, postprocess, out=out, stripe_px=stripe_px) is out
    assert (out == Decoder(codec, decode, postprocess)(planes)).all()

    in_stripes = Decoder(codec, decode, postprocess, stripe_above_px=0)
    assert (in_stripes(planes) == Decoder(codec, decode, postprocess)(planes)).all()


def test_instances_and_their_holes_go_on_across_seams(monkeypatch):
    planes = np.zeros((1, 12, 12), dtype=np.float32)
    planes[0, 1:11, 1:11] = 1
    planes[0, 3:9, 5:7] = 0  # a hole that spans three stripes
    with monkeypatch.context() as patch:
        patch.setattr(decoder, "decode_large", partial(decode_large, stripe_px=3))
        out = Decoder(CODECS["mask"], postprocess=PostprocessSettings(fill_holes_px=12), stripe_above_px=0)(planes)

    assert (out[1:11, 1:11] == 1).all()
    assert out.sum() == 100


class Watched:
    """An array that remembers the sizes of the boxes that were read."""

    def __init__(self, array):
        self.array, self.shape, self.sizes = array, array.shape, Counter()

    def __getitem__(self, key):
        box = self.array[key]
        self.sizes[box.size] += 1
        return box


def test_no_more_is_read_at_a_time_than_a_stripe_or_a_component():
    labels = np.zeros((400, 50), dtype=np.int32)
    for label, top in enumerate(range(2, 390, 12), start=1):
        labels[top : top + 9, 20:29] = label
    planes = Watched(CODECS["mask_border"].encode(labels, BorderSettings()))
    out = decode_large(CODECS["mask_border"], planes, DecodeSettings(), PostprocessSettings(), stripe_px=16)

    assert (out == labels).all()
    assert max(planes.sizes) == 2 * 16 * 50
    assert sum(size * count for size, count in planes.sizes.items()) < 2 * planes.array.size


def test_windows_give_every_object_once_and_whole(monkeypatch):
    monkeypatch.setattr(striped, "_MORE_PX", 1)

    @given(arrays(np.bool_, (13, 9)), st.integers(1, 5))
    def law(mask, height_px):
        labels = components(mask)  # in one piece each, as decoded ones are
        found = np.zeros_like(labels)
        for window in plan_windows(labels, height_px):
            part, objects = found[window.top : window.bottom], window.read(labels)
            assert not part[objects > 0].any()
            part[objects > 0] = objects[objects > 0] + window.first
        np.testing.assert_array_equal(found, labels)

    law()
