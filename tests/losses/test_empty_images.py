import math

import pytest
import torch

from kaggle_unet.losses.cross_entropy import empty_cross_entropy, find_empty


def test_an_image_is_empty_where_no_plane_holds_a_pixel_that_counts():
    objects = torch.zeros(3, 2, 2, 2)
    objects[1, 1, 0, 0] = 1  # in the second plane only
    objects[2, 0, 1, 1] = 1  # on a pixel that does not count
    counted = torch.ones(3, 2, 2)
    counted[2, 1, 1] = 0
    assert find_empty(objects, counted).tolist() == [True, False, True]


def test_the_mean_is_over_images_that_count_at_all():
    logits = torch.tensor([0.0, math.log(3), 50.0])
    is_empty = torch.tensor([False, True, False])
    counted = torch.ones(3, 2, 2)
    counted[2] = 0
    wanted = (math.log(2) + math.log(4 / 3)) / 2
    assert empty_cross_entropy(logits, is_empty, counted).item() == pytest.approx(wanted)
    assert empty_cross_entropy(logits, is_empty, counted * 0).item() == 0
