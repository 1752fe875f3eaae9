"""Drawn land has the classes that it names, and files of it read back as drawn."""

import numpy as np
import pytest

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.registry import get_competition
from tests.land import LAND_CLASSES, draw_land, write_land


def test_the_same_seed_draws_the_same_land_and_another_another():
    one, again, other = (draw_land(np.random.default_rng(seed), (40, 56)) for seed in (0, 0, 1))
    assert one[0].shape == (40, 56, 3)
    assert one[0].dtype == np.uint8
    assert one[1].shape == (40, 56)
    assert all((first == second).all() for first, second in zip(one, again, strict=True))
    assert (one[0] != other[0]).any()


def test_every_class_and_clouds_are_drawn():
    found = np.unique([draw_land(np.random.default_rng(seed))[1] for seed in range(6)])
    assert found.tolist() == [*range(len(LAND_CLASSES)), 255]


@pytest.mark.parametrize(
    ("masks", "table", "ignore"),
    [("colours", LAND_CLASSES, 0), ("ids", {name: number for number, name in enumerate(LAND_CLASSES)}, 255)],
)
def test_files_are_read_back_as_drawn(tmp_path, masks, table, ignore):
    truth = write_land(tmp_path, 3, 3, shape=(40, 56), masks=masks)
    settings = CompetitionSettings(name="folder", masks_are="classes", classes=table, ignore=ignore)
    source = get_competition("folder").read(str(tmp_path), settings, with_masks=True)
    assert source.ids == tuple(truth)
    for id_, labels in truth.items():
        sample = source.load(id_)
        void = np.zeros(labels.shape, bool) if sample.ignore is None else sample.ignore
        assert (np.where(void, 255, sample.labels) == labels).all()
