"""Checking: every rule that Kaggle has, broken once."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.competitions.submission import check_submission, write_submission
from kaggle_unet.errors import DataError
from tests.strategies import labels as draw_labels
from tests.strategies import pairs as draw_pairs

SHAPES = {"a": (3, 4), "b": (2, 2)}  # 12 and 4 pixels
HEADERS = {"dsb2018": "ImageId,EncodedPixels", "tgs": "id,rle_mask"}


@pytest.fixture
def check(tmp_path):
    def check_lines(name, *lines, header=None, **options):
        (tmp_path / "x.csv").write_text("\n".join([header or HEADERS[name], *lines]) + "\n")
        return check_submission(tmp_path / "x.csv", get_competition(name), SHAPES, **options)

    return check_lines


def test_a_sound_file_has_no_errors(check):
    assert check("dsb2018", "b,1 1", "a,1 2 5 1", "a,3 1", "b,4 1") == ([], [])
    assert check("tgs", "b,", "a,1 2 3 1") == ([], [])


@pytest.mark.parametrize("name", ["dsb2018", "tgs"])
@pytest.mark.parametrize(
    ("code", "match"),
    [
        ("0 2", "starts before the first pixel"),
        ("-1 2", "starts before the first pixel"),
        ("3 0", "has no length"),
        ("3 -2", "has no length"),
        ("12 2", "ends past the last pixel, 12"),
        ("13 1", "ends past the last pixel, 12"),
        ("5 1 1 1", "not sorted"),
        ("1 3 2 3", "overlaps the previous run"),
        ("1 2 3", "3 numbers don't make pairs"),
        ("1.0 2", "not an integer"),
        ("x", "not an integer"),
    ],
)
def test_each_fault_of_a_code_is_found(check, name, code, match):
    errors, _ = check(name, "b,", f"a,{code}")
    assert len(errors) == 1
    assert errors[0].startswith("line 3, id 'a': ")
    assert match in errors[0]


def test_nan_for_empty_gets_a_hint(check):
    (error,), _ = check("tgs", "b,nan", "a,")
    assert error == "line 2, id 'b': 'nan' is not an integer of at most 18 digits; an empty field stands for no object"


def test_missing_and_unknown_ids_are_found(check):
    assert check("dsb2018", "c,1 1", "a,1 1", "c,2 1")[0] == [
        "1 image without a row: b; leave the field empty where nothing is",
        "1 id not in the test set: c (first in line 2)",
    ]


def test_ids_are_compared_as_text(check):
    errors, _ = check("dsb2018", "a ,1 1", "b,1 1")
    assert errors == [
        "1 image without a row: a; leave the field empty where nothing is",
        "1 id not in the test set: a  (first in line 2)",
    ]


def test_of_many_ids_five_are_named(tmp_path):
    (tmp_path / "x.csv").write_text("id,rle_mask\n")
    (error,), _ = check_submission(tmp_path / "x.csv", get_competition("tgs"), {str(i): (2, 2) for i in range(9)})
    assert error == "9 images without a row: 0, 1, 2, 3, 4, … and 4 more; leave the field empty where nothing is"


def test_two_rows_of_a_single_object_are_an_error(check):
    assert check("tgs", "a,1 1", "b,", "a,3 1")[0] == ["id 'a' has 2 rows, expected one: join its runs"]


def test_an_empty_row_beside_others_is_an_error(check):
    assert check("dsb2018", "a,1 1", "b,", "a,", "b,")[0] == [
        "id 'a' has 2 rows, 1 of them empty: remove these",
        "id 'b' has 2 rows, 2 of them empty: remove these",
    ]


def test_objects_that_share_pixels_are_an_error(check):
    assert check("dsb2018", "a,1 5", "b,1 1", "a,4 3")[0] == [
        "line 4, id 'a': shares 2 px with line 2; objects must not overlap"
    ]


def test_a_row_that_comes_twice_is_an_overlap(check):
    assert check("dsb2018", "b,", "a,1 2", "a,1 2")[0] == [
        "line 4, id 'a': shares 2 px with line 3; objects must not overlap"
    ]


@pytest.mark.parametrize("header", ["ImageId", "EncodedPixels,ImageId", "ImageId,EncodedPixels,x", "id,rle_mask"])
def test_other_columns_are_an_error(check, header):
    line = ",".join(["1"] * len(header.split(",")))
    assert check("dsb2018", line, header=header)[0] == [f"line 1 is {header!r}, expected 'ImageId,EncodedPixels'"]


def test_a_ragged_file_is_an_error_with_its_lines(check):
    errors, _ = check("dsb2018", "a,1 1,2", "b")
    assert errors[1:] == ["line 2 has 3 fields", "line 3 has 1 fields"]


@pytest.mark.parametrize("place", ["x.csv", "."])
def test_a_file_that_cannot_be_read_breaks_no_rule_but_is_an_error_of_its_own(tmp_path, place):
    with pytest.raises(DataError, match=r"cannot read .*; name a CSV file") as caught:
        check_submission(tmp_path / place, get_competition("tgs"), SHAPES)
    assert caught.value.problems == ()


def test_all_errors_are_found_at_once(check):
    errors, _ = check("dsb2018", "a,0 1", "c,1 1", "a,1 3", "a,2 1")
    assert [error[:6] for error in errors] == ["1 imag", "1 id n", "line 2", "line 5"]


def test_images_without_objects_are_worth_a_look(check):
    assert check("dsb2018", "a,1 1", "b,")[1] == ["1 id without any object: b"]


def test_full_masks_and_masks_on_black_tiles_are_worth_a_look(check):
    _, warnings = check("tgs", "a,1 12", "b,1 1", black=("b",))
    assert warnings == [
        "1 image without content, but with an object: b",
        "1 mask over the whole tile, which the truth never has: a",
    ]


@pytest.mark.parametrize(("n_blank", "is_unusual"), [(0, True), (332, True), (333, False), (477, False), (478, True)])
def test_an_unusual_share_of_empty_masks_is_worth_a_look(tmp_path, n_blank, is_unusual):
    # of 1,000 tiles, three standard errors are 4.74 %: 33.26 % to 47.74 % may be empty
    ids = [str(i) for i in range(1000)]
    rows = (f"{key},{'' if i < n_blank else '1 1'}" for i, key in enumerate(ids))
    (tmp_path / "x.csv").write_text("\n".join(["id,rle_mask", *rows]) + "\n")
    errors, warnings = check_submission(tmp_path / "x.csv", get_competition("tgs"), dict.fromkeys(ids, (2, 2)))
    assert errors == []
    assert (warnings != []) == is_unusual


def spoil(lines, kind, position):
    """Break one rule in the rows of a sound file."""
    i = position % len(lines)
    sample_id, code = lines[i].split(",")
    if kind == "drop":
        return [line for line in lines if not line.startswith(f"{sample_id},")]
    if kind == "twice":
        return [*lines, lines[i]]
    if kind == "odd":
        return [*lines[:i], f"{sample_id},{code} 7", *lines[i + 1 :]]
    if kind == "past":
        return [*lines[:i], f"{sample_id},{code} 100 1", *lines[i + 1 :]]
    if kind == "unsorted":
        return [*lines[:i], f"{sample_id},{code} 1 1", *lines[i + 1 :]]
    return [*lines[:i], f"x{sample_id},{code}", *lines[i + 1 :]]


@pytest.mark.parametrize("name", ["dsb2018", "tgs"])
@pytest.mark.parametrize("kind", ["drop", "twice", "odd", "past", "unsorted", "rename"])
@given(rows=st.dictionaries(st.sampled_from("abc"), draw_labels(max_side=6), min_size=1), position=st.integers(0, 20))
def test_a_spoilt_file_has_errors(name, kind, rows, position, tmp_path_factory):
    path = tmp_path_factory.mktemp("spoilt") / "x.csv"
    competition = get_competition(name)
    write_submission(path, rows, competition.name)
    header, *lines = path.read_text().splitlines()
    assume(kind != "unsorted" or lines[position % len(lines)][-1] != ",")
    path.write_text("\n".join([header, *spoil(lines, kind, position)]) + "\n")
    assert check_submission(path, competition, {key: labels.shape for key, labels in rows.items()})[0] != []


@given(pair=draw_pairs(max_side=6, max_id=3))
def test_overlaps_are_found_exactly_where_masks_share_pixels(pair, tmp_path_factory):
    true, extra = pair[0], (pair[1] > 0).astype(np.int32)
    assume(true.any() and extra.any())
    path = tmp_path_factory.mktemp("overlap") / "x.csv"
    competition = get_competition("dsb2018")
    write_submission(path, {"a": extra}, competition.name)
    line = path.read_text().splitlines()[1]
    write_submission(path, {"a": true}, competition.name)
    path.write_text(path.read_text() + line + "\n")
    errors, _ = check_submission(path, competition, {"a": true.shape})
    ids = np.unique(true[(extra > 0) & (true > 0)])
    assert len(errors) == ids.size
