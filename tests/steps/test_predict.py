"""An interrupted prediction goes on, and all planes of a folder were predicted in one way."""

import pytest

from kaggle_unet.config import load_config
from kaggle_unet.models.plain_unet import PlainUNet
from kaggle_unet.steps.predict import predict_data


@pytest.fixture
def shown(monkeypatch):
    """How many images networks are shown in each forward pass."""
    sizes, forward = [], PlainUNet.forward

    def watch(network, inputs):
        sizes.append(len(inputs))
        return forward(network, inputs)

    monkeypatch.setattr(PlainUNet, "forward", watch)
    return sizes


def predict_test(trained, folder, *, batch=2, on_progress=lambda *_: None):
    config = load_config(trained.config, [f"inference.batch={batch}", "inference.flips=none"])
    predict_data(config, [trained.run / "fold0"], str(trained.test), folder, on_progress=on_progress, dry_run=False)


def stop_after_three(_what, done, _total):
    if done == 3:
        raise KeyboardInterrupt


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_an_interrupted_prediction_redoes_whole_batches_only_and_gives_the_same_planes(trained, tmp_path, shown):
    predict_test(trained, tmp_path / "whole")
    n_images = sum(shown)
    assert n_images >= 4

    with pytest.raises(KeyboardInterrupt):
        predict_test(trained, tmp_path / "cut", on_progress=stop_after_three)
    assert not (tmp_path / "cut" / "planes.json").exists()
    shown.clear()
    predict_test(trained, tmp_path / "cut")
    assert n_images - 3 < sum(shown) < n_images
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")

    shown.clear()
    predict_test(trained, tmp_path / "cut")
    assert not shown  # all is there
    predict_test(trained, tmp_path / "cut", batch=1)
    assert sum(shown) == n_images  # another batch moves last bits
