"""The race of an exported file and PyTorch is between equals."""

from kaggle_unet.config import Config
from tests.bench.exported import RIVALS, measure


def test_all_rivals_are_timed_on_planes_that_agree():
    config = Config(competition={"name": "dsb2018"}, model={"name": "plain_unet", "filters": 2, "depth": 2})
    found = measure(config, side=24, n_images=3, rounds=1)
    assert tuple(found) == RIVALS
    assert all(seconds > 0 for seconds, _ in found.values())
    assert found["onnxruntime"][1] < 1e-4
    assert found["torch bf16"][1] < 0.05
