"""Nobody's files are replaced: neither those that a verb reads, nor others that lie where it writes."""

import shutil

import pytest

from kaggle_unet.synthetic.files import write_folder
from tests.steps.conftest import call

folder_only = pytest.mark.parametrize("trained", ["folder"], indirect=True)


def contents(folder):
    return {
        path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and ".lock" not in path.name
    }


def is_refused(home, *words):
    before = contents(home)
    answer = call(*words)
    return answer.code == 2 and contents(home) == before and "another" in answer.err


@folder_only
@pytest.mark.parametrize("place", ["images", "masks"])
def test_label_images_replace_no_images_and_masks(trained, tmp_path, place):
    write_folder(tmp_path / "data", 2, 4, shape=(48, 56), suffix="tif")
    words = ("submit", trained.run, "--data", tmp_path / "data", "-o", tmp_path / "x.csv", "--labels")
    assert is_refused(tmp_path, *words, tmp_path / "data" / place)
    for _ in range(2):  # its own it replaces
        assert call(*words, tmp_path / "labels").code == 0
    shutil.move(tmp_path / "labels", tmp_path / "data" / "labels")  # and they are read as any others
    shutil.rmtree(tmp_path / "data" / "masks")
    answer = call("score", tmp_path / "x.csv", "--truth", tmp_path / "data")
    assert (answer.code, "score    1.0000" in answer.out) == (0, True), answer.out + answer.err


@folder_only
def test_scores_and_reports_do_not_replace_what_they_are_of(trained, tmp_path):
    shutil.copytree(trained.test, tmp_path / "data")
    csv, truth = tmp_path / "x.csv", tmp_path / "truth.csv"
    assert call("submit", trained.run, "--data", tmp_path / "data", "-o", csv).code == 0
    assert call("convert", tmp_path / "data" / "masks", truth, "--to", "rle").code == 0
    for table in (csv, truth):
        assert is_refused(tmp_path, "score", csv, "--truth", truth, "--table", table)
    beside = csv.rename(tmp_path / "t_objects.csv")
    assert is_refused(tmp_path, "score", beside, "--truth", truth, "--table", tmp_path / "t.csv")
    assert is_refused(tmp_path, "report", "--csv", beside, "--data", tmp_path / "data", "-o", beside)


@folder_only
def test_a_csv_of_someone_else_is_not_replaced_by_a_submission(trained, tmp_path):
    (tmp_path / "masks.csv").write_text("ImageId,EncodedPixels\n")
    words = ("submit", trained.run, "--data", trained.test, "-o")
    assert is_refused(tmp_path, *words, tmp_path / "masks.csv")
    for _ in range(2):
        assert call(*words, tmp_path / "x.csv").code == 0


@folder_only
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_exported_targets_replace_no_data(trained, tmp_path, suffix):
    write_folder(tmp_path / "data", 2, 4, shape=(48, 56))
    words = (
        "make-targets",
        trained.config,
        "--data",
        tmp_path / "data",
        "--store",
        tmp_path.parent / f"store_{suffix}",
    )
    assert is_refused(tmp_path, *words, "--export", suffix, tmp_path / "data")
    for _ in range(2):
        assert call(*words, "--export", suffix, tmp_path / "out").code == 0


@folder_only
def test_planes_replace_no_arrays_of_someone_else(trained, tmp_path):
    words = ("predict", trained.run, "--data", trained.test, "--planes")
    image = sorted((trained.test / "images").iterdir())[0]
    for name in (f"{image.stem}.npz", "planes.json"):
        (tmp_path / "mine").mkdir(exist_ok=True)
        file = tmp_path / "mine" / name
        file.write_text("mine")
        assert is_refused(tmp_path, *words, file.parent)
        file.unlink()
    for _ in range(2):
        assert call(*words, tmp_path / "planes").code == 0


@folder_only
def test_a_report_replaces_reports_alone(trained, tmp_path):
    run = shutil.copytree(trained.run, tmp_path / "run")
    (tmp_path / "notes.html").write_text("<!doctype html><title>mine</title>")
    shutil.copy(run / "config.yaml", tmp_path / "other.yaml")
    for page in (run / "config.yaml", tmp_path / "notes.html"):
        for of in (run, trained.store):
            assert is_refused(tmp_path, "report", of, "-o", page)
    decoding = tmp_path / "other.yaml"
    assert is_refused(tmp_path, "report", run, "--against", decoding, "-o", decoding)
    for _ in range(2):
        assert call("report", trained.store, "-o", tmp_path / "x.html").code == 0


@folder_only
def test_tables_of_scores_replace_such_tables_alone(trained, tmp_path):
    run = shutil.copytree(trained.run, tmp_path / "run")
    (tmp_path / "my.json").write_text("{}")
    (tmp_path / "lab.csv").write_text("id,fold,group\n")
    (tmp_path / "cells_objects.csv").write_text("cell,area\n")
    for table in (
        run / "folds.csv",
        run / "fold0" / "metrics.csv",
        tmp_path / "my.json",
        tmp_path / "lab.csv",
        tmp_path / "cells.csv",
    ):
        assert is_refused(tmp_path, "score", run, "--table", table)
    for _ in range(2):
        answer = call("score", run, "--table", run / "t.csv")
        assert answer.code == 0, answer.err


@folder_only
def test_a_model_of_someone_else_is_not_replaced(trained, tmp_path):
    (tmp_path / "net.onnx").write_text("mine")
    assert is_refused(tmp_path, "export", trained.run, "-o", tmp_path / "net.onnx")


@folder_only
def test_a_submission_removes_no_file_beside_it(trained, tmp_path):
    (tmp_path / "x.rejected.csv").write_text("mine")
    assert call("submit", trained.run, "--data", trained.test, "-o", tmp_path / "x.csv").code == 0
    assert (tmp_path / "x.rejected.csv").read_text() == "mine"
