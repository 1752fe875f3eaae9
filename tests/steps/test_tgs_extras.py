"""What only TGS needs: tiles of 101 pixels shown as 128 and cut back, depth as an input, a gate for empty tiles."""

import csv
import io
import shutil
from collections import defaultdict

import numpy as np
import pytest
import torch
from PIL import Image

from kaggle_unet.config import load_config
from kaggle_unet.data.batch import PadSpec
from kaggle_unet.data.inputs import prepare
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.models.checkpoint import load_checkpoint, save_checkpoint
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.steps.build import Ensemble, predict_samples
from kaggle_unet.synthetic.files import write_tgs_zip
from kaggle_unet.training.device import select_device
from kaggle_unet.types import Sample
from tests.steps.conftest import call

DEVICE = select_device("auto", "auto")

TILE = 101
# Mirrored 13 pixels above and to the left, 14 below and to the right.
INSIDE = slice(13, 13 + TILE)
CONFIG = """
competition: {name: tgs}
codec: {name: mask}
input: {channels: [gray, depth], normalize: range}
folds: {n: 2, stratify: none}
model: {name: plain_unet, filters: 4, depth: 2, empty_head: {gate_above: 0.5}}
loss: {empty: 0.1}
augmentation: {preset: none}
# In fp32, whatever the machine: pixels are told from what networks are shown, which bfloat16 rounds.
training: {epochs: 1, batch: 4, precision: 32, optimizer: {name: adam, learning_rate: 1e-2}}
inference: {pad_to_multiple: 128}
decode: {single_object: true, mask_threshold: 0.001, seed_threshold: 0.001}
"""


class Tiles:
    """Drawn tiles with their true depths, a config, and after `trained` a store and a run."""

    def __init__(self, home):
        self.home, self.config = home, home / "configs" / "tgs" / "extras.yaml"
        self.store, self.run = home / "store", home / "run"
        self.config.parent.mkdir(parents=True)
        self.config.write_text(CONFIG)
        self.images = {}
        for name, seed, n in (("train", 5, 8), ("test", 6, 4)):
            write_tgs_zip(home / f"{name}.zip", seed, n, with_masks=name == "train")
            shutil.unpack_archive(home / f"{name}.zip", home / name)
            for path in (home / name / "images").iterdir():
                self.images[path.stem] = np.asarray(Image.open(path).convert("L"))
        with (home / "depths.csv").open() as file:
            self.depths = {row["id"]: float(row["z"]) for row in csv.DictReader(file)}

    def ids(self, name):
        return sorted(path.stem for path in (self.home / name / "images").iterdir())


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return Tiles(tmp_path_factory.mktemp("extras"))


@pytest.fixture
def shown(monkeypatch):
    """Inputs that networks are shown, one for each image, by whether the network learns."""
    seen, forward = defaultdict(list), PlainUNet.forward

    def watch(network, inputs):
        seen["train" if network.training else "eval"] += list(inputs.detach().numpy().copy())
        return forward(network, inputs)

    monkeypatch.setattr(PlainUNet, "forward", watch)
    outputs = getattr(PlainUNet, "outputs", None)
    if outputs is not None:  # validation asks for the empty head's answer, too

        def watch_outputs(network, inputs):
            if not network.training:
                seen["eval"] += list(inputs.detach().numpy().copy())
            return outputs(network, inputs)

        monkeypatch.setattr(PlainUNet, "outputs", watch_outputs)
    return seen


def recognise(tiles, inputs):
    """Name the tile that inputs show, and check that they are its pixels, mirrored to 128, and its depth."""
    assert inputs.shape == (2, 128, 128)
    pixels = np.round(inputs[0, INSIDE, INSIDE] * 255).astype(np.uint8)
    (id_,) = (key for key, image in tiles.images.items() if np.array_equal(image, pixels))
    np.testing.assert_array_equal(inputs[0], np.pad(inputs[0, INSIDE, INSIDE], ((13, 14), (13, 14)), mode="symmetric"))
    np.testing.assert_allclose(inputs[1], tiles.depths[id_] / 1000, rtol=1e-6)
    return id_


@pytest.fixture(scope="module")
def trained(tiles):
    """The tiles after `make-targets` and `train --fold 0`."""
    answer = call("make-targets", tiles.config, "--data", tiles.home / "train.zip", "--store", tiles.store)
    assert answer.code == 0, answer.err
    answer = call("train", tiles.config, "--fold", 0, "--store", tiles.store, "--run", tiles.run)
    assert answer.code == 0, answer.err
    return tiles


def test_training_and_validation_are_shown_tiles_of_128_with_their_own_depths(trained, tmp_path, shown):
    answer = call("train", trained.config, "--fold", 1, "--store", trained.store, "--run", tmp_path / "run")
    assert answer.code == 0, answer.err
    with (tmp_path / "run" / "folds.csv").open() as file:
        folds = {row["id"]: row["fold"] for row in csv.DictReader(file)}
    assert sorted(recognise(trained, one) for one in shown["train"]) == sorted(
        id_ for id_ in folds if folds[id_] == "0"
    )
    validated = {recognise(trained, one) for one in shown["eval"]}
    assert validated == {id_ for id_ in folds if folds[id_] == "1"}
    assert len({trained.depths[id_] for id_ in folds}) > 1, "one depth for all would prove nothing"


@pytest.mark.parametrize("verb", ["predict", "submit", "pseudo-label"])
def test_every_verb_that_predicts_shows_tiles_of_128_with_their_own_depths(trained, tmp_path, shown, verb):
    words = {
        "predict": ["--planes", tmp_path / "planes"],
        "submit": ["-o", tmp_path / "x.csv"],
        "pseudo-label": ["--store", tmp_path / "store", "--confidence", 0, "--run", trained.run],
    }[verb]
    checkpoint = ["--checkpoint", trained.run / "fold0"]
    answer = call(verb, trained.config, *checkpoint, "--data", trained.home / "test.zip", *words)
    assert answer.code == 0, answer.err
    assert {recognise(trained, one) for one in shown["eval"]} == set(trained.ids("test"))


def test_added_samples_are_shown_with_their_own_depths(trained, tmp_path, shown):
    words = ["--run", trained.run, "--data", trained.home / "test.zip", "--store", tmp_path / "store"]
    assert call("pseudo-label", trained.config, *words, "--confidence", 0).code == 0
    shown.clear()
    answer = call("train", trained.config, "--fold", 0, "--store", trained.store, "--run", tmp_path / "run",
                  "--add-store", tmp_path / "store")  # fmt: skip
    assert answer.code == 0, answer.err
    learnt = sorted(recognise(trained, one) for one in shown["train"])
    assert set(trained.ids("test")) < set(learnt)
    assert len(learnt) == 8


class Slanted(torch.nn.Module):
    """A network without symmetry that looks at nothing but its own pixel and answers with the input itself."""

    def forward(self, inputs):
        return inputs[:, :1] * 3 - 1


def test_what_is_padded_is_cut_back_exactly(tiles):
    config = load_config(tiles.config)
    ids = tiles.ids("test")
    samples = {id_: Sample(id_, tiles.images[id_], numbers={"depth": tiles.depths[id_]}) for id_ in ids}
    sizes = dict.fromkeys(ids, (TILE, TILE))
    for flips in ("none", "horizontal"):
        settings = InferenceSettings(pad_to_multiple=128, flips=flips)
        found = list(
            predict_samples(Ensemble([Slanted()], config, PadSpec(4), {}, DEVICE), sizes, samples.__getitem__, settings)
        )
        assert [sample.id for sample, _ in found] == ids
        for sample, planes in found:
            gray = prepare(sample.image, config.input, depth=0)[:1]
            expected = torch.sigmoid(torch.from_numpy(gray) * 3 - 1).numpy().astype(np.float16)
            assert planes.shape == (1, TILE, TILE)
            np.testing.assert_allclose(planes, expected, atol=2**-11)


@pytest.fixture
def without_a_depth(trained, tmp_path):
    """Data whose depths.csv lacks one row of the training set and one of the test set."""
    lost = {name: trained.ids(name)[1] for name in ("train", "test")}
    for name in lost:
        shutil.copy(trained.home / f"{name}.zip", tmp_path)
    rows = [(id_, f"{depth:g}") for id_, depth in trained.depths.items() if id_ not in lost.values()]
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows([("id", "z"), *rows])
    (tmp_path / "depths.csv").write_text(table.getvalue())
    return lost


def test_a_training_sample_without_depth_is_named_before_anything_is_trained(trained, tmp_path, without_a_depth):
    store = tmp_path / "store"
    data = tmp_path / "train.zip"
    answer = call("make-targets", trained.config, "--data", data, "--store", store)
    assert answer.code == 0, answer.err
    assert "not in depths.csv" in answer.out
    for fold in (0, 1):  # on either side of the fold
        words = ["--store", store, "--run", tmp_path / f"run{fold}"]
        answer = call("train", trained.config, "--fold", fold, *words)
        assert answer.code == 3
        assert (
            f"{data}: 1 samples have no finite depth, but input.channels contains depth; add their rows to depths.csv"
            in answer.err
        )
        assert f"sample '{without_a_depth['train']}'" in answer.err
        answer = call("train", trained.config, "--fold", fold, *words, "--set", "input.channels=[gray]")
        assert answer.code == 0, answer.err


def test_an_image_without_depth_is_named_before_pseudo_labels_are_stored(trained, tmp_path, without_a_depth):
    words = ["--run", trained.run, "--data", tmp_path / "test.zip", "--store", tmp_path / "store"]
    answer = call("pseudo-label", trained.config, *words)
    assert answer.code == 3
    assert f"{tmp_path / 'test.zip'}: 1 samples have no finite depth" in answer.err
    assert f"sample '{without_a_depth['test']}'" in answer.err
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("verb", ["predict", "submit"])
def test_an_image_without_depth_ends_a_prediction(trained, tmp_path, without_a_depth, verb):
    words = {"predict": ["--planes", tmp_path / "planes"], "submit": ["-o", tmp_path / "x.csv"]}[verb]
    answer = call(verb, trained.config, "--checkpoint", trained.run / "fold0", "--data", tmp_path / "test.zip", *words)
    assert answer.code == 3
    assert f"sample '{without_a_depth['test']}'" in answer.err
    assert not (tmp_path / "x.csv").exists()


def test_tiles_held_to_be_empty_are_blank_in_a_submission(trained, tmp_path):
    blank = {}
    for name, bias in (("empty", 20.0), ("salt", -20.0)):
        checkpoint = load_checkpoint(trained.run / "fold0" / "best.safetensors")
        (head,) = (key for key in checkpoint["model"] if key.endswith("linear.bias"))
        checkpoint["model"][head] = torch.tensor([bias])
        save_checkpoint(tmp_path / name / "best.safetensors", checkpoint)
        answer = call("submit", trained.config, "--data", trained.home / "test.zip", "--checkpoint", tmp_path / name,
                      "-o", tmp_path / f"{name}.csv")  # fmt: skip
        assert answer.code == 0, answer.err
        with (tmp_path / f"{name}.csv").open() as file:
            blank[name] = [row["rle_mask"] == "" for row in csv.DictReader(file)]
    assert blank == {"empty": [True] * 4, "salt": [False] * 4}


@pytest.mark.parametrize(("gate", "is_blank"), [("0.5", True), ("0.99", False), ("null", False)])
def test_the_gate_is_the_config_s_not_the_checkpoint_s(trained, tmp_path, gate, is_blank):
    checkpoint = load_checkpoint(trained.run / "fold0" / "best.safetensors")
    (weight,) = (key for key in checkpoint["model"] if key.endswith("linear.weight"))
    checkpoint["model"][weight].zero_()
    checkpoint["model"][weight.replace("weight", "bias")] = torch.tensor([3.0])  # a probability of 0.95
    save_checkpoint(tmp_path / "best.safetensors", checkpoint)
    data = trained.home / "test.zip"
    answer = call("submit", trained.config, "--data", data, "--checkpoint", tmp_path / "best.safetensors",
                  "-o", tmp_path / "x.csv", "--set", f"model.empty_head.gate_above={gate}")  # fmt: skip
    assert answer.code == 0, answer.err
    with (tmp_path / "x.csv").open() as file:
        assert {row["rle_mask"] == "" for row in csv.DictReader(file)} == {is_blank}


def test_rules_empty_full_and_black_tiles_in_a_submission(trained, tmp_path):
    checkpoint = load_checkpoint(trained.run / "fold0" / "best.safetensors")
    (head,) = (key for key in checkpoint["model"] if key.endswith("linear.bias"))
    checkpoint["model"][head] = torch.tensor([-20.0])  # no gate: with its low threshold every pixel is salt
    save_checkpoint(tmp_path / "salt" / "best.safetensors", checkpoint)
    data = tmp_path / "data"
    shutil.copytree(trained.home / "test", data)
    shutil.copy(trained.home / "depths.csv", data / "depths.csv")
    first = sorted((data / "images").iterdir())[0]
    Image.new("L", (TILE, TILE)).save(first)

    def submit(*rules):
        words = ("--data", data, "--checkpoint", tmp_path / "salt", "-o", tmp_path / "x.csv")
        answer = call("submit", trained.config, *words, *(word for rule in rules for word in ("--set", rule)))
        assert answer.code == 0, answer.err
        with (tmp_path / "x.csv").open() as file:
            return [row["rle_mask"] == "" for row in csv.DictReader(file)], answer.err

    blank, said = submit()
    assert blank == [False] * 4
    assert "without content" in said
    assert submit("postprocess.full_is_empty=true")[0] == [True] * 4
    blank, said = submit("postprocess.constant_is_empty=true")
    assert blank == [True, False, False, False]
    assert "without content" not in said
