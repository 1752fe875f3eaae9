import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.data.batch import PadSpec, crop, pad_to, padded_shape

sides = st.integers(1, 40)


@given(height=sides, width=sides, multiple=st.sampled_from([1, 2, 16, 32]), margin=st.integers(0, 50))
@settings(max_examples=50, deadline=None)
def test_cropping_undoes_padding_for_every_size(height, width, multiple, margin):
    planes = np.arange(2 * height * width, dtype=np.float32).reshape(2, height, width)
    shape = padded_shape((height, width), PadSpec(multiple, margin))
    padded, slices = pad_to(planes, shape)
    assert padded.shape == (2, *shape)
    assert shape[0] % multiple == shape[1] % multiple == 0
    np.testing.assert_array_equal(crop(padded, slices), planes)


@given(height=sides, width=sides, multiple=st.sampled_from([1, 2, 16, 32]), margin=st.integers(0, 50))
@settings(max_examples=50, deadline=None)
def test_the_padding_is_at_least_the_margin_and_less_than_a_multiple_more(height, width, multiple, margin):
    padded, slices = pad_to(np.zeros((height, width)), padded_shape((height, width), PadSpec(multiple, margin)))
    for side, inside in zip(padded.shape, slices, strict=True):
        before, after = inside.start, side - inside.stop
        assert before >= margin
        assert 0 <= after - before <= 1, "split evenly, an odd pixel after"
        assert before + after < 2 * margin + multiple


def test_padding_mirrors_the_edge_pixel_too():
    padded, slices = pad_to(np.array([[[1, 2], [3, 4]]]), (4, 4))
    assert padded.tolist() == [[[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]]
    assert slices == (slice(1, 3), slice(1, 3))


def test_an_image_smaller_than_its_padding_is_mirrored_again_and_again():
    padded, _ = pad_to(np.array([[1, 2]]), (1, 10))
    assert padded.tolist() == [[1, 2, 2, 1, 1, 2, 2, 1, 1, 2]], "the image lies at 4 and 5"


def test_a_single_pixel_becomes_a_constant():
    padded, _ = pad_to(np.full((3, 1, 1), 7, dtype=np.uint8), (16, 16))
    assert padded.dtype == np.uint8
    assert padded.shape == (3, 16, 16)
    assert (padded == 7).all()
