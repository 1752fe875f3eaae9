"""What an exported file costs beside PyTorch: `python -m tests.bench.exported CONFIG [--sides 256,1024] [--rounds 9]`.

The networks have random weights, on which time does not depend. The three take turns in one process, on equal inputs,
one view of each image. Printed are medians of CPU time over all threads, which other jobs on the machine change little.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from kaggle_unet.config import load_config, plain
from kaggle_unet.inference.predict import predict_planes
from kaggle_unet.models.checkpoint import FORMAT, save_checkpoint
from kaggle_unet.steps.build import build_model, load_ensemble
from kaggle_unet.steps.export import export
from kaggle_unet.training.device import AUTOCAST_DTYPES

RIVALS = ("onnxruntime", "torch 32", "torch bf16")


def make_ensembles(config, folder):
    """Return ensembles of one network: exported, in float32 and in bf16."""
    torch.manual_seed(0)
    checkpoint = {"format": FORMAT, "config": plain(config), "score": 0.0, "model": build_model(config).state_dict()}
    save_checkpoint(folder / "best.safetensors", checkpoint)
    export(config, [folder], folder / "model.onnx", decode="config")
    precise = {
        name: config.model_copy(update={"training": config.training.model_copy(update={"precision": name[6:]})})
        for name in RIVALS[1:]
    }
    return {
        RIVALS[0]: load_ensemble([folder / "model.onnx"]),
        **{name: load_ensemble([folder], precise[name]) for name in RIVALS[1:]},
    }


def time_once(ensemble, images):
    """Return the CPU seconds of one call and its planes."""
    config, device = ensemble.config, ensemble.device_config
    settings = config.inference.model_copy(
        update={"flips": "none", "weights": None, "pad_to_multiple": ensemble.pad_spec.multiple}
    )
    start = time.process_time()
    predicted = predict_planes(
        ensemble.models,
        enumerate(images),
        settings=settings,
        activation=config.decoder.codec.activation,
        device=device.device,
        autocast_dtype=AUTOCAST_DTYPES[device.precision],
        channels_last=device.channels_last,
    )
    planes = np.stack([planes for _, planes in predicted])
    return time.process_time() - start, planes


def measure(config, side, n_images, rounds):
    """Return median CPU seconds, and the largest difference of a probability from float32, of each rival."""
    channels = len(config.input.channels)
    images = np.random.default_rng(0).random((n_images, channels, side, side)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        ensembles = make_ensembles(config, Path(folder))
    planes = {name: time_once(ensemble, images)[1] for name, ensemble in ensembles.items()}
    seconds = {name: [] for name in ensembles}
    for _ in range(rounds):
        for name, ensemble in ensembles.items():
            seconds[name].append(time_once(ensemble, images)[0])
    return {
        name: (statistics.median(seconds[name]), float(np.abs(planes[name] - planes["torch 32"]).max()))
        for name in ensembles
    }


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.exported", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--sides", default="256,1024", help="sides in pixels; 2²⁰ pixels of each are predicted")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    for side in map(int, chosen.sides.split(",")):
        n_images = max(1, (1 << 20) // side**2)
        found = measure(load_config(chosen.config), side, n_images, chosen.rounds)
        for name, (seconds, difference) in found.items():
            ms = 1000 * seconds / n_images
            print(f"{side:>5} px  {name:<12} {ms:8.1f} ms an image, at most {difference:.1g} from torch 32")


if __name__ == "__main__":
    main()
