"""Masks that are probably wrong stop `make-targets` with the reason and the flag that goes on."""

import numpy as np
import pytest

from kaggle_unet.config import Config
from kaggle_unet.errors import DataError
from kaggle_unet.steps.data_report import find_mask_problem, measure_sample
from kaggle_unet.steps.make_targets import make_targets
from kaggle_unet.types import Sample
from tests.files import png, write_folder

CONFIG = Config(competition={"name": "folder"}, folds={"n": 2})
SPECKS = np.zeros((40, 40), np.uint8)
SPECKS[::3, ::3] = 255
SPECKS[10:20, 10:20] = 255
STRIPES = np.zeros((40, 40), np.uint16)
STRIPES[5:35] = np.arange(40) % 20 * 300 + 1  # each number in two pieces of one column


def make(folder, masks, **options):
    files = {f"images/{i}.png": png(np.zeros((40, 40), np.uint8)) for i in range(4)}
    data = write_folder(folder / "data", files | {f"masks/{i}.png": png(masks) for i in range(4)})
    return make_targets(CONFIG, data, folder / "store", **options)


@pytest.mark.parametrize(
    ("masks", "why"),
    [
        (SPECKS, r"half of the \d+ objects have under 4 pixels, as the halos of a JPEG"),
        (STRIPES, r"the masks score 0\.\d+ against themselves; most objects are in several pieces.*classes"),
    ],
)
def test_masks_that_are_probably_wrong_stop_with_the_reason_and_the_flag_that_goes_on(tmp_path, masks, why):
    with pytest.raises(
        DataError, match=rf"data: .*{why}.*; look at some masks, and pass --accept-masks if they are right"
    ):
        make(tmp_path, masks)
    assert make(tmp_path, masks, allow=["doubtful masks"])["samples"] == 4


def report(score, px=50.0, **counts):
    oddities = [{"what": what.replace("_", " "), "count": n} for what, n in counts.items()]
    return {"instances": 10, "area_px": {"median": px}, "ceiling": score, "oddities": oddities}


def test_the_reason_is_what_most_objects_have():
    assert "thinner than the borders" in find_mask_problem(report(0.8), "mask_border")
    assert "inverted" in find_mask_problem(report(0.8, instances_with_holes=6), "mask_border")
    assert "classes" in find_mask_problem(report(0.8, instances_in_several_pieces=6), "mask_border")


def test_a_mask_codec_may_fuse_what_touches_and_a_set_may_be_empty():
    assert find_mask_problem(report(0.5), "mask") is None
    assert find_mask_problem(report(0.9), "mask_border") is None
    assert find_mask_problem(report(0.1) | {"instances": 0, "area_px": {}}, "mask_border") is None


def test_pixels_of_no_known_class_are_no_coverage():
    sample = Sample("a", np.zeros((2, 4), np.uint8), np.array([[0, 1, 255, 255]] * 2, np.int32))
    assert measure_sample(sample, classes=("a", "b")).coverage == "3"
