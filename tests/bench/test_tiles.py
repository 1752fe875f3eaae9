import numpy as np
import pytest

from tests.bench.tiles import agreement, draw_image

WHOLE = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 2]], dtype=np.int32)


def test_other_numbers_are_the_same_labels():
    assert agreement(WHOLE, np.where(WHOLE == 1, 7, WHOLE)) == 1


@pytest.mark.parametrize(
    ("tiled", "wanted"),
    [
        ([[1, 1, 1, 3, 0, 0], [1, 1, 1, 3, 0, 2]], 10 / 12),  # a piece is another object
        ([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 0, 1]], 11 / 12),  # two are one
        ([[1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 2, 2]], 11 / 12),  # larger by a pixel
        ([[0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], 3 / 12),
    ],
)
def test_pixels_of_other_objects_do_not_agree(tiled, wanted):
    assert agreement(WHOLE, np.array(tiled, dtype=np.int32)) == pytest.approx(wanted)


def test_drawn_images_have_any_side():
    assert draw_image(256).shape == (256, 256)
    assert draw_image(1500).shape == (1500, 1500)
