"""CSV files: text stays text, and faults have lines."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_unet.errors import DataError
from kaggle_unet.io.archive import open_archive
from kaggle_unet.io.tables import read_csv, read_table, read_table_beside
from tests.files import write_zip


def test_ids_that_look_like_numbers_and_blanks_stay_text():
    table = read_table(b"id,z\n00441,\n8e13060816,NA\nnan,1\n", "x.csv")
    assert table.rows == (("00441", ""), ("8e13060816", "NA"), ("nan", "1"))


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbfid,z\r\na,1\r\n", b"id,z\na,1", b"\nid,z\n\n\na,1\n\n", b'"id","z"\n"a","1"\n']
)
def test_byte_order_marks_line_ends_blank_lines_and_quotes_do_not_matter(data):
    table = read_table(data, "x.csv")
    assert (table.columns, table.rows) == (("id", "z"), (("a", "1"),))


def test_lines_are_those_of_the_file():
    assert read_table(b"id,z\n\na,1\nb,2\n", "x.csv").lines == (3, 4)


@given(st.text("ab,, \t\n\r\x0b\x0c\x1c\x85\u2028'é"))
def test_a_text_without_quotes_is_split_as_the_csv_module_splits_it(text):
    reader = csv.reader(io.StringIO("x,y\n" + text, newline=""), strict=True)
    rows = [(reader.line_num, tuple(row)) for row in reader if row][1:]
    if any(len(row) != 2 for _, row in rows):
        with pytest.raises(DataError, match="expected 2 fields"):
            read_table(("x,y\n" + text).encode(), "x.csv")
    else:
        table = read_table(("x,y\n" + text).encode(), "x.csv")
        assert list(zip(table.lines, table.rows, strict=True)) == rows


def test_columns_are_selected_by_name_in_any_order():
    assert list(read_table(b"id,z,w\na,1,2\n", "x.csv").select("w", "id")) == [("2", "a")]
    with pytest.raises(DataError, match=r"x\.csv has the columns id, z, w; expected id, fold: fold missing"):
        list(read_table(b"id,z,w\n", "x.csv").select("id", "fold"))


def test_all_rows_of_another_length_are_named():
    with pytest.raises(DataError, match="expected 2 fields on every line") as caught:
        read_table(b"id,z\na\nb,1\nc,1,2\n", "x.csv")
    assert caught.value.problems == ("line 2 has 1 fields", "line 4 has 3 fields")
    with pytest.raises(DataError) as caught:
        read_table(b"id,z\n" + b"a\n" * 30, "x.csv")
    assert caught.value.problems[-1] == "… and 10 more"


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "is empty"),
        (b"\xff\xfe\x00", r"is not a CSV \(line 1: "),
        (b"id,z\na,1\nb,\xe9\n", r"is not a CSV \(line 3: "),
        (b'id,z\na,1\n"b,1\nc,2\n', r"not a CSV \(line 3: unexpected end"),
    ],
)
def test_what_is_no_table_is_named(data, match):
    with pytest.raises(DataError, match=rf"^x\.csv {match}|^x\.csv is {match}"):
        read_table(data, "x.csv")


def test_codes_may_be_longer_than_the_csv_module_allows_by_itself():
    code = "1 1 " * 100_000
    csv.field_size_limit(131_072)
    assert read_table(f"id,rle\na,{code}\n".encode(), "x.csv").rows == (("a", code),)
    assert csv.field_size_limit() == 131_072


def test_a_table_beside_an_archive_is_read_or_is_none(tmp_path):
    archive = open_archive(write_zip(tmp_path / "a.zip", {"x/depths.csv": b"id,z\na,1\n"}))
    assert read_table_beside(archive, "depths.csv").where == f"{tmp_path}/a.zip:x/depths.csv"
    assert read_table_beside(archive, "train.csv") is None


def test_a_csv_that_is_missing_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*x\.csv: No such file or directory"):
        read_csv(tmp_path / "x.csv")


def test_a_csv_of_more_lines_than_memory_holds_is_refused_before_it_is_split(monkeypatch):
    monkeypatch.setenv("KAGGLE_UNET_MAX_CSV_LINES", "3")
    read_table(b"id,z\na,1\nb,2\n", "x.csv")
    with pytest.raises(DataError, match=r"x\.csv has too many lines: 4 is above the limit of 3"):
        read_table(b"id,z\na,1\nb,2\nc,3\n", "x.csv")
    assert len(read_table(b"id,z\na,1\nb,2\nc,3\n", "x.csv", allowed=4).rows) == 3
