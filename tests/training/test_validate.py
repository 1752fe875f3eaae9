import pytest
import torch

from kaggle_unet.data.batch import Sides
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.training.validate import Finish, validate
from tests.training.tiny import draw_sample, make_validation_set


@pytest.fixture
def samples():
    return {f"v{n}": draw_sample(f"v{n}", 10 + n) for n in range(3)}


def oracle(validation_set, margin):
    """A network that knows the answers, `margin` pixels smaller at each edge."""
    answers = {whole.batch.inputs.numpy().tobytes(): whole.batch.planes for whole in validation_set.batches()}

    def predict(inputs):
        logits = (answers[inputs.numpy().tobytes()] - 0.5) * 40
        return logits[..., margin : logits.shape[-2] - margin, margin : logits.shape[-1] - margin]

    return predict


@pytest.mark.parametrize("margin", [0, 4])
def test_a_network_that_knows_the_answers_scores_one(samples, margin, loss, finish):
    validation_set = make_validation_set(samples, Sides(8, margin))
    result = validate(oracle(validation_set, margin), validation_set, loss=loss, finish=finish)
    assert result.score == 1
    assert dict(result.scores) == {"v0": 1, "v1": 1, "v2": 1}
    assert result.loss < 0.01


def test_a_network_that_sees_nothing_scores_nothing(samples, loss, finish):
    validation_set = make_validation_set(samples, Sides(8))
    blank = torch.tensor([-9.0, -9.0, 9.0])[None, :, None, None]
    result = validate(
        lambda inputs: blank.expand(len(inputs), 3, *inputs.shape[-2:]), validation_set, loss=loss, finish=finish
    )
    assert result.score == 0
    assert result.loss > 1


def test_score_and_loss_are_means_over_images(samples, finish):
    validation_set = make_validation_set(samples, Sides(8))
    values = iter([torch.tensor(1.0), torch.tensor(4.0)])
    is_known = {"v0": True, "v1": False, "v2": False}
    knows = oracle(validation_set, 0)
    ids = iter([["v0", "v1"], ["v2"]])

    def predict(inputs):
        known = torch.tensor([is_known[id_] for id_ in next(ids)])[:, None, None, None]
        return torch.where(known, knows(inputs), torch.tensor([-9.0, -9.0, 9.0])[None, :, None, None])

    result = validate(predict, validation_set, loss=lambda *_: (next(values), {}), finish=finish)
    # two images in the first batch, one in the second
    assert result.loss == pytest.approx((1 + 1 + 4) / 3)
    assert result.score == pytest.approx(1 / 3)


def test_sigmoid_planes_are_decoded_as_such(samples, finish, loss):
    codec = CODECS["interior_border"]
    validation_set = make_validation_set(samples, Sides(8))
    knows = oracle(validation_set, 0)
    sigmoid = Finish(codec, finish.decode, finish.postprocess, finish.metric)
    result = validate(
        lambda inputs: knows(inputs)[:, :2], validation_set, loss=lambda *_: (torch.zeros(()), {}), finish=sigmoid
    )
    assert result.score == 1
