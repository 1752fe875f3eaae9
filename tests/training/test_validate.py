from functools import partial

import pytest
import torch
from torch import nn

from kaggle_unet.data.batch import PadSpec
from kaggle_unet.losses.settings import LossSettings
from kaggle_unet.losses.total import SegmentationLoss
from kaggle_unet.metrics.score import score_image
from kaggle_unet.models.checkpoint import load_checkpoint
from kaggle_unet.models.heads import Outputs, select_outputs
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.models.settings import EmptyHeadSettings, PlainUNetSettings
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.training.fit import fit_fold
from kaggle_unet.training.fold import FoldParts
from kaggle_unet.training.step import Learner
from kaggle_unet.training.validate import ValidationResult, merge, validate
from tests.training.test_fit import CONFIG, make_settings
from tests.training.test_train_epoch import make_batch, make_distributed
from tests.training.tiny import CODEC, draw_sample, make_validation_set


@pytest.fixture
def samples():
    return {f"v{n}": draw_sample(f"v{n}", 10 + n) for n in range(3)}


def oracle(validation_set, margin):
    """A network that knows the answers, `margin` pixels smaller at each edge."""
    answers = {batch.inputs.numpy().tobytes(): batch.planes for batch, _, _ in validation_set.batches()}

    def predict(inputs):
        logits = (answers[inputs.numpy().tobytes()] - 0.5) * 40
        return logits[..., margin : logits.shape[-2] - margin, margin : logits.shape[-1] - margin]

    return predict


@pytest.mark.parametrize("margin", [0, 4])
def test_a_network_that_knows_the_answers_scores_one(samples, margin, loss, scoring):
    validation_set = make_validation_set(samples, PadSpec(8, margin))
    result = validate(oracle(validation_set, margin), validation_set, loss=loss, **scoring)
    assert result.score == 1
    assert dict(result.scores) == {"v0": 1, "v1": 1, "v2": 1}
    assert result.loss < 0.01


def test_a_network_that_sees_nothing_scores_nothing(samples, loss, scoring):
    validation_set = make_validation_set(samples, PadSpec(8))
    blank = torch.tensor([-9.0, -9.0, 9.0])[None, :, None, None]
    result = validate(
        lambda inputs: blank.expand(len(inputs), 3, *inputs.shape[-2:]), validation_set, loss=loss, **scoring
    )
    assert result.score == 0
    assert result.loss > 1


def test_score_and_loss_are_means_over_images(samples, scoring):
    validation_set = make_validation_set(samples, PadSpec(8))
    values = iter([torch.tensor(1.0), torch.tensor(4.0)])
    is_known = {"v0": True, "v1": False, "v2": False}
    knows = oracle(validation_set, 0)
    ids = iter([["v0", "v1"], ["v2"]])

    def predict(inputs):
        known = torch.tensor([is_known[id_] for id_ in next(ids)])[:, None, None, None]
        return torch.where(known, knows(inputs), torch.tensor([-9.0, -9.0, 9.0])[None, :, None, None])

    result = validate(predict, validation_set, loss=lambda *_: (next(values), {}), **scoring)
    # two images in the first batch, one in the second
    assert result.loss == pytest.approx((1 + 1 + 4) / 3)
    assert result.score == pytest.approx(1 / 3)


def test_sigmoid_planes_are_decoded_as_such(samples):
    codec = CODECS["interior_border"]
    validation_set = make_validation_set(samples, PadSpec(8))
    knows = oracle(validation_set, 0)
    result = validate(
        lambda inputs: knows(inputs)[:, :2],
        validation_set,
        loss=lambda *_: (torch.zeros(()), {}),
        decoder=Decoder(codec),
        metric=score_image,
    )
    assert result.score == 1


def test_validations_of_several_ranks_are_merged_with_the_batch_of_any_without_objects():
    batch = make_batch(1, ids=["b"])
    shares = ValidationResult(1.0, 1.0, {"a": 1.0}), ValidationResult(4.0, 0.0, {"b": 0.0}, 7, 0, batch)
    merged = merge(shares)
    assert (merged.loss, merged.score, merged.is_blank) == (2.5, 0.5, True)
    assert merged.batch is batch


class TestFurtherHeads:
    """The loss is of all that a network says, the score of what it would predict."""

    def validate_model(self, samples, gate_above):
        """Judge a network that knows every plane, and yet holds every image to be empty: a logit of 5."""
        validation_set, codec = make_validation_set(samples, PadSpec(8)), CODECS["interior_border"]
        knows = oracle(validation_set, 0)
        terms = SegmentationLoss(LossSettings(empty=0.5, deep_supervision=1), codec.planes, codec.activation)
        return validate(
            lambda inputs: Outputs(knows(inputs)[:, :2], torch.full((len(inputs),), 5.0), (), gate_above),
            validation_set,
            loss=lambda outputs, planes, weights: terms(outputs, planes[:, :2], weights),
            decoder=Decoder(codec),
            metric=score_image,
        )

    @pytest.mark.parametrize(("gate_above", "score"), [(None, 1), (0.5, 0)])
    def test_the_loss_is_before_the_gate_and_the_score_behind_it(self, samples, gate_above, score):
        result = self.validate_model(samples, gate_above)
        assert result.score == score
        assert (result.predicted_objects == 0) == (score == 0)
        # planes without a fault, and half of log(1 + e⁵)
        assert result.loss == pytest.approx(0.5 * 5.0067, abs=0.01)

    @pytest.mark.parametrize("precision", ["32", "bf16"])
    def test_a_learner_predicts_outputs_before_suppression(self, loss, precision):
        torch.manual_seed(0)
        settings = PlainUNetSettings(filters=2, depth=2, empty_head=EmptyHeadSettings(gate_above=0.0))
        learner = Learner(PlainUNet(1, 3, settings), loss, make_settings(), make_distributed(precision))
        learner.network.eval()
        inputs = torch.randn(2, 1, 8, 12)
        outputs = learner.predict(inputs)
        with torch.inference_mode():
            wanted = learner.network.outputs(inputs)
            assert (learner.network(inputs) <= -10).all()
        torch.testing.assert_close(outputs.logits, wanted.logits, atol=0.05, rtol=0.05)
        torch.testing.assert_close(outputs.empty.float(), wanted.empty, atol=0.05, rtol=0.05)
        assert outputs.logits.dtype == torch.float32
        assert (outputs.logits > -10).all()
        assert (select_outputs(outputs, is_training=False) <= -10).all()

    def test_a_fit_reports_the_loss_that_its_checkpoint_has(self, training_set, validation_set, scoring, tmp_path):
        options = {"filters": 2, "depth": 2, "deep_supervision": True}
        settings = PlainUNetSettings(**options, empty_head=EmptyHeadSettings())
        loss = SegmentationLoss(LossSettings(empty=0.5, deep_supervision=0.3), CODEC.planes, CODEC.activation)
        validate_model = partial(validate, validation_set=validation_set, loss=loss, **scoring)
        parts = FoldParts(lambda: PlainUNet(1, 3, settings), loss, training_set, validate_model)
        row = fit_fold(parts, make_settings(epochs=1), folder=tmp_path, config=CONFIG).history[0]
        network = PlainUNet(1, 3, settings).eval()
        network.load_state_dict(load_checkpoint(tmp_path / "best.safetensors")["model"])
        total = 0.0
        with torch.inference_mode():
            for batch in (batch for batch, _, _ in validation_set.batches()):
                outputs = network.outputs(batch.inputs)
                _, of_planes = loss(outputs.logits, batch.planes, batch.weights)
                # there are two discs in every image
                value = of_planes["cross_entropy"] + of_planes["dice"] + 0.5 * outputs.empty.exp().log1p().mean()
                total += value.item() * len(batch.ids)
        assert row["valid_loss"] == pytest.approx(total / 3, abs=1e-4)
        assert {"train_empty", "train_deep_supervision"} <= row.keys()


class _Caching(nn.Module):
    """Keeps a tensor of the first input's size, and learns a factor of it."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(1))
        self.kept = None

    def forward(self, inputs):
        self.kept = torch.ones(3, *inputs.shape[-2:]) if self.kept is None else self.kept
        return inputs + self.kept * self.factor


def test_a_network_trains_with_what_it_cached_in_a_validation(samples, loss, scoring):
    learner = Learner(_Caching(), loss, make_settings(), make_distributed())
    validate(learner.predict, make_validation_set(samples, PadSpec(8)), loss=loss, **scoring)
    learner.network(torch.zeros(1, 1, 32, 40)).sum().backward()
