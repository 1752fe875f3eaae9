import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_unet.errors import ConfigError
from kaggle_unet.losses.settings import LossSettings
from kaggle_unet.losses.total import SegmentationLoss
from kaggle_unet.models.heads import Outputs

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
        {"focal": 1, "cross_entropy": 0, "dice": 0},
        {"focal": 0.7, "focal_gamma": 0.5, "dice": 0},
        {"lovasz": 1, "cross_entropy": 0, "dice": 0},
        {"lovasz": 0.5, "lovasz_over": "batch", "lovasz_planes": {"border": 3}, "dice": 0},
    )
]
CONTRACTS += [
    (LossSettings(**options), "sigmoid")
    for options in (
        {"cross_entropy_planes": {"border": 10}, "focal": 0.2, "focal_alpha": 0.25},
        {"lovasz": 1, "lovasz_symmetric": True, "cross_entropy": 0, "dice": 0},
        {"lovasz": 0.5, "lovasz_over": "batch", "lovasz_hinge": "relu", "lovasz_planes": {"border": 3}, "dice": 0},
    )
]
TERMS = ("cross_entropy", "focal", "dice", "lovasz")
HEADS = {"lovasz": 0.5, "empty": 0.3, "deep_supervision": 0.2}


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

    def test_ignoring_an_image_is_leaving_it_out(self, loss_settings, activation):
        logits, planes, weights = draw(activation)
        weights[1:] = 0
        loss = SegmentationLoss(loss_settings, PLANES[activation], activation)
        torch.testing.assert_close(loss(logits, planes, weights)[0], loss(logits[:1], planes[:1], weights[:1])[0])

    def test_ignored_pixels_have_no_gradient(self, loss_settings, activation):
        logits, planes, weights = draw(activation)
        weights[:, 4:] = 0
        logits.requires_grad_()
        SegmentationLoss(loss_settings, PLANES[activation], activation)(logits, planes, weights)[0].backward()
        assert (logits.grad[:, :, 4:] == 0).all()
        assert (logits.grad[:, :, :4] != 0).any()

    @pytest.mark.parametrize("factor", [-3.0, 1e20])
    def test_what_is_said_of_ignored_pixels_changes_not_one_bit(self, loss_settings, activation, factor):
        logits, planes, weights = draw(activation)
        generator = torch.Generator().manual_seed(3)
        ignored = torch.rand(weights.shape, generator=generator) < 0.4
        weights[ignored] = 0
        loss = SegmentationLoss(loss_settings, PLANES[activation], activation)
        found = []
        for others in (logits, torch.where(ignored.unsqueeze(1), factor * logits + 1, logits)):
            said = others.clone().requires_grad_()
            value, parts = loss(said, planes, weights)
            value.backward()
            assert (said.grad.movedim(1, -1)[ignored] == 0).all()
            found.append((value.detach(), said.grad, *parts.values()))
        assert all(torch.equal(before, after) for before, after in zip(*found, strict=True))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_costs_and_pulls_nearly_the_same(self, loss_settings, activation, dtype):
        logits, planes, weights = draw(activation)
        loss = SegmentationLoss(loss_settings, PLANES[activation], activation)
        found = []
        for said in (logits.clone(), logits.to(dtype)):
            said.requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=said.dtype != torch.float32):
                value, _ = loss(said, planes, weights)
            value.backward()
            found.append((value.item(), said.grad.float().flatten()))
        (exact, pull), (rounded, rounded_pull) = found
        assert rounded == pytest.approx(exact, rel=0.01)
        assert torch.cosine_similarity(pull, rounded_pull, dim=0) > 0.98

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
        assert set(parts) == {name for name in TERMS if getattr(loss_settings, name)}
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


def test_dice_planes_are_weighted():
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


def test_settings_are_checked_before_anything_is_learned():
    with pytest.raises(ConfigError, match="names bordre"):
        make_loss("sigmoid", lovasz_planes={"bordre": 1})


def test_plane_weights_decide_which_of_two_that_disagree_wins():
    """One number is the logit of both planes; of all pixels half are mask and none border."""
    signs = []
    for planes_share in ({}, {"mask": 10}, {"border": 10}):
        loss = make_loss("sigmoid", dice=0, cross_entropy_planes=planes_share)
        planes = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
        logit = torch.zeros(1, 1, 1, 1, requires_grad=True)
        loss(logit.expand(1, 2, 1, 1), planes, torch.ones(1, 1, 1))[0].backward()
        signs.append(torch.sign(-logit.grad).item())
    assert signs == [0, 1, -1]


def test_the_cross_entropy_of_weighted_planes_stays_on_its_scale():
    logits, planes, weights = draw("sigmoid")
    alike = make_loss("sigmoid", cross_entropy_planes={"mask": 7, "border": 7})(logits, planes, weights)[0]
    torch.testing.assert_close(alike, make_loss("sigmoid")(logits, planes, weights)[0])


class TestAnswersOfMoreThanOneHead:
    def outputs(self, seed=0):
        """Logits of 2 images of 8 × 8, of which the second is empty."""
        logits, planes, weights = draw("sigmoid", seed, shape=(2, 8, 8))
        planes[1] = 0
        generator = torch.Generator().manual_seed(seed + 1)
        sides = tuple(torch.randn(2, 2, side, side, generator=generator) for side in (2, 4))
        return Outputs(logits, torch.tensor([-1.0, 2.0]), sides), planes, weights

    def test_logits_alone_are_compared_as_ever(self):
        outputs, planes, weights = self.outputs()
        loss, parts = make_loss("sigmoid", **HEADS)(outputs.logits, planes, weights)
        wanted, _ = make_loss("sigmoid", lovasz=0.5)(outputs.logits, planes, weights)
        assert loss == wanted
        assert set(parts) == {"cross_entropy", "dice", "lovasz"}

    def test_parts_and_coefficients_make_the_sum(self):
        outputs, planes, weights = self.outputs()
        loss, parts = make_loss("sigmoid", **HEADS)(outputs, planes, weights)
        coefficients = {"cross_entropy": 1, "dice": 1, **HEADS}
        assert set(parts) == set(coefficients)
        torch.testing.assert_close(loss, sum(coefficients[name] * part for name, part in parts.items()))

    def test_the_empty_head_is_asked_image_by_image(self):
        outputs, planes, weights = self.outputs()
        _, parts = make_loss("sigmoid", empty=1)(outputs, planes, weights)
        torch.testing.assert_close(parts["empty"], (F.softplus(outputs.empty[0]) + F.softplus(-outputs.empty[1])) / 2)

    def test_a_background_plane_is_no_object(self):
        _, planes, weights = draw("softmax", shape=(1, 8, 8))
        planes[:, :2], planes[:, 2] = 0, 1
        _, parts = make_loss("softmax", empty=1)(Outputs(planes, torch.tensor([4.0])), planes, weights)
        torch.testing.assert_close(parts["empty"], F.softplus(torch.tensor(-4.0)))

    def test_sides_are_enlarged_and_given_all_terms(self):
        outputs, planes, weights = self.outputs()
        loss = make_loss("sigmoid", **HEADS)
        of_sides = [
            loss(F.interpolate(side, (8, 8), mode="bilinear", align_corners=False), planes, weights)[0]
            for side in outputs.sides
        ]
        torch.testing.assert_close(loss(outputs, planes, weights)[1]["deep_supervision"], sum(of_sides) / 2)

    def test_sides_may_count_on_non_empty_images_alone(self):
        outputs, planes, weights = self.outputs()
        for side in outputs.sides:
            side.requires_grad_()
        loss = make_loss("sigmoid", deep_supervision=1, deep_supervision_images="non_empty")
        loss(outputs, planes, weights)[0].backward()
        for side in outputs.sides:
            assert (side.grad[0] != 0).any()
            assert (side.grad[1] == 0).all()

    def test_heads_of_coefficient_0_are_ignored(self):
        outputs, planes, weights = self.outputs()
        bad = Outputs(outputs.logits, outputs.empty * torch.nan, tuple(side * torch.nan for side in outputs.sides))
        assert make_loss("sigmoid")(bad, planes, weights)[0] == make_loss("sigmoid")(outputs.logits, planes, weights)[0]

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_heads_are_compared_in_float32(self, dtype):
        outputs, planes, weights = self.outputs()
        half = Outputs(
            outputs.logits.to(dtype), outputs.empty.to(dtype), tuple(side.to(dtype) for side in outputs.sides)
        )
        full = Outputs(half.logits.float(), half.empty.float(), tuple(side.float() for side in half.sides))
        loss = make_loss("sigmoid", **HEADS)
        assert torch.equal(loss(half, planes, weights)[0], loss(full, planes, weights)[0])
