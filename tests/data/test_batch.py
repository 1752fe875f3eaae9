import numpy as np
import torch

from kaggle_unet.data.batch import Item, PadSpec, collate, crop, pad_item, padded_shape


def item(height, width, id_="a"):
    values = np.arange(1, height * width + 1, dtype=np.float32).reshape(height, width)
    return Item(values[None], np.stack([values, -values]), np.ones((height, width), np.float32), id_)


def test_sides_leave_room_for_the_margin():
    assert padded_shape((10, 27), PadSpec(16, 3)) == (16, 48)


def test_padding_does_not_count_and_mirrors_the_rest():
    padded, slices = pad_item(item(2, 3), (2, 5))
    assert padded.inputs.tolist() == [[[1, 1, 2, 3, 3], [4, 4, 5, 6, 6]]]
    assert padded.weights.tolist() == [[0, 1, 1, 1, 0]] * 2
    assert (crop(padded.planes, slices) == item(2, 3).planes).all()


def test_a_sample_of_the_wanted_size_is_not_touched():
    original = item(2, 3)
    assert pad_item(original, (2, 3))[0] is original


def test_a_batch_is_as_large_as_its_largest_sides():
    batch = collate([item(2, 6, "a"), item(4, 2, "b")])
    assert batch.ids == ["a", "b"]
    assert batch.inputs.shape == (2, 1, 4, 6)
    assert batch.planes.shape == (2, 2, 4, 6)
    assert batch.weights.dtype == torch.float32
    assert batch.weights.sum(dim=(1, 2)).tolist() == [12, 8]
