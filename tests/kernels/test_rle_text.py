import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.kernels.rle import UNREADABLE, read_rle_text, write_rle_text
from tests import naive


def write(instances, n_digits=18):
    runs = np.array([run for runs in instances for run in runs], dtype=np.int64).reshape(-1, 2)
    firsts = np.cumsum([0, *map(len, instances)])
    text = np.full(len(runs) * 2 * (n_digits + 1), ord("x"), dtype=np.uint8)
    return bytes(text[write_rle_text(runs, firsts, text) :])


def read(text, n_codes, n_px):
    """Read runs by code, or nothing if they are unreadable."""
    runs, firsts = np.empty((len(text) // 4, 2), dtype=np.int64), np.empty(n_codes + 1, dtype=np.int64)
    n_runs = read_rle_text(np.frombuffer(text, dtype=np.uint8), n_px, runs, firsts)
    if n_runs == UNREADABLE:
        return None
    assert firsts[-1] == n_runs
    return [list(map(tuple, part.tolist())) for part in np.split(runs[:n_runs], firsts[1:-1])] if n_codes else []


@pytest.mark.parametrize("number", [1, 9, 10, 11, 99, 100, 101, 999, 1000, 1010, 99_999, 123_456_789, 10**18 - 1])
def test_numbers_are_written_without_leading_zeros(number):
    assert write([[(number - 1, number)]]) == f"{number} {number}\n".encode()


def test_a_line_has_one_instance():
    assert write([[(0, 3), (9, 12)], [(4, 1)]]) == b"1 3 10 12\n5 1\n"
    assert write([]) == b""


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 10**17), st.integers(1, 10**17)), min_size=1, max_size=4), max_size=4)
)
@settings(max_examples=50, deadline=None)
def test_codes_are_written_as_python_writes_numbers(instances):
    lines = [" ".join(f"{start + 1} {length}" for start, length in runs) for runs in instances]

    assert write(instances) == "".join(f"{line}\n" for line in lines).encode()


def test_codes_are_read_line_by_line_whatever_the_spaces():
    assert read(b"1 3 10 2\n\n  05   1 \n", 3, n_px=11) == [[(0, 3), (9, 2)], [], [(4, 1)]]
    assert read(b"", 0, n_px=11) == []


@pytest.mark.parametrize(
    ("text", "n_codes"),
    [
        (b"1 1\n1 1\n", 1),
        (b"1 1\n", 2),
        (b"1 1", 1),
        (b"1\n", 1),
        (b"1 1 2\n1\n", 2),
        (b"1\t1\n", 1),
        (b"+1 1\n", 1),
        (b"1 -1\n", 1),
        (b"0 1\n", 1),
        (b"1 0\n", 1),
        (b"5 3\n", 1),
        (b"7 1\n", 1),
        (b"1 2 2 1\n", 1),
        (b"4 1 1 1\n", 1),
        (b"1 1 1 1\n", 1),
        (b"1 1000000000000000000\n", 1),
        (b"1 0000000000000000001\n", 1),
        (b"1 99999999999999999999999\n", 1),
        (b"1 1:\n", 1),
        (b"/ 1\n", 1),
    ],
)
def test_text_that_is_not_plain_or_breaks_a_rule_is_not_read(text, n_codes):
    assert read(text, n_codes, n_px=6) is None


def test_lines_beyond_those_expected_write_nothing():
    firsts = np.full(4, 9)

    read_rle_text(np.frombuffer(b"1 1\n1 1\n1 1\n", dtype=np.uint8), 6, np.empty((3, 2), dtype=np.int64), firsts[:2])

    assert firsts.tolist() == [0, 1, 9, 9]


def test_runs_may_touch_and_end_on_the_last_pixel_and_each_line_begins_anew():
    assert read(b"1 2 3 1 6 1\n1 6\n", 2, n_px=6) == [[(0, 2), (2, 1), (5, 1)], [(0, 6)]]


@given(st.lists(st.text(alphabet="0123456789 ", max_size=12), max_size=3), st.integers(1, 60))
@settings(max_examples=200, deadline=None)
def test_codes_are_read_as_the_twin_reads_them(lines, n_px):
    text = "".join(f"{line}\n" for line in lines).encode()

    assert read(text, len(lines), n_px) == naive.read_rle_text(lines, n_px)
