"""Writing: the bytes of a submission, worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.registry import COMPETITIONS, get_competition
from kaggle_unet.competitions.submission import check_submission, order_ids, read_submission, write_submission
from kaggle_unet.competitions.truth import read_truth
from kaggle_unet.errors import ResourceError
from tests.files import png, write_zip, zipped
from tests.strategies import labels as draw_labels

# Column-major numbers:  1 4 7
#                        2 5 8
#                        3 6 9
LABELS = np.array([[2, 0, 0], [2, 0, 5], [0, 0, 5]], np.int32)
ROWS = {"b": LABELS, "a": LABELS * 0}


def test_every_object_has_a_row_and_an_image_without_any_has_an_empty_one(tmp_path):
    write_submission(tmp_path / "x.csv", ROWS, "dsb2018")
    assert (tmp_path / "x.csv").read_bytes() == b"ImageId,EncodedPixels\nb,1 2\nb,8 2\na,\n"
    assert read_submission(tmp_path / "x.csv", "dsb2018") == {"b": ["1 2", "8 2"], "a": []}


def test_a_single_object_has_one_row_per_image(tmp_path):
    write_submission(tmp_path / "x.csv", ROWS, "tgs")
    assert (tmp_path / "x.csv").read_bytes() == b"id,rle_mask\nb,1 2 8 2\na,\n"


def test_ids_with_commas_and_quotes_are_read_back(tmp_path):
    rows = {'a,"b"': LABELS, "007": LABELS}
    write_submission(tmp_path / "x.csv", rows, "folder")
    assert list(read_submission(tmp_path / "x.csv", "folder")) == list(rows)


def test_folders_are_made_and_an_impossible_path_leaves_nothing(tmp_path):
    write_submission(tmp_path / "new" / "x.csv", ROWS, "tgs")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.csv"]
    with pytest.raises(ResourceError, match="one of its folders is a file"):
        write_submission(tmp_path / "new" / "x.csv" / "y.csv", ROWS, "tgs")


def test_a_fault_while_writing_leaves_the_old_file(tmp_path):
    class Broken(dict):
        def items(self):
            yield "b", LABELS
            raise RuntimeError

    write_submission(tmp_path / "x.csv", ROWS, "tgs")
    before = (tmp_path / "x.csv").read_bytes()
    with pytest.raises(RuntimeError):
        write_submission(tmp_path / "x.csv", Broken(), "tgs")
    assert (tmp_path / "x.csv").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@given(rows=st.dictionaries(st.text("0123456789ab e", min_size=1, max_size=4), draw_labels(), min_size=1, max_size=4))
@pytest.mark.parametrize("name", sorted(COMPETITIONS))
def test_what_is_written_breaks_no_rule(name, rows, tmp_path_factory):
    path = tmp_path_factory.mktemp("submission") / "x.csv"
    competition = get_competition(name)
    write_submission(path, rows, competition.name)
    assert check_submission(path, competition, {key: labels.shape for key, labels in rows.items()})[0] == []
    first = path.read_bytes()
    write_submission(path, rows, competition.name)
    assert path.read_bytes() == first


@given(labels=draw_labels())
def test_a_submission_with_sizes_read_as_truth_is_what_was_written(labels, tmp_path_factory):
    path = tmp_path_factory.mktemp("truth") / "x.csv"
    competition = get_competition("dsb2018")
    write_submission(path, {"a": labels}, competition.name)
    header, *lines = path.read_text().splitlines()
    size = ",".join(map(str, labels.shape))
    path.write_text("\n".join([f"{header},Height,Width", *(f"{line},{size}" for line in lines)]) + "\n")
    truth = read_truth(str(path), competition, CompetitionSettings(name="dsb2018"))
    np.testing.assert_array_equal(truth["a"], labels)


def test_a_submission_of_many_objects_is_checked_whatever_the_limit_of_lines(tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_UNET_MAX_CSV_LINES", "3")
    labels = np.arange(1, 7).reshape(1, 6)
    write_submission(tmp_path / "x.csv", {"a": labels})
    assert check_submission(tmp_path / "x.csv", get_competition("dsb2018"), {"a": labels.shape})[0] == []


def test_the_sample_submission_decides_the_order_if_it_lists_the_same_ids(tmp_path):
    competition = get_competition("tgs")
    data = write_zip(tmp_path / "test.zip", {"images/a.png": png(LABELS.astype(np.uint8))})
    assert order_ids(("b", "a", "10"), competition, data) == ("10", "a", "b")
    (tmp_path / "sample_submission.csv").write_text("id,rle_mask\nb,1 1\n10,1 1\na,1 1\n")
    assert order_ids(("b", "a", "10"), competition, data) == ("b", "10", "a")
    assert order_ids(("b", "a"), competition, data) == ("a", "b")


def test_the_sample_submission_of_the_right_stage_is_taken(tmp_path):
    tables = {
        "stage1_sample_submission.csv": b"ImageId,EncodedPixels\nz,1 1\n",
        "stage2_sample_submission_final.csv": b"ImageId,EncodedPixels\nb,1 1\na,1 1\n",
    }
    inner = {"stage2_test_final.zip": zipped({"a/images/a.png": png(LABELS.astype(np.uint8))})}
    data = write_zip(tmp_path / "outer.zip", inner | tables)
    assert order_ids(("a", "b"), get_competition("dsb2018"), f"{data}:stage2_test_final.zip") == ("b", "a")
