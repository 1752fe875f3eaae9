"""Planes on a device are the CPU's, to 2e-3; on a GPU by `scripts/gpu-check`."""

import numpy as np
import pytest
import torch

from kaggle_unet.inference.predict import predict_planes
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.models.settings import PlainUNetSettings
from tests.training.tiny import DEVICES

pytestmark = pytest.mark.parametrize("device", DEVICES)


def predict(device, settings, *, n_planes=2, channels_last=False, **how):
    torch.manual_seed(0)
    models = [PlainUNet(1, n_planes, PlainUNetSettings(filters=8, depth=3)) for _ in range(2)]
    rng = np.random.default_rng(0)
    images = {f"{n}": rng.standard_normal((1, *shape)).astype(np.float32) for n, shape in enumerate([(40, 56)] * 3)}
    options = {"activation": "sigmoid", "device": device, "channels_last": channels_last, **how}
    return dict(predict_planes(models, images.items(), settings=settings, **options))


PLANE_SETTINGS = {
    "one view": {},
    "all flips": {"flips": "d4"},
    "geometric": {"flips": "horizontal", "mean": "geometric"},
    "scales": {"scales": (1.0, 0.5)},
    "tiles": {"tile_px": 40, "overlap_px": 8},
}


@pytest.mark.parametrize("activation", ["sigmoid", "softmax"])
@pytest.mark.parametrize("views", PLANE_SETTINGS)
def test_planes_are_those_of_the_cpu(device, views, activation):
    settings = InferenceSettings(batch=2, pad_to_multiple=8, **PLANE_SETTINGS[views])
    expected = predict("cpu", settings, activation=activation)
    found = predict(device, settings, activation=activation, channels_last=True)
    assert list(found) == list(expected)
    for name, planes in expected.items():
        assert np.ptp(planes) > 0.1
        np.testing.assert_allclose(found[name], planes, rtol=0, atol=2e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_planes_in_mixed_precision_are_near(device, dtype):
    settings = InferenceSettings(batch=2, pad_to_multiple=8)
    expected, found = predict("cpu", settings), predict(device, settings, autocast_dtype=dtype)
    for name, planes in expected.items():
        np.testing.assert_allclose(found[name], planes, rtol=0, atol=0.03)


def test_a_batch_that_fills_the_memory_is_halved(device, monkeypatch):
    """On a GPU by asking for a petabyte; on a CPU, a network pretends."""
    whole = predict(device, InferenceSettings(batch=3, pad_to_multiple=8))
    forward = PlainUNet.forward

    def hungry(self, inputs):
        if len(inputs) > 1 and device == "cpu":
            raise torch.OutOfMemoryError
        if len(inputs) > 1:
            torch.empty(1 << 50, dtype=torch.uint8, device=device)
        return forward(self, inputs)

    monkeypatch.setattr(PlainUNet, "forward", hungry)
    with pytest.warns(UserWarning, match="from here on 1 at once"):
        halved = predict(device, InferenceSettings(batch=3, pad_to_multiple=8))
    for name, planes in whole.items():
        np.testing.assert_allclose(halved[name], planes, rtol=0, atol=2e-3)
