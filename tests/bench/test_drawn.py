import numpy as np
import pytest

from kaggle_unet.masks.labels import areas_px
from tests.bench.cases import AVERAGE, SQUARE, labels_of
from tests.bench.drawn import draw_planes, draw_prediction


@pytest.mark.parametrize("case", [AVERAGE, *SQUARE[:3]], ids=str)
def test_as_many_instances_are_drawn_as_were_asked_for_over_a_fifth_of_the_image(case):
    labels = labels_of(case)

    assert labels.shape == case.shape
    assert labels.dtype == np.int32
    assert len(areas_px(labels)) == case.n + 1
    assert areas_px(labels).all()
    assert 0.15 < (labels > 0).mean() < 0.25


def test_a_good_part_of_the_instances_touch_another():
    labels = labels_of(AVERAGE)
    left, right = labels[:, :-1], labels[:, 1:]

    assert len(np.unique(left[(left != right) & (left > 0) & (right > 0)])) > AVERAGE.n / 6


def test_a_prediction_lies_aside_and_misses_and_fuses_some():
    labels = labels_of(AVERAGE)
    pred = draw_prediction(np.random.default_rng(1), labels)

    assert pred.max() == 36
    assert areas_px(pred).all()
    assert ((pred > 0) & (labels == 0)).sum() > 0.01 * labels.size
    assert (pred > 0).sum() < 0.97 * (labels > 0).sum()


def test_planes_are_probabilities():
    planes = draw_planes(np.random.default_rng(1), labels_of(AVERAGE))

    assert planes.shape == (3, *AVERAGE.shape)
    assert planes.dtype == np.float32
    assert planes.sum(axis=0) == pytest.approx(1, abs=1e-5)
