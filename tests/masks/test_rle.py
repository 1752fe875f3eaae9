import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.errors import DataError
from kaggle_unet.masks.rle import (
    decode,
    decode_and_count,
    decode_mask,
    describe_faults,
    encode,
    encode_mask,
    find_invalid_rles,
)
from tests import naive, realdata, strategies


def test_pixels_are_counted_down_the_columns_from_one():
    mask = np.array([[0, 0, 1], [1, 0, 1]], dtype=bool)

    assert encode_mask(mask) == "2 1 5 2"


def test_a_run_goes_on_over_the_foot_of_a_column():
    mask = np.array([[0, 1], [1, 0]], dtype=bool)

    assert encode_mask(mask) == "2 2"


def test_a_run_may_end_on_the_last_pixel():
    assert encode_mask(np.ones((2, 3), dtype=bool)) == "1 6"
    assert decode_mask("6 1", (2, 3)).tolist() == [[False, False, False], [False, False, True]]


def test_an_empty_mask_is_the_empty_text_and_back():
    assert encode_mask(np.zeros((2, 3), dtype=bool)) == ""
    assert not decode_mask("", (2, 3)).any()
    assert not decode_mask(" ", (2, 3)).any()


def test_runs_that_could_be_one_are_read():
    assert decode_mask("1 2 3 1", (3, 1)).all()


@given(strategies.masks())
@settings(max_examples=50, deadline=None)
def test_decoding_gives_the_mask_back(mask):
    assert (decode_mask(encode_mask(mask), mask.shape) == mask).all()


@given(strategies.masks())
@settings(max_examples=50, deadline=None)
def test_codes_are_those_of_the_twin(mask):
    rle = encode_mask(mask)

    assert rle == naive.encode_mask(mask)
    assert (naive.decode_mask(rle, mask.shape) == mask).all()


@given(strategies.masks())
@settings(max_examples=20, deadline=None)
def test_memory_order_does_not_matter(mask):
    assert encode_mask(np.asfortranarray(mask)) == encode_mask(mask)
    assert encode_mask(mask.T) == encode_mask(mask.T.copy())


@given(strategies.labels())
@settings(max_examples=50, deadline=None)
def test_every_instance_is_coded_as_its_own_mask(labels):
    rles = encode(labels)

    assert rles == [naive.encode_mask(labels == i) for i in range(1, labels.max() + 1)]


@given(strategies.labels())
@settings(max_examples=50, deadline=None)
def test_decoding_gives_the_labels_back(labels):
    decoded, n_contested = decode_and_count(encode(labels), labels.shape)

    assert (decoded == labels).all()
    assert n_contested == 0


def test_ids_that_are_missing_have_no_code():
    assert encode(np.array([[2, 0, 9]], dtype=np.int32)) == ["1 1", "3 1"]


@pytest.mark.parametrize("highest", [8, 2**31 - 1])
def test_ids_may_be_any(highest):
    labels = np.array([[highest, 7, 0], [highest, 7, 7]], dtype=np.int32)

    assert encode(labels) == ["3 2 6 1", "1 2"]


@given(strategies.labels(max_side=20, max_id=1))
@settings(max_examples=20, deadline=None)
def test_memory_order_and_type_of_labels_do_not_matter(labels):
    rles = encode(labels)

    assert encode(np.asfortranarray(labels)) == rles
    assert encode(labels[::-1][::-1].astype(np.uint16)) == rles
    assert [encode_mask(labels * 255)] == (rles or [""])


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_an_image_without_pixels_has_no_codes(shape):
    assert encode(np.zeros(shape, dtype=np.int32)) == []
    assert encode_mask(np.zeros(shape, dtype=bool)) == ""
    assert decode([""], shape).shape == shape


def test_an_image_without_instances_has_no_codes():
    assert encode(np.zeros((2, 2), dtype=np.int32)) == []
    assert decode([], (2, 2)).max() == 0


def test_contested_pixels_go_to_the_smaller_instance():
    labels, n_contested = decode_and_count(["1 4", "4 2"], (6, 1))

    assert labels.ravel().tolist() == [1, 1, 1, 2, 2, 0]
    assert n_contested == 1


@given(st.lists(strategies.masks(max_side=6), max_size=4))
@settings(max_examples=100, deadline=None)
def test_overlapping_codes_are_painted_as_overlapping_masks(masks):
    masks = [np.resize(mask, (6, 5)) for mask in masks]
    labels, n_contested = decode_and_count([encode_mask(mask) for mask in masks], (6, 5))
    expected, n_expected, _ = naive.paint_masks(masks, (6, 5))

    assert (labels == expected).all()
    assert n_contested == n_expected


@pytest.mark.parametrize("odd", ["+3 1", "3\t1", "3\n1", "\u20033 1", " 3 1\r\n"])
def test_signs_and_any_white_space_are_read_as_int_reads_them(odd):
    labels = decode(["1 2", odd, "\n"], (3, 1))

    assert labels.ravel().tolist() == [1, 1, 2]


def test_blank_codes_have_no_id():
    labels = decode(["", "2 1"], (2, 1))

    assert labels.ravel().tolist() == [0, 1]


@pytest.mark.parametrize(
    ("rle", "fault"),
    [
        ("1", "1 numbers don't make pairs of start and length"),
        ("1 2 3", "3 numbers don't make pairs of start and length"),
        ("1 nan", "'nan' is not an integer of at most 18 digits"),
        ("1.0 2", "'1.0' is not an integer of at most 18 digits"),
        ("1_0 2", "'1_0' is not an integer of at most 18 digits"),
        ("1 9999999999999999999", "'9999999999999999999' is not an integer of at most 18 digits"),
        ("0 2", "run '0 2' starts before the first pixel, 1"),
        ("3 0", "run '3 0' has no length"),
        ("3 -1", "run '3 -1' has no length"),
        ("5 3", "run '5 3' ends past the last pixel, 6"),
        ("5 1 2 1", "run '2 1' is not sorted: it starts before the previous run"),
        ("1 3 3 1", "run '3 1' overlaps the previous run"),
    ],
)
def test_every_fault_is_named_with_the_run(rle, fault):
    assert describe_faults(rle, 6) == [fault]


def test_all_broken_rules_are_listed():
    assert len(describe_faults("0 9 2 0 1 1", 6)) == 5


@pytest.mark.parametrize("rle", ["", "1 6", "1 2 3 1", "6 1"])
def test_sound_codes_have_no_faults(rle):
    assert describe_faults(rle, 6) == []


@given(st.text(alphabet="0123456789 -+.", max_size=12))
@settings(max_examples=100, deadline=None)
def test_a_text_is_decoded_exactly_when_it_has_no_faults(text):
    if describe_faults(text, 12):
        with pytest.raises(DataError, match="run-length code"):
            decode_mask(text, (3, 4))
    else:
        assert (decode_mask(text, (3, 4)) == naive.decode_mask(text, (3, 4))).all()


@given(st.lists(st.tuples(st.text(alphabet="0123456789 -+\n", max_size=8), st.integers(0, 12)), max_size=5))
@settings(max_examples=100, deadline=None)
def test_faults_of_many_codes_are_those_of_each(codes):
    rles, sizes_px = [rle for rle, _ in codes], [n_px for _, n_px in codes]

    expected = {i: describe_faults(rle, n_px) for i, (rle, n_px) in enumerate(codes) if describe_faults(rle, n_px)}

    assert find_invalid_rles(rles, sizes_px) == expected
    assert list(find_invalid_rles(rles, sizes_px)) == sorted(expected)


def test_the_error_quotes_the_code_the_image_and_the_rule():
    with pytest.raises(DataError, match=r"'5 3' for an image of 3 × 2 pixels: run '5 3' ends past the last pixel, 6"):
        decode_mask("5 3", (3, 2))


def test_a_long_code_is_cut_in_the_message():
    with pytest.raises(DataError) as caught:
        decode_mask("1 1 " * 1000, (3, 2))

    assert len(str(caught.value)) < 300


@pytest.mark.realdata
def test_a_competitions_own_codes_come_back_byte_by_byte(real_data):
    rles = realdata.tgs_rles(real_data)

    assert len(rles) == 3600
    assert [encode_mask(decode_mask(rle, (101, 101))) for rle in rles] == rles
