"""`bench-train`, with and without a store."""

import json

import pytest
import torch

from kaggle_unet.steps.bench_train import count_step, measure_roofline
from tests.steps.conftest import call
from tests.training.test_train_epoch import make_batch, make_learner


@pytest.mark.parametrize("name", ["dsb2018", "tgs", "folder"])
def test_without_a_store_images_are_drawn_and_that_is_said(drawn_config, tmp_path, name):
    config, _, _ = drawn_config(name)
    answer = call("bench-train", config, "--store", tmp_path / "none", "--steps", 1, "--repeat", 1, "--json")
    assert answer.code == 0, answer.err
    result = json.loads(answer.out)
    assert "drawn samples, as there is no" in result["data"]
    assert not (tmp_path / "none").exists()
    assert set(result["loops"]) == {"real loop", "bare step", "plain fp32 loop"}
    for loop in result["loops"].values():
        assert 0 < loop["lowest"] <= loop["images_per_s"] <= loop["highest"]
    speeds = {loop: result["loops"][loop]["images_per_s"] for loop in result["loops"]}
    assert result["ratios"] == {
        "real loop / bare step": pytest.approx(speeds["real loop"] / speeds["bare step"]),
        "bare step / plain fp32 loop": pytest.approx(speeds["bare step"] / speeds["plain fp32 loop"]),
    }
    assert all(0 < best["share"] < 1 for best in result["ceilings"].values())


def test_a_store_is_measured_and_a_person_can_read_it(drawn_config, tmp_path):
    config, data, _ = drawn_config("dsb2018")
    assert call("make-targets", config, "--data", data, "--store", tmp_path / "store").code == 0
    answer = call("bench-train", config, "--store", tmp_path / "store", "--steps", 1, "--repeat", 2,
                  "--set", "training.precision=bf16")  # fmt: skip
    assert answer.code == 0, answer.err
    assert "4 samples of" in answer.out  # one step's batch
    assert "precision bf16" in answer.out
    for words in ("real loop / bare step:", "bare step / plain fp32 loop:", "matrix product:", "memory copy:"):
        assert words in answer.out


def test_the_plain_loop_is_in_fp32_whatever_the_config_says(drawn_config, tmp_path, monkeypatch):
    from kaggle_unet.steps import bench_train
    from kaggle_unet.training.step import Learner

    made = []

    class Watched(Learner):
        def __init__(self, network, loss, settings, distributed):
            made.append(distributed.device_config)
            super().__init__(network, loss, settings, distributed)

    monkeypatch.setattr(bench_train, "Learner", Watched)
    config, _, _ = drawn_config("dsb2018")
    words = ["--steps", 1, "--repeat", 1, "--set", "training.precision=bf16", "--set", "training.channels_last=true"]
    assert call("bench-train", config, "--store", tmp_path / "none", *words).code == 0
    assert [(device_config.precision, device_config.channels_last) for device_config in made] == [
        ("bf16", True),
        ("32", False),
    ]


def test_a_step_is_counted_by_hand():
    learner = make_learner()
    n_flops, n_bytes = count_step(learner, make_batch(3))
    # one multiplication and addition a pixel forward, and one backward for the weight: inputs need no gradient
    assert n_flops == 4 * 2 * 2
    # the convolution alone reads four pixels and a weight, writes four pixels; backward does it again
    assert n_bytes >= 2 * 4 * (4 + 1 + 4)
    assert learner.network.weight.item() == 2
    assert learner.network.weight.grad is None


def test_what_a_view_shows_is_not_moved():
    bare = count_step(make_learner(loss=lambda logits, *_: (logits.mean(), {})), make_batch(3))[1]
    viewed = count_step(make_learner(loss=lambda logits, *_: (logits.flatten().mean(), {})), make_batch(3))[1]
    assert viewed == bare
    copied = count_step(make_learner(loss=lambda logits, *_: (logits.clone().mean(), {})), make_batch(3))[1]
    assert copied > bare


def test_the_roofline_is_far_above_nothing():
    flops_per_s, bytes_per_s = measure_roofline(torch.device("cpu"), None)
    assert flops_per_s > 1e8
    assert bytes_per_s > 1e7
