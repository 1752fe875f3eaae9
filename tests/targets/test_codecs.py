import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.masks.labels import components, relabel
from kaggle_unet.metrics.score import score_image
from kaggle_unet.postprocess.clean import drop_small
from kaggle_unet.targets.codecs import CODECS, decode_planes, encode_targets
from kaggle_unet.targets.settings import BorderSettings, DecodeSettings
from tests import strategies

RULES = ["touching", "contour"]
WITH_BORDER = sorted(set(CODECS) - {"mask"})


def draw_pair():
    """Two squares of 6 × 5 that share a side, and one apart."""
    labels = np.zeros((10, 16), dtype=np.int32)
    labels[1:7, 1:6] = 1
    labels[1:7, 6:11] = 2
    labels[3:9, 13:15] = 3
    return labels


@pytest.mark.parametrize("name", CODECS)
class TestEveryCodec:
    """What every codec must do; a new one is in CODECS and is held to it."""

    def test_its_name_is_its_key(self, name):
        assert CODECS[name].name == name

    def test_it_gives_one_plane_for_each_name_and_the_network_probabilities(self, name):
        planes = CODECS[name].encode(draw_pair(), BorderSettings())

        assert planes.shape == (len(CODECS[name].planes), 10, 16)
        assert planes.dtype == np.float32
        assert set(np.unique(planes)) <= {0, 1}
        if CODECS[name].activation == "softmax":
            assert (planes.sum(axis=0) == 1).all()

    @given(strategies.labels())
    @settings(max_examples=20, deadline=None)
    def test_every_pixel_is_of_one_class_and_background_is_never_an_instances_interior(self, name, labels):
        codec = CODECS[name]

        classes = codec.classify(codec.encode(labels, BorderSettings()))

        assert classes.dtype == np.uint8
        assert classes.shape == labels.shape
        names = np.array(codec.classes)[classes]
        assert (names[labels > 0] != "background").all()
        assert np.isin(names[labels == 0], ["background", "border"]).all()

    def test_an_empty_image_stays_empty(self, name):
        planes = CODECS[name].encode(np.zeros((3, 5), dtype=np.int32), BorderSettings())

        assert not CODECS[name].decode(planes, DecodeSettings()).any()

    @pytest.mark.parametrize("value", [0, 1])
    def test_planes_of_one_value_decode_to_labels(self, name, value):
        planes = np.full((len(CODECS[name].planes), 3, 5), value, dtype=np.float32)

        labels = CODECS[name].decode(planes, DecodeSettings())

        assert labels.dtype == np.int32
        assert (labels == value).all()

    @given(strategies.apart(), st.sampled_from(RULES), st.sampled_from([1, 2, "by_size"]))
    @settings(max_examples=50, deadline=None)
    def test_instances_that_do_not_touch_come_back_exactly_with_touching_borders(self, name, labels, rule, radius):
        codec = CODECS[name]

        decoded = codec.decode(codec.encode(labels, BorderSettings(rule=rule, radius_px=radius)), DecodeSettings())

        assert ((decoded > 0) == (labels > 0)).all()
        if rule == "touching" and radius == 1:
            assert (decoded == labels).all()

    @given(strategies.labels(), st.sampled_from(RULES))
    @settings(max_examples=30, deadline=None)
    def test_the_mask_of_all_instances_comes_back_whatever_they_are(self, name, labels, rule):
        decoded = CODECS[name].decode(CODECS[name].encode(labels, BorderSettings(rule=rule)), DecodeSettings())

        assert ((decoded > 0) == (labels > 0)).all()
        assert set(decoded.ravel().tolist()) | {0} == set(range(int(decoded.max()) + 1))

    def test_one_object_holds_everything_above_the_threshold(self, name):
        labels = draw_pair()

        decoded = CODECS[name].decode(CODECS[name].encode(labels, BorderSettings()), DecodeSettings(single_object=True))

        assert (decoded == (labels > 0)).all()

    def test_memory_order_and_precision_of_the_planes_do_not_matter(self, name):
        rng = np.random.default_rng(3)
        planes = rng.random((len(CODECS[name].planes), 20, 30), dtype=np.float32)

        decoded = CODECS[name].decode(planes, DecodeSettings())

        assert decoded.max() > 3
        assert (CODECS[name].decode(np.asfortranarray(planes), DecodeSettings()) == decoded).all()
        half = planes.astype(np.float16)
        assert (
            CODECS[name].decode(half, DecodeSettings())
            == CODECS[name].decode(half.astype(np.float32), DecodeSettings())
        ).all()

    @given(st.integers(0, 2**32 - 1), st.booleans(), st.integers(0, 4))
    @settings(max_examples=30, deadline=None)
    def test_a_component_of_the_mask_decodes_alone_as_among_others(self, name, seed, keep_seedless, min_seed_px):
        codec, rules = CODECS[name], DecodeSettings(keep_seedless=keep_seedless, min_seed_px=min_seed_px)
        planes = np.random.default_rng(seed).choice(np.float32([0, 0.3, 0.4, 0.9]), (len(codec.planes), 12, 15))
        parts = components(codec.find_mask(planes, rules))

        decoded = codec.decode(planes, rules)

        assert not decoded[parts == 0].any()
        for part in range(1, parts.max() + 1):
            alone = codec.decode(np.where(parts == part, planes, 0), rules)
            assert (alone == relabel(np.where(parts == part, decoded, 0))).all()

    @given(st.integers(0, 2**32 - 1), st.integers(0, 30))
    @settings(max_examples=30, deadline=None)
    def test_small_instances_are_left_out_as_dropping_them_later_does(self, name, seed, min_area_px):
        planes = np.random.default_rng(seed).random((len(CODECS[name].planes), 12, 15), dtype=np.float32)

        decoded = CODECS[name].decode(planes, DecodeSettings(), min_area_px=min_area_px)

        assert (decoded == drop_small(CODECS[name].decode(planes, DecodeSettings()), min_area_px)).all()

    def test_decoding_leaves_the_planes_alone_and_repeats_itself(self, name):
        planes = np.random.default_rng(4).random((len(CODECS[name].planes), 20, 30), dtype=np.float32)
        before = planes.copy()

        first = CODECS[name].decode(planes, DecodeSettings())

        assert (planes == before).all()
        assert (CODECS[name].decode(planes, DecodeSettings()) == first).all()


@pytest.mark.parametrize("name", WITH_BORDER)
class TestCodecsWithBorder:
    """What border planes buy."""

    @given(
        st.integers(1, 3).flatmap(lambda r: st.tuples(st.just(r), strategies.tiles(2 * r + 1))), st.sampled_from(RULES)
    )
    @settings(max_examples=50, deadline=None)
    def test_rectangles_that_touch_come_back_exactly(self, name, drawn, rule):
        radius, labels = drawn
        codec = CODECS[name]

        decoded = codec.decode(codec.encode(labels, BorderSettings(rule=rule, radius_px=radius)), DecodeSettings())

        assert (decoded == labels).all()

    @given(strategies.labels(max_side=14), st.sampled_from(RULES))
    @settings(max_examples=50, deadline=None)
    def test_every_instance_keeps_a_seed(self, name, labels, rule):
        core, border = CODECS[name].encode(labels, BorderSettings(rule=rule))[:2] > 0

        assert set(labels[core & ~border].tolist()) == set(labels.ravel().tolist()) - {0}

    def test_probabilities_near_the_truth_decode_to_it(self, name):
        labels = draw_pair()
        planes = CODECS[name].encode(labels, BorderSettings())
        doubts = (
            np.random.default_rng(5).uniform(0, 0.24, planes.shape).astype(np.float32)
        )  # two of them stay below 1/2

        assert (CODECS[name].decode(np.abs(planes - doubts), DecodeSettings()) == labels).all()


def test_the_plain_mask_fuses_what_touches():
    labels = draw_pair()

    decoded = CODECS["mask"].decode(CODECS["mask"].encode(labels, BorderSettings()), DecodeSettings())

    assert decoded.max() == 2
    assert score_image(labels, decoded).mean == 0.25  # the third square is right, the pair is one false and two missed


def test_only_mask_border_has_border_on_background():
    labels = np.array([[1, 1, 1, 0, 2, 2, 2]], dtype=np.int32)
    planes = {name: CODECS[name].encode(labels, BorderSettings()) for name in WITH_BORDER}

    assert planes["mask_border"].tolist() == [[[1, 1, 1, 0, 1, 1, 1]], [[0, 0, 0, 1, 0, 0, 0]]]
    assert planes["interior_border"].tolist() == [[[1, 1, 1, 0, 1, 1, 1]], [[0, 0, 0, 0, 0, 0, 0]]]


def test_planes_of_a_touching_pair_worked_by_hand():
    labels = np.array([[0, 1, 1, 2, 2]], dtype=np.int32)
    planes = {name: codec.encode(labels, BorderSettings())[:, 0].astype(int).tolist() for name, codec in CODECS.items()}

    assert planes == {
        "mask": [[0, 1, 1, 1, 1]],
        "mask_border": [[0, 1, 1, 1, 1], [0, 0, 1, 1, 0]],
        "interior_border": [[0, 1, 0, 0, 1], [0, 0, 1, 1, 0]],
        "interior_border_background": [[0, 1, 0, 0, 1], [0, 0, 1, 1, 0], [1, 0, 0, 0, 0]],
    }


def test_classes_of_a_touching_pair_worked_by_hand():
    labels = np.array([[0, 1, 1, 2, 2]], dtype=np.int32)
    classes = {
        name: [codec.classes[i] for i in codec.classify(codec.encode(labels, BorderSettings()))[0]]
        for name, codec in CODECS.items()
    }

    assert classes == {
        "mask": ["background", "mask", "mask", "mask", "mask"],
        "mask_border": ["background", "mask", "border", "border", "mask"],
        "interior_border": ["background", "interior", "border", "border", "interior"],
        "interior_border_background": ["background", "interior", "border", "border", "interior"],
    }


@pytest.mark.parametrize("name", CODECS)
def test_the_functions_of_a_codecs_name_do_what_the_codec_does(name):
    labels = draw_pair()

    planes = encode_targets(labels.astype(np.uint16), name, rule="contour", radius_px=2)
    decoded = decode_planes(planes.astype(np.float64), name, DecodeSettings(min_seed_px=3), min_area_px=12)

    assert (planes == CODECS[name].encode(labels, BorderSettings(rule="contour", radius_px=2))).all()
    assert (decoded == CODECS[name].decode(planes, DecodeSettings(min_seed_px=3), min_area_px=12)).all()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"codec": "stars"}, "unknown codec 'stars'; choose from mask, mask_border"),
        ({"rule": "near"}, "rule is 'near': input should be 'touching' or 'contour'"),
        ({"radius_px": 0}, "radius_px is 0: input should be greater than or equal to 1\\n.*by_size"),
    ],
)
def test_options_that_do_not_exist_are_refused_with_those_that_do(options, what):
    with pytest.raises(ConfigError, match=what):
        encode_targets(draw_pair(), **options)


def test_planes_of_another_codec_are_refused():
    with pytest.raises(
        DataError, match=r"shape \(1, 10, 16\); expected mask, border of codec mask_border: \(2, H, W\)"
    ):
        decode_planes(encode_targets(draw_pair(), "mask"), "mask_border")
