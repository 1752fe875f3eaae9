"""Samples read from folders and zips, as make-targets reads them."""

import shutil
import zipfile

import numpy as np
import pytest

import kaggle_unet as ku
from kaggle_unet.store import Store
from kaggle_unet.synthetic.files import write_dsb_zip, write_folder
from tests.steps.conftest import call


@pytest.fixture
def cells(tmp_path):
    truth = write_folder(tmp_path / "cells", 1, 3, shape=(40, 48), suffix="tif")
    return tmp_path / "cells", truth


def assert_same(samples, truth):
    assert [sample.id for sample in samples] == sorted(truth)
    for sample in samples:
        np.testing.assert_array_equal(sample.labels, truth[sample.id])
        assert sample.image.dtype == np.uint8


def test_a_folder_and_its_zip_give_the_same_samples(cells, tmp_path):
    folder, truth = cells
    assert_same(ku.read_folder(folder), truth)
    with zipfile.ZipFile(tmp_path / "cells.zip", "w") as archive:
        for file in folder.rglob("*.tif"):
            archive.write(file, file.relative_to(tmp_path))
    assert_same(ku.read_folder(tmp_path / "cells.zip"), truth)
    assert_same(ku.read_folder(f"{tmp_path / 'cells.zip'}:cells"), truth)


def test_subfolders_may_have_other_names(cells):
    folder, truth = cells
    (folder / "images").rename(folder / "raw")
    (folder / "masks").rename(folder / "labels")
    assert_same(ku.read_folder(folder, images="raw", masks="labels"), truth)


def test_masks_that_are_not_where_they_were_said_to_be_are_an_error(cells):
    with pytest.raises(ku.DataError, match=r"mask/<id>\.png"):
        ku.read_folder(cells[0], masks="mask")


def test_images_without_masks_have_no_labels(cells):
    folder, truth = cells
    shutil.rmtree(folder / "masks")
    samples = ku.read_folder(folder)
    assert [sample.labels for sample in samples] == [None] * len(truth)


def test_all_faulty_files_are_named_at_once(cells):
    folder, truth = cells
    for id_ in sorted(truth)[:2]:
        (folder / "images" / f"{id_}.tif").write_bytes(b"II*\0 cut off")
    with pytest.raises(ku.DataError, match="2 of 3 samples are faulty") as error:
        ku.read_folder(folder)
    assert ["nuclei_000.tif" in problem or "nuclei_001.tif" in problem for problem in error.value.problems] == [
        True
    ] * 2


def test_samples_are_those_that_make_targets_stores(tmp_path):
    write_dsb_zip(tmp_path / "train.zip", 1, 4, shape=(40, 48), kinds=("gray-dark", "colour"))
    (tmp_path / "a.yaml").write_text("{competition: {name: dsb2018}, folds: {n: 2}}")
    answer = call("make-targets", tmp_path / "a.yaml", "--data", tmp_path / "train.zip", "--store", tmp_path / "store")
    assert answer.code == 0, answer.err
    store, samples = Store.open(tmp_path / "store"), ku.read_competition("dsb2018", tmp_path / "train.zip")
    assert {sample.id for sample in samples} == set(store.ids)
    for sample in samples:
        stored = store.read(sample.id)
        np.testing.assert_array_equal(sample.image, stored.image)
        np.testing.assert_array_equal(sample.labels, stored.labels)
        assert (sample.kind, sample.data_issues) == (stored.kind, stored.data_issues)


TAKE_LABELS = {
    "border": ku.border,
    "border by size": lambda labels: ku.border(labels, rule="contour", radius_px="by_size"),
    "colour_labels": ku.colour_labels,
    "distance_weights": ku.distance_weights,
    "draw_outlines": lambda labels: ku.draw_outlines(np.zeros((2, 3), np.uint8), labels),
    "drop_small": lambda labels: ku.drop_small(labels, 1),
    "encode": ku.rle.encode,
    "encode_targets": ku.encode_targets,
    "fill_holes": lambda labels: ku.fill_holes(labels, 2),
    "fill_holes of nothing": lambda labels: ku.fill_holes(labels, 0),
    "match": lambda labels: ku.match(labels, np.zeros((2, 3), int)),
    "relabel": ku.relabel,
    "score": lambda labels: ku.score(labels, np.zeros((2, 3), int)),
    "size_weights": lambda labels: ku.size_weights(labels, reference_area_px=4),
    "weight_map": lambda labels: ku.weight_map(labels, {"distance": {}, "classes": {"border": 2}}),
    "write_submission": lambda labels: ku.write_submission("/dev/null/x.csv", {"a": labels}),
}
TAKE_MASKS = {
    "components": ku.components,
    "dice": lambda mask: ku.dice(mask, np.zeros((2, 3), bool)),
    "encode_mask": ku.rle.encode_mask,
    "ignore": lambda mask: ku.weight_map(np.zeros((2, 3), int), ku.WeightSettings(), ignore=mask),
    "iou": lambda mask: ku.iou(np.zeros((2, 3), bool), mask),
    "paint_masks": lambda mask: ku.paint_masks([mask], (2, 3)),
}


@pytest.mark.parametrize("function", TAKE_LABELS.values(), ids=TAKE_LABELS)
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([[0.0, 1, 1], [0, 0, 2]]), "of dtype float64; expected whole numbers"),
        (np.array([[0, 1, 1], [0, 0, -2]]), "from -2 to 1; expected 0"),
        (np.array([[0, 1, 1], [0, 0, 2]]) << 40, r"from 0 to \d+; expected 0 .* to 2³¹"),
        (np.zeros((2, 3, 1), int), r"of shape \(2, 3, 1\); expected"),
        ([[1, 2, 3], [4]], "of uneven rows"),
    ],
)
def test_what_is_no_labels_is_refused_by_all_that_take_labels(function, labels, message):
    with pytest.raises(ku.DataError, match=message):
        function(labels)


@pytest.mark.parametrize(
    ("name", "function"), [(name, f) for name, f in TAKE_LABELS.items() if name not in {"match", "write_submission"}]
)
def test_labels_of_any_type_and_any_ids_are_taken_as_int32_ones_are(name, function):
    labels = np.array([[1, 1, 0], [1, 0, 2]], np.int32)
    expected = function(labels)
    for same in (labels.astype(np.int64), labels.astype(np.uint16), np.asfortranarray(labels), labels.tolist()):
        np.testing.assert_array_equal(function(same), expected)
        assert getattr(function(same), "dtype", None) == getattr(expected, "dtype", None)
    sparse = np.where(labels > 0, labels + np.int32(2**31 - 3), 0)
    if name in {"colour_labels", "fill_holes", "fill_holes of nothing"}:  # the ids are kept, or set the colours
        np.testing.assert_array_equal(function(sparse) > 0, expected > 0)
    else:
        np.testing.assert_array_equal(function(sparse), expected)


def test_a_mask_is_labels_of_one_instance():
    mask = np.array([[True, False, True]])
    assert ku.size_weights(mask, reference_area_px=2).tolist() == [[1, 1, 1]]
    assert ku.colour_labels(mask).any(axis=2).tolist() == mask.tolist()


@pytest.mark.parametrize("function", TAKE_MASKS.values(), ids=TAKE_MASKS)
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((2, 3), 0.4), "of dtype float64; expected bool: compare"),
        (np.zeros((2, 3, 3), bool), r"of shape \(2, 3, 3\); expected"),
    ],
)
def test_what_is_no_mask_is_refused_by_all_that_take_masks(function, mask, message):
    with pytest.raises(ku.DataError, match=message):
        function(mask)


@pytest.mark.parametrize("function", TAKE_MASKS.values(), ids=TAKE_MASKS)
def test_a_mask_of_numbers_is_what_is_not_0(function):
    mask = np.array([[1, 0, 255], [0, 2, 0]], np.uint8)
    assert repr(function(mask)) == repr(function(mask > 0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ku.border([[1]], rule="touchin"), "rule is 'touchin': input should be 'touching' or 'contour'"),
        (lambda: ku.border([[1]], radius_px=33), "radius_px is 33: input should be less than or equal to 32"),
        (lambda: ku.border([[1]], radius_px=1.5), "radius_px is 1.5: input should be a valid integer"),
        (lambda: ku.components([[1]], connectivity=6), "connectivity is 6; expected 4 or 8"),
        (lambda: ku.size_weights([[1]], reference_area_px=0), "reference_area_px is 0: input should be greater"),
        (lambda: ku.distance_weights([[1]], w0=-1), "w0 is -1: input should be greater than 0"),
        (lambda: ku.distance_weights([[1]], sigma_px=0), "sigma_px is 0: input should be greater than 0"),
        (lambda: ku.interval_of_mean([1.0], level=95), "level is 95; expected a fraction"),
        (lambda: ku.DecodeSettings(mask_treshold=0.4), "mask_treshold is not a setting; did you mean mask_threshold"),
        (lambda: ku.WeightSettings(size={"gama": 1}), r"size\.gama is not a setting; did you mean size.gamma"),
        (
            lambda: ku.Config(competition={"name": "tgs"}, model={"name": "x"}),
            "use plain_unet, smp, ternausnet or python:mod",
        ),
        (lambda: ku.decode_planes(np.zeros((1, 2, 3)), "mask", {"mask_treshold": 1}), "did you mean mask_threshold"),
        (lambda: ku.decode_planes(np.zeros((1, 2, 3)), "mask", [1]), "got list; expected settings, or a mapping"),
        (lambda: ku.weight_map([[1]], "distance"), "got str; expected settings, or a mapping"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_those_that_can(call, message):
    with pytest.raises(ku.ConfigError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ku.draw_outlines(np.zeros((2, 3), np.int64), [[0] * 3] * 2), "the image is int64"),
        (lambda: ku.draw_outlines(np.zeros(3, np.uint8), [[0] * 3] * 2), r"of shape \(3,\); expected uint8"),
        (
            lambda: ku.draw_outlines(np.zeros((2, 3), np.uint8), [[1]]),
            r"true labels of shape \(1, 1\); expected \(2, 3\)",
        ),
        (lambda: ku.decode_planes(np.zeros((1, 2, 3), np.uint8), "mask"), "planes of dtype uint8; expected probab"),
        (lambda: ku.decode_planes(np.zeros((1, 3)), "mask"), r"planes of shape \(1, 3\); expected mask of codec mask"),
        (lambda: ku.interval_of_mean([]), "at least one score"),
        (lambda: ku.interval_of_mean([1.0, 2.0], ["a"]), "1 groups for 2 values"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ku.DataError, match=message):
        call()


def test_colours_and_white_instances_go_by_ids_however_large():
    painted = ku.colour_labels([[0, 7, 2**31 - 1]], white=np.array([2**31 - 1]))[0].tolist()
    assert painted == [*ku.colour_labels([[0, 7]] * 9)[0].tolist(), [255, 255, 255]]
