"""Cellpose 3 by the defaults of its command line for a network without weights: SGD at a rate of 0.2, batches of 8.

An epoch is one batch, so that its schedule (10 epochs of warming up; the last 50 annealed if there are over 100) fits
in few steps. Objects are scaled to 17 px, as for its own network of nuclei. Nothing is tuned: it has no search.
"""

from pathlib import Path
from time import process_time
from typing import Any

import torch
from cellpose.dynamics import labels_to_flows
from cellpose.models import CellposeModel
from cellpose.train import train_seg
from stages import Part, remaining_s, run

BATCH = 8


def train(part: Part, _: Part, work: Path, seconds: float) -> dict[str, int]:
    """Measure steps on a network that is thrown away, then train for as many as fit."""
    flows = labels_to_flows(part[1], device=torch.device("cpu"))
    recipe = {"batch_size": BATCH, "nimg_per_epoch": BATCH, "channels": [0, 0], "SGD": True, "learning_rate": 0.2}

    def train_steps(steps: int, name: str) -> float:
        start, model = process_time(), CellposeModel(gpu=False, pretrained_model=False, diam_mean=17)
        train_seg(model.net, part[0], flows, n_epochs=steps, save_path=work, model_name=name, **recipe)
        return process_time() - start

    one_s, three_s = train_steps(1, "trial"), train_steps(3, "trial")
    step_s = (three_s - one_s) / 2
    steps = max(1, 1 + int((remaining_s(seconds) - one_s) / step_s))
    train_steps(steps, "trained")
    return {"steps": steps, "crops": steps * BATCH, "side_px": 224}


def predict(images: list[Any], work: Path) -> list[Any]:
    """Find the nuclei of each image, scaled by the mean size of the training's."""
    model = CellposeModel(gpu=False, pretrained_model=str(work / "models" / "trained"))
    return list(model.eval(images, channels=[0, 0])[0])


run(train, predict)
