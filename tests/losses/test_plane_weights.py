import pytest

from kaggle_unet.errors import ConfigError
from kaggle_unet.losses.settings import LossSettings, check_terms, term_plane_weights

SIGMOID = (("mask", "border"), "sigmoid")
SOFTMAX = (("interior", "border", "background"), "softmax")


@pytest.mark.parametrize("term", ["dice", "lovasz"])
def test_the_background_of_a_softmax_has_a_weight_only_if_it_is_named(term):
    named = LossSettings(dice_planes={"background": 0.5}, lovasz_planes={"background": 0.5})
    assert term_plane_weights(LossSettings(), term, *SOFTMAX) == (1, 1, 0)
    assert term_plane_weights(named, term, *SOFTMAX) == (1, 1, 0.5)


@pytest.mark.parametrize(
    ("options", "codec", "message"),
    [
        ({"dice_planes": {"bordre": 1}}, SIGMOID, "dice_planes names bordre; the codec's planes are mask, border"),
        ({"lovasz_planes": {"bordre": 1}}, SIGMOID, "lovasz_planes names bordre"),
        ({"cross_entropy_planes": {"bordre": 1}}, SIGMOID, "cross_entropy_planes names bordre"),
        ({"dice_planes": {"mask": 0, "border": 0}}, SIGMOID, r"leaves no plane for loss\.dice"),
        (
            {"focal": 1, "cross_entropy": 0, "cross_entropy_planes": {"mask": 0, "border": 0}},
            SIGMOID,
            r"for loss\.focal",
        ),
        ({"cross_entropy": 0, "dice": 0}, SIGMOID, "all 0, which leaves nothing to minimise"),
        ({"cross_entropy": 0, "dice": 0, "empty": 1}, SIGMOID, "all 0, which leaves nothing to minimise"),
        ({"cross_entropy_planes": {"border": 10}}, SOFTMAX, r"cross_entropy_planes applies to .* weights\.classes"),
        ({"focal": 1, "focal_alpha": 0.5}, SOFTMAX, "focal_alpha applies to"),
        ({"lovasz": 1, "lovasz_symmetric": True}, SOFTMAX, r"lovasz_symmetric applies to .* loss\.lovasz_planes"),
    ],
)
def test_settings_that_a_codec_can_t_have_are_refused(options, codec, message):
    with pytest.raises(ConfigError, match=message):
        check_terms(LossSettings(**options), *codec)


def test_plane_weights_of_a_term_that_is_not_computed_may_be_anything():
    check_terms(LossSettings(dice=0, dice_planes={"mask": 0, "border": 0}), *SIGMOID)
