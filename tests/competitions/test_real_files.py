"""The competitions' own files: everything loads, and the counts are the published ones."""

import csv
from collections import Counter

import numpy as np
import pytest

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.competitions.submission import check_submission, order_ids, write_submission
from kaggle_unet.competitions.truth import read_truth
from kaggle_unet.masks.rle import decode_mask
from kaggle_unet.store import Store

pytestmark = [pytest.mark.realdata]


def read(name, data, **options):
    return get_competition(name).read(str(data), CompetitionSettings(name=name), **options)


def load_all(source):
    for key in source.ids:
        yield source.load(key)


def count_issues(samples):
    found = Counter()
    for sample in samples:
        for issue in sample.data_issues:
            found[issue.kind, "samples"] += 1
            found[issue.kind, "count"] += issue.count
    return found


def test_dsb2018_train_has_664_images_and_28986_nuclei_that_fit_a_store_of_128_mib(real_data, tmp_path):
    samples = list(load_all(read("dsb2018", real_data / "dsb2018" / "stage1_train.zip", with_masks=True)))
    assert len(samples) == 664
    assert sum(int(sample.labels.max()) for sample in samples) == 28_986
    assert Counter(sample.kind for sample in samples) == {"gray-dark": 541, "colour": 107, "gray-bright": 16}
    odd = count_issues(samples)
    assert (odd["overlapping pixels of masks", "count"], odd["overlapping pixels of masks", "samples"]) == (9, 6)
    assert odd["instances with holes", "count"] == 10
    assert odd["instances in several pieces", "count"] == 2
    assert odd["more than 255 instances", "samples"] == 7
    assert odd["opaque alpha channel", "samples"] == 664
    assert odd["equal colour channels", "samples"] == 557
    store = Store(tmp_path, {})
    for sample in samples:
        store.write(sample)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.npz")) < 128 * 2**20


def test_dsb2018_test_has_65_images(real_data):
    data = real_data / "dsb2018" / "stage1_test.zip"
    source = read("dsb2018", data)
    assert source.masks is None
    samples = list(load_all(source))
    assert Counter(sample.image.ndim for sample in samples) == {2: 53, 3: 12}
    assert min(min(sample.image.shape[:2]) for sample in samples) == 161
    assert all(source.shape(sample.id) == sample.image.shape[:2] for sample in samples)
    with (real_data / "dsb2018" / "stage1_sample_submission.csv").open(newline="") as file:
        wanted = tuple(row["ImageId"] for row in csv.DictReader(file))
    assert order_ids(source.ids, get_competition("dsb2018"), str(data)) == wanted


@pytest.mark.parametrize(("half", "n_images", "n_objects"), [("train", 447, 19_372), ("test", 50, 2_460)])
def test_the_stardist_subset_has_its_objects(real_data, half, n_images, n_objects):
    data = f"{real_data / 'dsb2018' / 'stardist_subset.zip'}:dsb2018/{half}"
    samples = list(load_all(read("folder", data, with_masks=True)))
    assert len(samples) == n_images
    assert sum(int(sample.labels.max()) for sample in samples) == n_objects
    assert count_issues(samples)["components of binary masks", "count"] == 0


def test_the_literatures_validation_part_has_2543_objects(real_data):
    source = read("folder", f"{real_data / 'dsb2018' / 'stardist_subset.zip'}:dsb2018/train")
    order = np.random.RandomState(42).permutation(447)[-67:]
    assert sum(int(source.load(source.ids[i]).labels.max()) for i in order) == 2_543


def test_tgs_codes_are_the_masks_and_write_the_same_bytes(real_data, tmp_path):
    tgs = get_competition("tgs")
    source = read("tgs", real_data / "tgs" / "train.zip", with_masks=True)
    assert len(source.ids) == 3_600
    with (real_data / "tgs" / "train.csv").open(newline="") as file:
        rles = {row["id"]: row["rle_mask"] for row in csv.DictReader(file)}
    truth = read_truth(str(real_data / "tgs" / "train.csv"), tgs, CompetitionSettings(name="tgs"))
    for sample in load_all(source):
        np.testing.assert_array_equal(sample.labels > 0, decode_mask(rles[sample.id], (101, 101)))
        np.testing.assert_array_equal(sample.labels, truth[sample.id])
        assert sample.image.shape == (101, 101)
        assert 50 <= sample.numbers["depth"] <= 959
    write_submission(tmp_path / "x.csv", {key: truth[key] for key in rles}, tgs.name)
    assert (tmp_path / "x.csv").read_bytes() == (real_data / "tgs" / "train.csv").read_bytes()
    shapes = dict.fromkeys(rles, (101, 101))
    assert check_submission(tmp_path / "x.csv", tgs, shapes) == ([], [])


def test_tgs_tiles_without_content_are_black_and_empty(real_data):
    samples = list(load_all(read("tgs", real_data / "tgs" / "train.zip")))
    assert all(not sample.labels.any() for sample in samples if sample.kind == "black")
    assert count_issues(samples)["masks that cover the whole image", "count"] == 0


def test_tgs_test_has_400_tiles_with_depths_and_no_masks(real_data):
    data = real_data / "tgs" / "test.zip"
    source = read("tgs", data)
    assert (len(source.ids), source.masks, source.data_issues) == (400, None, ())
    assert all("depth" in sample.numbers for sample in load_all(source))
    with (real_data / "tgs" / "sample_submission.csv").open(newline="") as file:
        wanted = tuple(row["id"] for row in csv.DictReader(file))
    assert order_ids(source.ids, get_competition("tgs"), str(data)) == wanted


def test_a_submission_of_the_sample_values_is_sound_for_salt(real_data):
    shapes = dict.fromkeys(read("tgs", real_data / "tgs" / "test.zip").ids, (101, 101))
    errors, warnings = check_submission(real_data / "tgs" / "sample_submission.csv", get_competition("tgs"), shapes)
    assert errors == []
    assert warnings == ["0 of 400 masks are empty (0%); good submissions have 38% to 43%"]
