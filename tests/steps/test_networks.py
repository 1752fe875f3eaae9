"""What networks are shown."""

import numpy as np
import pytest
import torch

from kaggle_unet.config import parse_config, plain
from kaggle_unet.data.batch import PadSpec
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.models.checkpoint import load_checkpoint, save_checkpoint
from kaggle_unet.models.custom import trust_code
from kaggle_unet.steps.build import Ensemble, build_model, load_ensemble, predict_samples
from kaggle_unet.training.device import select_device
from kaggle_unet.types import Sample
from tests.steps.conftest import call

DEVICE = select_device("auto", "auto")

CONFIG = parse_config(
    "competition: {name: tgs}", ["decode.single_object=true", "codec.name=mask", "augmentation.preset=salt"]
)


class Seen(torch.nn.Module):
    """Gives its input and keeps its size."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, inputs):
        self.sizes.append(tuple(inputs.shape[-2:]))
        return inputs


def test_images_are_padded_to_a_multiple_of_what_the_network_takes_and_of_what_the_config_wants():
    image = np.random.default_rng(0).integers(0, 256, (101, 90), dtype=np.uint8)
    sample = Sample("a", image, np.zeros_like(image, np.int32))
    found = {}
    for wanted in (1, 24, 128):
        network = Seen()
        settings = InferenceSettings(pad_to_multiple=wanted)
        ensemble = Ensemble([network], CONFIG, PadSpec(16), {}, DEVICE)
        ((_, planes),) = predict_samples(ensemble, {"a": image.shape}, lambda _: sample, settings)
        assert planes.shape == (1, 101, 90)
        found[wanted] = network.sizes
    assert found == {1: [(112, 96)], 24: [(144, 96)], 128: [(128, 128)]}


NUCLEI = parse_config("competition: {name: dsb2018}", ["codec.name=mask"])


def discs(radius, n=9):
    """Draw nine discs as an image that is its own mask."""
    y, x = np.mgrid[: n * radius, : n * radius]
    image = ((y % (3 * radius) - 1.5 * radius) ** 2 + (x % (3 * radius) - 1.5 * radius) ** 2 < radius**2) * np.uint8(
        255
    )
    return Sample(f"{radius}", image, np.zeros_like(image, np.int32))


class Bright(Seen):
    """Calls what is bright an object."""

    def forward(self, inputs):
        return 40 * (super().forward(inputs) - 0.5)


def test_images_with_objects_of_another_size_are_shown_again_so_that_they_have_the_known_one():
    samples = {sample.id: sample for sample in map(discs, (4, 10, 24))}
    network = Bright()
    ensemble = Ensemble([network], NUCLEI, PadSpec(8), {}, DEVICE)
    sizes = {id_: sample.image.shape for id_, sample in samples.items()}
    found = dict(
        (sample.id, planes)
        for sample, planes in predict_samples(ensemble, sizes, samples.get, InferenceSettings(object_px=20))
    )
    sides = [height for height, _ in network.sizes]
    assert (sides[0], *sides[2:4]) == (40, 96, 216)
    assert len(sides) == 5  # the discs of radius 10 are as large as they should be
    again = [40 * 20 / 8, 216 * 20 / 48]
    assert [sides[1], sides[4]] == pytest.approx(again, abs=16)  # padded by 8, and discs of few pixels are smaller
    for id_, sample in samples.items():
        assert found[id_].shape == (1, *sample.image.shape)
        assert ((found[id_][0] > 0.5) == (sample.image > 0)).mean() > 0.97


def test_each_model_predicts_with_the_operations_that_it_chose():
    chosen = []

    class Watching(Seen):
        def forward(self, inputs):
            chosen.append(torch.are_deterministic_algorithms_enabled())
            return super().forward(inputs)

    sample = discs(4)
    configs = [NUCLEI, parse_config("competition: {name: dsb2018}", ["codec.name=mask", "training.deterministic=true"])]
    for config in (*configs, *configs[:1]):
        ensemble = Ensemble([Watching()], config, PadSpec(8), {}, DEVICE)
        list(predict_samples(ensemble, {"4": sample.image.shape}, lambda _: sample, InferenceSettings()))
    assert list(dict.fromkeys(chosen)) == [False, True]
    assert chosen[-1] is False


def test_images_are_shown_once_where_no_size_is_known():
    network = Bright()
    sample = discs(24)
    ensemble = Ensemble([network], NUCLEI, PadSpec(8), {}, DEVICE)
    list(predict_samples(ensemble, {"24": sample.image.shape}, lambda _: sample, InferenceSettings()))
    assert len(network.sizes) == 1


def test_images_that_are_shown_larger_are_cut_into_tiles_as_small_as_others():
    network, sample = Bright(), discs(4)
    settings = InferenceSettings(object_px=40, tile_px=128, overlap_px=8)
    ((_, planes),) = predict_samples(
        Ensemble([network], NUCLEI, PadSpec(8), {}, DEVICE), {"4": sample.image.shape}, lambda _: sample, settings
    )
    assert network.sizes[0] == (40, 40)
    assert len(network.sizes) > 2
    assert max(max(shape) for shape in network.sizes) <= 128 + 8 * 4  # rounded up before it is scaled
    assert planes.shape == (1, *sample.image.shape)
    assert ((planes[0] > 0.5) == (sample.image > 0)).mean() > 0.97


@pytest.mark.parametrize(("radius", "overlap_px"), [(4, 32), (40, 32), (4, 120)])
def test_a_network_is_shown_tiles_of_one_size_at_every_scale(radius, overlap_px):
    settings = InferenceSettings(object_px=20, tile_px=128, overlap_px=overlap_px)
    network, sample = Bright(), discs(radius)
    ensemble = Ensemble([network], NUCLEI, PadSpec(8), {}, DEVICE)
    ((_, planes),) = predict_samples(ensemble, {"x": sample.image.shape}, lambda _: sample, settings)
    assert max(max(shape) for shape in network.sizes) <= 128 + 8 * 20 / (2 * radius)  # rounded up before it is scaled
    assert ((planes[0] > 0.5) == (sample.image > 0)).mean() > 0.97


def test_checkpoints_of_other_codecs_are_combined_where_their_planes_allow_it(trained, tmp_path):
    def submit(codec, *files):
        words = [word for file in files for word in ("--checkpoint", file)]
        words += ["--set", f"codec.name={codec}", "--set", "weights.classes={}"]
        return call("submit", trained.config, "--data", trained.test, *words, "-o", tmp_path / "x.csv")

    mine = trained.run / "fold0" / "best.safetensors"
    if trained.name == "tgs":  # has learnt a mask
        answer = call("submit", trained.config, "--data", tmp_path / "nowhere.zip", "--checkpoint", mine, "-o",
                      tmp_path / "x.csv", "--set", "codec.name=mask_border", "--set", "decode.single_object=false",
                      "--set", "competition.name=folder")  # fmt: skip
        assert answer.code == 2
        assert "have no border" in answer.err
        assert "best.safetensors" in answer.err
        assert "can't be used with this config; give the run itself" in answer.err
        return
    answer = call("submit", trained.config, "--data", trained.test, "--checkpoint", mine, "-o", tmp_path / "x.csv",
                  "--set", "input.normalize=range")  # fmt: skip
    assert "the checkpoints can't be used with this config; give the run itself" in answer.err
    assert f"input.normalize: 'range' in the config, 'percentile' in {mine}" in answer.err
    assert "averaged" not in answer.err
    for codec in ("mask", "mask_border", "interior_border", "interior_border_background"):
        answer = submit(codec, mine, trained.run / "fold1")
        assert answer.code == 0, answer.err


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made["config"]["model"].update(filters=8000),
        lambda made: made["model"].popitem(),
        lambda made: made.update(model=[1]),
    ],
)
def test_a_checkpoint_that_does_not_fit_its_own_config_is_refused_before_it_takes_memory(
    trained_home, tmp_path, monkeypatch, change
):
    made = load_checkpoint(trained_home("dsb2018") / "run" / "fold0" / "best.safetensors")
    change(made)
    save_checkpoint(tmp_path / "best.safetensors", made)
    devices = []
    build = build_model
    monkeypatch.setattr(
        "kaggle_unet.steps.build.build_model",
        lambda *words, **options: devices.append(torch.get_default_device().type) or build(*words, **options),
    )
    with pytest.raises(DataError, match="not those of the network that its config describes"):
        load_ensemble([tmp_path / "best.safetensors"])
    assert devices == ["meta"]


@pytest.mark.parametrize(
    ("architecture", "options", "says"),
    [
        (
            "fpn",
            {"upsampling": 2},
            r"model.options .*: returns \(1, 1, 32, 32\) for an input of shape \(1, 1, 64, 64\)",
        ),
        ("fpn", {"encoder_depth": 3}, r"returns \(1, 1, 256, 256\) "),
        ("pan", {"encoder_depth": 4}, r"\(1, 1, 64, 64\): RuntimeError: .*set augmentation.crop_px to a size that"),
    ],
)
def test_smp_networks_whose_logits_have_another_size_are_refused_before_training(architecture, options, says):
    model = {"name": "smp", "architecture": architecture, "encoder": "resnet18", "options": options}
    config = NUCLEI.model_validate({**NUCLEI.model_dump(), "model": model, "augmentation": {"crop_px": 60}})
    with pytest.raises(ConfigError, match=says):
        build_model(config)
    build_model(config, load_encoder=False)  # of a checkpoint


def test_a_network_for_large_crops_is_built_for_them():
    model = {"name": "smp", "architecture": "pan", "encoder": "resnet18"}
    config = NUCLEI.model_validate({**NUCLEI.model_dump(), "model": model, "augmentation": {"crop_px": 128}})
    assert build_model(config).training


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"decoder_use_norm": "layernorm"}, r"\(1, 1, 224, 224\): RuntimeError: .*set augmentation.crop_px"),
        ({"decoder_interpolation": "cubist"}, "NotImplementedError"),
        ({"decoder_use_norm": "instancenorm"}, "smp can't create a unet .*instancenorm"),
        ({"decoder_channels": [-1] * 5}, "smp can't create a unet .*negative dimension"),
    ],
    ids=["norm", "interpolation", "instancenorm", "channels"],
)
def test_options_that_no_network_can_have_are_refused_before_whole_images_are_trained_on(options, says):
    model = {"name": "smp", "encoder": "resnet18", "options": options}
    with pytest.raises(ConfigError, match=says):
        build_model(NUCLEI.model_validate({**NUCLEI.model_dump(), "model": model}))


def one_by_one(in_channels, out_channels):
    return torch.nn.Conv2d(in_channels, out_channels, 1)


def test_networks_that_are_averaged_are_shown_what_all_of_them_take(tmp_path):
    models = [
        {"name": "python:tests.steps.test_networks:one_by_one", "input_multiple": 12},
        {"name": "plain_unet", "filters": 2, "depth": 3},
    ]
    with trust_code():
        for number, model in enumerate(models):
            config = NUCLEI.model_validate({**NUCLEI.model_dump(), "model": model})
            made = {"config": plain(config), "model": build_model(config).state_dict(), "score": 0.5, "format": 2}
            save_checkpoint(tmp_path / f"{number}.safetensors", made)
        ensemble = load_ensemble([tmp_path / "0.safetensors", tmp_path / "1.safetensors"])
    assert ensemble.pad_spec.multiple == 24
