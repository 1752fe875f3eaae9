"""`bench-train`, with and without a store."""

import json

import pytest

from tests.steps.conftest import call


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
    assert all(0 < roofline["share"] < 1 for roofline in result["ceilings"].values())


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
