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
