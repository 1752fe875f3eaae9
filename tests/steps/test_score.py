"""Images are scored from their overlaps; the edge cases of the table in docs/scores.md."""

import shutil

import numpy as np
import pandas
import pytest
import tifffile
from hypothesis import given, settings

from kaggle_unet.cli import main
from kaggle_unet.competitions.label_files import LABEL_FORMATS, write_labels
from kaggle_unet.competitions.registry import COMPETITIONS, get_competition
from kaggle_unet.errors import DataError
from kaggle_unet.steps import score
from tests import strategies
from tests.steps.conftest import call


@pytest.mark.parametrize("name", list(COMPETITIONS))
@given(pair=strategies.pairs())
@settings(max_examples=30, deadline=None)
def test_a_score_from_overlaps_is_the_competitions(name, pair):
    scored, expected = score.score_pair("a", *pair, name).score, get_competition(name).metric(*pair)

    assert (scored.tp.tolist(), scored.fp.tolist(), scored.fn.tolist()) == (
        expected.tp.tolist(),
        expected.fp.tolist(),
        expected.fn.tolist(),
    )


def test_a_single_object_is_scored_as_one_and_its_errors_are_tabulated_so():
    true, pred = np.array([[1, 2, 0, 0]], np.int32), np.array([[1, 1, 0, 2]], np.int32)

    result = score.summarize_scores([score.score_pair("a", true, pred, "tgs")])

    assert result.score == get_competition("tgs").metric(true, pred).mean
    assert (result.true_objects, result.predicted_objects) == (2, 2)  # as they were given
    assert result.per_area.objects.tolist()[-1] == 1
    assert result.oracle_fixes.score.max() == 1


def test_objects_are_counted_by_side():
    true, pred = np.array([[1, 2, 3]]), np.array([[1, 1, 0]])

    result = score.summarize_scores([score.score_pair(id_, true, pred, "dsb2018") for id_ in "ab"])

    assert (result.true_objects, result.predicted_objects) == (6, 2)


def test_an_image_that_is_missing_from_the_csv_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text("ImageId,EncodedPixels\na,1 1\n")
    truth = {id_: np.ones((2, 2), dtype=np.int32) for id_ in "abc"}

    with pytest.raises(DataError, match="2 of the 3 images to be scored are missing") as caught:
        score.score_submission(tmp_path / "x.csv", truth, "dsb2018")
    assert caught.value.problems == ("b", "c")


def test_an_empty_field_is_an_empty_prediction_and_other_images_do_not_count(tmp_path):
    (tmp_path / "x.csv").write_text("ImageId,EncodedPixels\na,1 4\nb,\nelsewhere,1 1\n")
    truth = {"a": np.ones((2, 2), dtype=np.int32), "b": np.zeros((2, 2), dtype=np.int32)}

    result = score.score_submission(tmp_path / "x.csv", truth, "dsb2018")

    assert result.per_image == {"a": 1, "b": 1}
    assert result.per_iou.ap_per_image[0] == 0.5


def test_no_image_at_all_is_refused():
    with pytest.raises(DataError, match="no image to score"):
        score.summarize_scores([])


TRUE = np.zeros((12, 16), np.int32)
TRUE[1:5, 1:5], TRUE[7:11, 8:14] = 1, 2


@pytest.mark.parametrize("format", ["tiff", "coco", "geojson"])
@pytest.mark.parametrize("true_format", ["png", "rle"])
def test_labels_of_any_format_are_scored_against_any_other_and_tables_have_a_row_each(tmp_path, format, true_format):
    found = np.roll(TRUE, 1, axis=1)
    found[1, 1] = 3  # a pixel of the first true object
    places = {}
    for name, labels, kind in (("pred", found, format), ("truth", TRUE, true_format)):
        places[name] = tmp_path / (f"{name}{LABEL_FORMATS[kind].suffix}" if LABEL_FORMATS[kind].holds_many else name)
        write_labels({"a": labels, "b": np.where(labels == 1, 1, 0)}, places[name], kind)

    with pytest.raises(SystemExit) as end:
        main(["score", str(places["pred"]), "--truth", str(places["truth"]), "--table", str(tmp_path / "t.csv")])

    assert end.value.code == 0
    images, objects = pandas.read_csv(tmp_path / "t.csv"), pandas.read_csv(tmp_path / "t_objects.csv")
    assert images.score.tolist() == pytest.approx(
        [
            get_competition("folder").metric(TRUE, found).mean,
            get_competition("folder").metric(TRUE == 1, found == 1).mean,
        ],
        abs=1e-5,
    )
    assert images[["true_objects", "predicted_objects"]].to_numpy().tolist() == [[2, 3], [1, 1]]
    rows = objects[objects.id == "a"].set_index(["side", "object"])
    assert rows.iou.tolist() == pytest.approx([12 / 20, 20 / 28, 12 / 20, 20 / 28, 1 / 16], abs=1e-5)
    assert rows.partner.tolist() == [1, 2, 1, 2, 1]
    assert rows.area_px.tolist() == [16, 24, 16, 24, 1]


def test_labels_of_another_size_than_the_truth_are_named(tmp_path):
    truth = {"a": TRUE}
    with pytest.raises(DataError, match=r"pred: image 'a' is \(12, 15\) \(height, width\), its truth \(12, 16\)"):
        score.score_labels(tmp_path / "pred", {"a": TRUE[:, 1:]}, truth, "folder")


@pytest.mark.parametrize(
    "words",
    [
        ("x.csv", "--truth", "t", "--decode", "d.yaml"),
        ("x.csv", "--truth", "t", "--store", "s"),
        ("x.csv", "--truth", "t", "--run", "r"),
        ("--run", "r", "--truth", "t"),
        ("r", "--masks", "m"),
        ("r", "--masks-are", "binary"),
        ("X.CSV",),
    ],
)
def test_options_of_runs_and_of_submissions_are_not_mixed(words):
    answer = call("score", *words)
    assert (answer.code, "score: give either RUN" in answer.err) == (2, True)


def test_a_faulty_code_is_named_with_its_file_and_image(tmp_path):
    with pytest.raises(DataError, match=r"X\.CSV: image 'a': "):
        score.score_labels(tmp_path / "X.CSV", {"a": ["1999 5"]}, {"a": TRUE}, "folder")


@pytest.mark.parametrize(
    ("true_name", "name"), [("a.ome", "a"), ("cell_seg", "cell"), ("Zellü", "zellu\N{COMBINING DIAERESIS}")]
)
def test_names_match_as_those_of_masks_and_images_do(tmp_path, true_name, name):
    truth = {true_name: TRUE, "b": TRUE}
    said = []
    scores = score.score_labels(tmp_path, {name: TRUE, "b": TRUE == 1, "c": TRUE}, truth, "folder", said.append)
    assert said == [f"{tmp_path}: 1 images are not in the truth and not scored: c"]
    assert scores.per_image == {true_name: 1.0, "b": pytest.approx(scores.per_image["b"])}
    for predicted in ({name: TRUE, "b": TRUE, "B": TRUE}, {name: TRUE}):
        with pytest.raises(DataError, match="images to be scored are missing"):
            score.score_labels(tmp_path, predicted, truth, "folder")


def test_predictions_laid_out_like_the_truth_are_read_like_it(tmp_path):
    for name in ("pred", "truth"):
        write_labels({"a": TRUE, "b": TRUE == 1}, tmp_path / name / "nuclei", "png")
        write_labels({"a": TRUE * 100, "b": TRUE * 100}, tmp_path / name / "images", "png")
    places = {"images": "images", "masks": "nuclei", "masks_are": None}
    assert score.score_predictions(tmp_path / "pred", str(tmp_path / "truth"), "folder", **places).score == 1
    shutil.move(tmp_path / "pred" / "nuclei", tmp_path / "alone")
    assert score.score_predictions(tmp_path / "alone", str(tmp_path / "truth"), "folder", **places).score == 1


@pytest.mark.parametrize("format", ["tiff", "png", "ome-tiff"])
def test_predicted_label_images_are_scored_by_their_numbers(tmp_path, format):
    whole = np.ones_like(TRUE)
    for n, found in enumerate((np.where(TRUE, 1, 0), whole, whole + (TRUE > 0))):  # merged, full, nothing is 0
        truth, pred = tmp_path / f"truth{n}", tmp_path / f"pred{n}"
        write_labels({"a": TRUE, "b": TRUE}, truth, "png")
        write_labels({"a": found, "b": found}, pred, format)
        (pred / "labels").mkdir()
        for place in (pred, pred / "labels"):  # bare, and as segment writes them
            scores = score.score_predictions(pred, str(truth), "folder", images="images", masks="masks", masks_are=None)
            assert scores.score == pytest.approx(get_competition("folder").metric(TRUE, found).mean)
            assert scores.predicted_objects == 2 * found.max()
            for file in list(pred.glob("*.*")) if place == pred else ():
                shutil.move(file, pred / "labels")


@pytest.mark.parametrize(
    ("dtype", "inside"), [("uint8", 255), ("float32", 1), ("int32", 255), ("uint16", 65535), ("uint8", 1)]
)
def test_predicted_binary_masks_of_any_type_are_components(tmp_path, dtype, inside):
    write_labels({"a": TRUE, "b": TRUE}, tmp_path / "truth", "png")
    (tmp_path / "pred").mkdir()
    for name in "ab":
        tifffile.imwrite(tmp_path / "pred" / f"{name}.tif", ((TRUE > 0) * inside).astype(dtype))
    places = {"images": "images", "masks": "masks", "masks_are": None}
    assert score.score_predictions(tmp_path / "pred", str(tmp_path / "truth"), "folder", **places).score == 1


def test_one_file_of_more_than_8_bits_makes_all_label_images(tmp_path):
    write_labels({"a": TRUE, "b": TRUE}, tmp_path / "truth", "png")
    merged = (TRUE > 0).astype(np.uint8)
    (tmp_path / "pred").mkdir()
    for name, dtype in (("a", np.uint8), ("b", np.uint16)):
        tifffile.imwrite(tmp_path / "pred" / f"{name}.tif", merged.astype(dtype))
    places = {"images": "images", "masks": "masks", "masks_are": None}
    scores = score.score_predictions(tmp_path / "pred", str(tmp_path / "truth"), "folder", **places)
    assert scores.predicted_objects == 2


def test_a_submission_whose_objects_overlap_is_refused_as_kaggle_refuses_it(tmp_path):
    (tmp_path / "x.csv").write_text("ImageId,EncodedPixels\na,1 4\na,3 2\n")
    with pytest.raises(
        DataError, match=r"x\.csv: image 'a': 2 pixels are in more than one object, which Kaggle refuses"
    ):
        score.score_submission(tmp_path / "x.csv", {"a": TRUE}, "dsb2018")
