import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.errors import ConfigError
from kaggle_unet.losses.settings import LossSettings
from kaggle_unet.losses.total import SegmentationLoss

PLANES = {
    "sigmoid": ("mask", "border"),
    "softmax": ("interior", "border", "background"),
}
CONTRACTS = [
    (LossSettings(**options), activation)
    for activation in PLANES
    for options in (
        {},
        {"cross_entropy": 0},
        {"dice": 0},
        {"dice_over": "image", "cross_entropy": 0.3, "dice": 2.0, "smooth": 0.1},
        {"dice_planes": {"border": 0.5}},
    )
]


def make_loss(activation, **options):
    return SegmentationLoss(LossSettings(**options), PLANES[activation], activation)


def draw(activation, seed=0, shape=(2, 6, 5)):
    """Random logits, hard targets, and weights without zeros."""
    generator = torch.Generator().manual_seed(seed)
    batch, height, width = shape
    n_planes = len(PLANES[activation])
    logits = torch.randn(batch, n_planes, height, width, generator=generator)
    if activation == "softmax":
        classes = torch.randint(n_planes, shape, generator=generator)
        planes = F.one_hot(classes, n_planes).permute(0, 3, 1, 2).float()
    else:
        planes = torch.randint(2, logits.shape, generator=generator).float()
    return logits, planes, torch.rand(shape, generator=generator) + 0.5


@pytest.mark.parametrize(("loss_settings", "activation"), CONTRACTS)
class TestEveryLoss:
    def test_perfect_logits_cost_nothing(self, loss_settings, activation):
        _, planes, weights = draw(activation)
        loss, _ = SegmentationLoss(loss_settings, PLANES[activation], activation)((planes - 0.5) * 60, planes, weights)
        assert 0 <= loss < 1e-4

    def test_a_step_against_the_gradient_lowers_it(self, loss_settings, activation):
        logits, planes, weights = draw(activation)
        loss = SegmentationLoss(loss_settings, PLANES[activation], activation)
        logits.requires_grad_()
        before, _ = loss(logits, planes, weights)
        before.backward()
        after, _ = loss(logits - 0.1 * logits.grad / logits.grad.norm(), planes, weights)
        assert after < before

    def test_the_gradient_is_that_of_finite_differences(self, loss_settings, activation):
        logits, planes, weights = draw(activation, shape=(2, 2, 2))
        loss = SegmentationLoss(loss_settings, PLANES[activation], activation)
        logits.requires_grad_()
        loss(logits, planes, weights)[0].backward()
        direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
        step = 1e-2
        with torch.no_grad():
            ahead, behind = (loss(logits + sign * step * direction, planes, weights)[0] for sign in (1, -1))
        slope = (logits.grad * direction).sum().item()
        assert ((ahead - behind) / (2 * step)).item() == pytest.approx(slope, rel=0.02, abs=1e-3)

    def test_ignoring_pixels_is_cutting_them_off(self, loss_settings, activation):
        logits, planes, weights = draw(activation)
        weights[:, 4:] = 0
        loss = SegmentationLoss(loss_settings, PLANES[activation], activation)
        ignored, _ = loss(logits, planes, weights)
        cut, _ = loss(logits[:, :, :4], planes[:, :, :4], weights[:, :4])
        torch.testing.assert_close(ignored, cut)

    def test_ignored_pixels_have_no_gradient(self, loss_settings, activation):
        logits, planes, weights = draw(activation)
        weights[:, 4:] = 0
        logits.requires_grad_()
        SegmentationLoss(loss_settings, PLANES[activation], activation)(logits, planes, weights)[0].backward()
        assert (logits.grad[:, :, 4:] == 0).all()
        assert (logits.grad[:, :, :4] != 0).any()

    def test_a_batch_without_a_counting_pixel_costs_nothing_and_has_a_gradient_of_0(self, loss_settings, activation):
        logits, planes, weights = draw(activation)
        logits.requires_grad_()
        loss, _ = SegmentationLoss(loss_settings, PLANES[activation], activation)(logits, planes, weights * 0)
        loss.backward()
        assert loss == 0
        assert (logits.grad == 0).all()

    @pytest.mark.parametrize(
        ("dtype", "extreme"), [(torch.bfloat16, 1e30), (torch.float16, 65504.0), (torch.float32, 1e30)]
    )
    def test_extreme_logits_stay_finite(self, loss_settings, activation, dtype, extreme):
        logits, planes, weights = draw(activation)
        logits = (logits.sign() * extreme).to(dtype).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
            loss, parts = SegmentationLoss(loss_settings, PLANES[activation], activation)(logits, planes, weights)
        assert loss.dtype == torch.float32
        assert loss.isfinite()
        assert all(part.isfinite() for part in parts.values())
        loss.backward()
        assert logits.grad.isfinite().all()

    def test_parts_and_coefficients_make_the_sum(self, loss_settings, activation):
        loss, parts = SegmentationLoss(loss_settings, PLANES[activation], activation)(*draw(activation))
        wanted = sum(getattr(loss_settings, name) * part for name, part in parts.items())
        torch.testing.assert_close(loss, wanted)
        assert set(parts) == {name for name in ("cross_entropy", "dice") if getattr(loss_settings, name)}
        assert not any(part.requires_grad for part in parts.values())


@given(row=st.integers(0, 5), column=st.integers(0, 4), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_weights_multiply_the_cross_entropy_and_leave_dice_alone(row, column, seed):
    logits, planes, weights = draw("softmax", seed)
    loss = make_loss("softmax")
    _, before = loss(logits, planes, weights)
    of_pixel = -(planes * logits.log_softmax(dim=1)).sum(dim=1)[0, row, column] * weights[0, row, column]
    weights[0, row, column] *= 2
    _, after = loss(logits, planes, weights)
    torch.testing.assert_close(after["cross_entropy"] - before["cross_entropy"], of_pixel / 60, atol=1e-6, rtol=1e-3)
    assert after["dice"] == before["dice"]


def test_half_precision_logits_are_compared_in_float32():
    logits, planes, weights = draw("sigmoid")
    rounded = logits.bfloat16()
    loss = make_loss("sigmoid")
    assert torch.equal(loss(rounded, planes, weights)[0], loss(rounded.float(), planes, weights)[0])


def test_the_background_of_a_softmax_is_left_out_of_dice_unless_it_is_named():
    _, planes, weights = draw("softmax")
    # all background: its own Dice is middling, that of the others next to nothing
    logits = torch.tensor([-9.0, -9.0, 9.0]).view(1, 3, 1, 1).expand(planes.shape)
    without = make_loss("softmax")(logits, planes, weights)[1]["dice"]
    named = make_loss("softmax", dice_planes={"background": 1.0})(logits, planes, weights)[1]["dice"]
    assert without > 0.9
    assert named < 0.85


def test_dice_planes_are_weighted_by_their_shares():
    logits, planes, weights = draw("sigmoid")
    only = {
        name: make_loss("sigmoid", dice_planes={other: 0})(logits, planes, weights)[1]["dice"]
        for name, other in (("mask", "border"), ("border", "mask"))
    }
    both = make_loss("sigmoid", dice_planes={"border": 3})(logits, planes, weights)[1]["dice"]
    torch.testing.assert_close(both, (only["mask"] + 3 * only["border"]) / 4)


def test_smaller_logits_are_compared_with_the_middle_of_the_targets():
    logits, planes, weights = draw("softmax", shape=(1, 8, 9))
    middle = (slice(None), slice(None), slice(2, 6), slice(3, 6))
    loss = make_loss("softmax")
    smaller, _ = loss(logits[middle], planes, weights)
    wanted, _ = loss(logits[middle], planes[middle], weights[:, 2:6, 3:6])
    assert smaller == wanted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dice_planes": {"bordre": 1}}, "names bordre; the codec's planes are mask, border"),
        ({"dice_planes": {"mask": 0, "border": 0}}, "leaves no plane for Dice"),
        ({"cross_entropy": 0, "dice": 0}, "both 0"),
    ],
)
def test_settings_that_leave_nothing_to_minimise_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        make_loss("sigmoid", **options)
