"""Any array that a user may have: public functions answer as for a clean copy of it, or raise the kit's own error."""

from dataclasses import astuple, is_dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import kaggle_unet as ku
from kaggle_unet.errors import KitError
from kaggle_unet.kernels.rle import MOST_DIGITS
from kaggle_unet.masks.labels import areas_px, count_pieces_and_holes, relabel_in_raster_order
from kaggle_unet.metrics.error_types import find_error_types
from kaggle_unet.metrics.matching import summarize
from kaggle_unet.metrics.overlap import count_overlap
from kaggle_unet.postprocess.vote import vote_labels, vote_mask
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.types import Sample
from tests import strategies

CLEAN = np.array([[1, 1, 0], [2, 0, 3]], dtype=np.int32)
ALL_WEIGHTS = {"distance": {}, "size": {"reference_area_px": 4}, "classes": {"border": 3}}

# Functions of labels; what they return depends on ids by no more than their order.
OF_LABELS = {
    "areas_px": lambda labels: areas_px(labels)[areas_px(labels) > 0],
    "border": ku.border,
    "border, contour": lambda labels: ku.border(labels, rule="contour", radius_px=3),
    "border by size": lambda labels: ku.border(labels, radius_px="by_size"),
    "colour_labels": lambda labels: ku.colour_labels(labels) > 0,
    "count_overlap": lambda labels: astuple(count_overlap(labels, labels)),
    "count_pieces_and_holes": lambda labels: [sorted(counts[counts > 0]) for counts in count_pieces_and_holes(labels)],
    "distance_weights": ku.distance_weights,
    "distance_weights, separated": lambda labels: ku.distance_weights(labels, separate_touching=True),
    "draw_outlines": lambda labels: ku.draw_outlines(np.zeros(np.shape(labels), np.uint8), labels, labels),
    "drop_small": lambda labels: ku.relabel(ku.drop_small(labels, 2)),
    "drop_small in place": lambda labels: ku.relabel(ku.drop_small(labels, 2, in_place=True)),
    "encode_targets": lambda labels: [ku.encode_targets(labels, codec) for codec in CODECS],
    "fill_holes": lambda labels: ku.relabel(ku.fill_holes(labels, 2)),
    "fill_holes in place": lambda labels: ku.relabel(ku.fill_holes(labels, 2, in_place=True)),
    "find_error_types": lambda labels: astuple(find_error_types(count_overlap(labels, labels))),
    "match": lambda labels: ku.match(labels, labels).to_numpy(),
    "measure": lambda labels: [ku.measure(labels, np.ones(np.shape(labels))).drop(columns="label").to_csv()],
    "relabel": ku.relabel,
    "relabel_in_raster_order": relabel_in_raster_order,
    "rle.encode": ku.rle.encode,
    "score": lambda labels: ku.score(labels, labels),
    "size_weights": lambda labels: ku.size_weights(labels, reference_area_px=4),
    "summarize": lambda labels: summarize([(labels, labels)], strict=True).to_numpy(),
    "vote_labels": lambda labels: vote_labels([labels, labels, labels]),
    "weight_map": lambda labels: ku.weight_map(labels, ALL_WEIGHTS, codec="mask_border"),
}
# Functions of masks: what is not 0 is inside, so that no id is out of range.
OF_MASKS = {
    "components": ku.components,
    "components, 4": lambda mask: ku.components(mask, connectivity=4),
    "dice": lambda mask: ku.dice(mask, mask),
    "iou": lambda mask: ku.iou(mask, mask),
    "ignore": lambda mask: ku.weight_map(np.ones(np.shape(mask), np.uint8), {}, ignore=mask),
    "pixel_accuracy": lambda mask: ku.pixel_accuracy(mask, mask),
    "paint_masks": lambda mask: ku.paint_masks([mask, mask], np.shape(mask)),
    "rle.encode_mask": ku.rle.encode_mask,
    "score, single object": lambda mask: ku.score(mask, mask, single_object=True),
    "vote_mask": lambda mask: vote_mask([mask, mask]),
}
OF_PLANES = {
    "decode_planes": lambda planes: ku.decode_planes(planes, "mask_border"),
    "single object": lambda planes: ku.decode_planes(planes, "mask_border", DecodeSettings(single_object=True)),
    "Decoder": ku.Decoder(CODECS["mask_border"], stripe_above_px=4),
    "planes": lambda planes: ku.weight_map(CLEAN, ALL_WEIGHTS, codec="mask_border", planes=planes),
}
OF_IDS = sorted({**OF_LABELS, **OF_MASKS})
INTEGERS = [np.dtype(order + kind) for order in "<>" for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")]
NUMBERS = [np.dtype(bool), *INTEGERS]


def reverse(array):
    return np.ascontiguousarray(array[..., ::-1, ::-1])[..., ::-1, ::-1]


def step(array):
    return np.repeat(np.repeat(array, 2, axis=-1), 3, axis=-2)[..., ::3, ::2]


def broadcast(array):
    return np.broadcast_to(array[..., :1, :], array.shape)


def lock(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def misalign(array):
    return np.frombuffer(b"x" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)


LAYOUTS = {"fortran": np.asfortranarray, "reversed": reverse, "stepped": step, "0-stride": broadcast}
LAYOUTS |= {"read-only": lock, "misaligned": misalign, "as it is": lambda array: array}


def flatten(result):
    """Turn a result into a list of plain values, so that results can be compared."""
    if isinstance(result, (list, tuple)):
        return [flatten(part) for part in result]
    return np.asarray(result).tolist() if not is_dataclass(result) else flatten(astuple(result))


def answer(function, array):
    """Return what a function gives for an array, or the reason of the kit's error; nothing else may be raised."""
    try:
        return flatten(function(array))
    except KitError as error:
        return str(error)


@pytest.mark.parametrize("name", OF_IDS)
@given(strategies.labels(max_side=5, max_id=3), st.sampled_from(NUMBERS), st.sampled_from(sorted(LAYOUTS)))
@settings(max_examples=12, deadline=None)
def test_integers_of_any_type_and_layout_are_read_as_a_clean_copy_is(name, labels, dtype, layout):
    function = {**OF_LABELS, **OF_MASKS}[name]
    hostile = LAYOUTS[layout](labels.astype(dtype))
    before = hostile.tolist()

    found = answer(function, hostile)

    assert found == flatten(function(np.array(before, dtype=np.int32).reshape(labels.shape)))
    assert hostile.tolist() == before or ("in place" in name and dtype == np.int32)


@pytest.mark.parametrize("name", sorted(OF_LABELS))
@given(strategies.labels(max_side=4, max_id=3), st.sampled_from([2**31 - 4, 12_345, 5]))
@settings(max_examples=8, deadline=None)
def test_ids_with_gaps_are_as_good_as_ids_without(name, labels, offset):
    spread = np.where(labels > 0, labels.astype(np.int64) + offset, 0)

    assert answer(OF_LABELS[name], spread) == answer(OF_LABELS[name], labels)


@pytest.mark.parametrize("name", sorted(OF_LABELS))
@pytest.mark.parametrize(
    "labels",
    [
        np.array([[0, 1], [-1, 0]], dtype=np.int8),
        np.full((4, 4), -(10**8), dtype=np.int32),
        np.array([[0, -(2**31)]], dtype=np.int32),
        np.array([[2**31, 0]], dtype=np.uint32),
        np.array([[-(2**63), 2**63 - 1]], dtype=np.int64),
        np.array([[2**63]], dtype=np.uint64),
    ],
    ids=lambda labels: f"{labels.dtype} {labels.min()} to {labels.max()}",
)
def test_ids_out_of_range_are_named(name, labels):
    for hostile in (labels, np.broadcast_to(labels, labels.shape)):
        found = answer(OF_LABELS[name], hostile)

        assert f"with ids from {labels.min()} to {labels.max()}; expected 0 (background) to 2³¹ − 1" in found


@pytest.mark.parametrize("name", OF_IDS)
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, complex, object, "U1", "datetime64[s]"])
def test_what_is_no_integer_is_refused(name, kind):
    found = answer({**OF_LABELS, **OF_MASKS}[name], CLEAN.astype(kind))

    assert f"dtype {np.dtype(kind)}; expected" in found


@pytest.mark.parametrize("name", OF_IDS)
@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 3, 1), (1, 2, 3, 4)])
def test_what_is_no_image_is_refused_by_its_shape(name, shape):
    found = answer({**OF_LABELS, **OF_MASKS}[name], np.zeros(shape, dtype=np.int32))

    assert "expected" in found
    assert str(shape) in found


@pytest.mark.parametrize("name", OF_IDS)
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 1)])
def test_images_of_no_or_one_pixel_are_images(name, shape):
    function = {**OF_LABELS, **OF_MASKS}[name]

    for labels in (np.zeros(shape, dtype=np.int32), np.ones(shape, dtype=np.uint8, order="F")):
        assert not isinstance(answer(function, labels), str) or name in {"measure", "rle.encode_mask"}


def test_images_of_more_pixels_than_32_bits_count_are_refused():
    huge = np.broadcast_to(np.uint8(0), (2**16, 2**15))

    for function in (ku.border, ku.components, ku.rle.encode):
        assert "fewer than 2³¹ pixels" in answer(function, huge)


@pytest.mark.parametrize("name", sorted(OF_PLANES))
@given(
    hnp.arrays(np.float16, (2, 2, 3), elements=st.sampled_from([0, 0.25, 0.75, 1, np.nan, np.inf, -np.inf])),
    st.sampled_from([np.dtype(order + kind) for order in "<>" for kind in ("f2", "f4", "f8")]),
    st.sampled_from(sorted(LAYOUTS)),
)
@settings(max_examples=25, deadline=None)
def test_planes_of_any_type_and_layout_are_read_as_a_clean_copy_is(name, planes, dtype, layout):
    hostile = LAYOUTS[layout](planes.astype(dtype))

    assert answer(OF_PLANES[name], hostile) == flatten(OF_PLANES[name](np.array(hostile, np.float32, order="C")))


@pytest.mark.parametrize("name", sorted(OF_PLANES))
@pytest.mark.parametrize(
    "planes", [np.zeros((2, 2, 3), int), np.full((2, 2, 3), None), np.zeros((3, 2, 3)), np.zeros((2, 3)), np.zeros(())]
)
def test_what_are_no_planes_is_refused(name, planes):
    assert "; expected" in answer(OF_PLANES[name], planes)


def test_planes_of_other_labels_are_refused():
    found = answer(OF_PLANES["planes"], np.zeros((2, 2, 2)))

    assert found == "planes of shape (2, 2, 2) for labels of (2, 3); expected targets of these"


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 1)])
def test_planes_of_no_or_one_pixel_are_decoded(shape):
    decoder = ku.Decoder(CODECS["mask"])

    assert decoder(np.ones((1, *shape), np.float32), np.ones(shape, np.uint8)).shape == shape


@pytest.mark.parametrize("shape", [(-1, -1), (2,), (2, 3, 4), (2.0, 3), "ab", None, 5])
def test_what_is_no_shape_is_refused(shape):
    for function in (lambda shape: ku.rle.decode(["1 1"], shape), lambda shape: ku.paint_masks([], shape)):
        assert (
            answer(function, shape) == f"shape {shape!r}; expected (H, W), the height and width of an image in pixels"
        )


@pytest.mark.parametrize("code", [float("nan"), None, 5, b"1 1"])
def test_a_code_that_is_no_text_is_refused(code):
    assert f"run-length code {code!r} is" in answer(lambda code: ku.rle.decode([code], (2, 2)), code)


@given(st.lists(st.text(alphabet="0123456789 +-\n\tx²", max_size=MOST_DIGITS + 6), max_size=3), strategies.shapes(3))
@settings(max_examples=150, deadline=None)
def test_any_text_is_decoded_or_refused(codes, shape):
    found = answer(lambda codes: ku.rle.decode(codes, shape), codes)

    assert isinstance(found, str) or np.shape(found) == shape


def test_every_public_name_is_tried_or_takes_no_array():
    tried = {name.split(",")[0].split()[0] for name in [*OF_LABELS, *OF_MASKS, *OF_PLANES]}
    records = {"Config", "DecodeSettings", "Model", "PostprocessSettings", Sample.__name__, "WeightSettings"}
    of_files = {"check_submission", "load", "load_config", "read_competition", "read_folder"}
    of_files |= {"read_submission", "write_labels", "write_submission"}
    others = {"__version__", "draw_nuclei", "draw_salt", "get_codec", "interval_of_mean", "rle", "train", "tune"}
    errors = {name for name in ku.__all__ if name.endswith("Error")}

    assert set(ku.__all__) - tried == records | of_files | others | errors
