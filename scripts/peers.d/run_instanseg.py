"""InstanSeg by its own training script and defaults, shortened: epochs of 60 crops in place of 1,000.

Its rate is constant and the best epoch is kept, so it is stopped by time; the hot start (by default 10 of 510 epochs)
gets a quarter. The script wants a process that loads, whose time would not be seen: it loads in this one.
"""

import json
import sys
from contextlib import suppress
from pathlib import Path
from time import process_time
from typing import Any

import torch
from instanseg.scripts import train as script
from instanseg.utils import AI_utils
from instanseg.utils.augmentations import Augmentations
from instanseg.utils.loss.instanseg_loss import InstanSeg
from instanseg.utils.model_loader import load_model
from instanseg.utils.tiling import _instanseg_padding, _recover_padding
from stages import Part, run

CROPS, BATCH = 60, 3
TRIALS = 15  # of thresholds; by default 50, each of which takes a minute of a core on a network that has seen little


class TimeUpError(Exception):
    """The time of a phase is over."""


def describe(part: Part) -> list[dict[str, Any]]:
    """Return images and labels as its data sets have them; the pixel size is not used."""
    about = {"parent_dataset": "subset", "image_modality": "Fluorescence", "pixel_size": 0.5}
    return [{"image": image, "nucleus_masks": labels, **about} for image, labels in zip(*part, strict=True)]


def train(part: Part, validation: Part, work: Path, seconds: float) -> dict[str, int]:
    """Run its script, with each of its two phases ended by time."""
    until, starts = seconds, [0.0]  # of its epochs
    loader, train_epoch, phase = torch.utils.data.DataLoader, AI_utils.train_epoch, script.main

    def load_here(*args: Any, num_workers: int, persistent_workers: bool, **more: Any) -> Any:  # noqa: ARG001
        return loader(*args, **more)

    def train_in_time(*args: Any, **more: Any) -> Any:
        now = process_time()
        if now + (now - starts[-1]) / 2 > until and len(starts) > 1:  # the nearer end
            raise TimeUpError
        starts.append(now)
        return train_epoch(*args, **more)

    def end_in_time(model: Any, *args: Any, epoch_name: str = "output_epoch", **more: Any) -> Any:
        nonlocal until
        is_hot = epoch_name == "hotstart_epoch"
        until = process_time() + (seconds - process_time()) / 4 if is_hot else seconds
        try:
            return phase(model, *args, epoch_name=epoch_name, **more)
        except TimeUpError:
            if not is_hot:
                raise
            return model, [], [], [], []

    torch.utils.data.DataLoader, AI_utils.train_epoch, script.main = load_here, train_in_time, end_in_time
    sys.argv = sys.argv[:1]  # which its script parses, too
    with suppress(TimeUpError):
        script.instanseg_training(
            {"Train": describe(part), "Validation": describe(validation)},
            source_dataset="[subset]",
            output_path=str(work),
            experiment_str="model",
            length_of_epoch=CROPS,
            hotstart_training=10_000,
            num_epochs=10_000,
            on_cluster=True,
            rng_seed=1,
            device="cpu",
        )
    crops = (len(starts) - 1) * CROPS
    return {"steps": crops // BATCH, "crops": crops, "side_px": 256}


def load(work: Path) -> tuple[Any, Any]:
    """Load the network and its way from planes to labels."""
    model, about = load_model(folder="", path=work / "model")
    method = InstanSeg(
        binary_loss_fn_str=about["binary_loss_fn"],
        seed_loss_fn=about["seed_loss_fn"],
        n_sigma=about["n_sigma"],
        window_size=128,
        device="cpu",
    )
    method.initialize_pixel_classifier(model)
    return model.eval(), method


def predict_planes(model: Any, image: Any) -> Any:
    """Predict the planes of an image as its testing script does."""
    augmentations = Augmentations(dim_in=3)
    tensor, _ = augmentations.normalize(augmentations.to_tensor(image)[0])
    padded, pad = _instanseg_padding(augmentations.duplicate_grayscale_channels(tensor, None)[0], min_dim=32)
    with torch.no_grad():
        return _recover_padding(model(padded[None]), pad).squeeze(0)


def tune(validation: Part, work: Path) -> None:
    """Search its thresholds by its own search, on planes that are predicted once."""
    model, method = load(work)
    crop = [[array[:256, :256] for array in arrays] for arrays in validation]
    planes = torch.stack([predict_planes(model, image) for image in crop[0]])
    labels = torch.stack([torch.tensor(one)[None] for one in crop[1]])
    found = AI_utils.optimize_hyperparameters(
        torch.nn.Identity(),
        method.postprocessing,
        data_loader=[(planes, labels, None)],
        max_evals=TRIALS,
        show_progressbar=False,
    )
    (work / "thresholds.json").write_text(json.dumps(found))


def predict(images: list[Any], work: Path) -> list[Any]:
    """Find the nuclei of each image."""
    model, method = load(work)
    thresholds = json.loads((work / "thresholds.json").read_text())
    return [method.postprocessing(predict_planes(model, image), **thresholds)[0].numpy() for image in images]


run(train, predict, tune)
