"""`demo`: the whole way on images it draws itself, nuclei first, salt after.

Nothing in it is special: it writes zips and configs to a folder and takes the same steps as the verbs. The nuclei it is
scored on come from another seed than those it trains on, and the score stands beside that of a classical method.

What one gets without a network: background subtraction, Otsu's threshold, watershed of the distance transform.

The demo measures itself against this, and so should any recipe.

References
----------
.. [1] Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9 (1979).
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.ndimage import binary_fill_holes, minimum_filter
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import watershed

from kaggle_unet.competitions.competition import CompetitionName, CompetitionSettings
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import load_config
from kaggle_unet.errors import KitError
from kaggle_unet.masks.labels import components
from kaggle_unet.postprocess.clean import drop_small
from kaggle_unet.steps.check import check_submission
from kaggle_unet.steps.console import Console
from kaggle_unet.steps.make_targets import make_targets
from kaggle_unet.steps.report import write_overview, write_report, write_target_figures
from kaggle_unet.steps.run import fold_folder
from kaggle_unet.steps.score import score_submission
from kaggle_unet.steps.submit import submit
from kaggle_unet.steps.train import train_fold
from kaggle_unet.store import atomic_write
from kaggle_unet.synthetic.files import write_dsb_zip, write_tgs_zip
from kaggle_unet.types import Image, Labels


def segment_classically(
    image: Image, *, background_px: int = 31, min_distance_px: int = 6, min_area_px: int = 20
) -> Labels:
    """Segment bright objects without learning.

    A foreground component without a peak of its own stays one object.
    """
    smooth = gaussian(image.astype(np.float32), 1)
    flat = smooth - gaussian(minimum_filter(smooth, background_px), background_px / 2)
    if np.ptp(flat) == 0:
        return np.zeros(image.shape, np.int32)
    foreground = binary_fill_holes(flat > threshold_otsu(flat))
    depth = cv2.distanceTransform(foreground.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    peaks = peak_local_max(depth, min_distance=min_distance_px, labels=components(foreground), exclude_border=False)
    markers = np.zeros(image.shape, np.int32)
    markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-depth, markers, mask=foreground)
    return drop_small(labels, min_area_px)


MUST_GAIN = 0.10  # what a minute of training must add to the classical method

NUCLEI = """\
# Drawn nuclei: what `kaggle-unet demo` trains.
competition: {name: dsb2018}
codec: {name: mask_border, border: {rule: touching, radius_px: 2}}
weights: {classes: {border: 3}}
folds: {n: 2, group: none}
model: {name: plain_unet, filters: 8, depth: 3}
augmentation: {preset: light, crop_px: 96, crops_per_image: 4}
training:
  epochs: 36
  batch: 8
  optimizer: {name: adamw, learning_rate: 4e-3}
  schedule: {name: cosine, warmup_epochs: 1}
  validate_every: 12
inference: {flips: d4}
decode: {border_threshold: 0.3, min_seed_px: 3}
postprocess: {fill_holes_px: 50, min_area_px: 16}
"""

SALT = """\
# Drawn salt: what `kaggle-unet demo` trains.
competition: {name: tgs}
codec: {name: mask}
folds: {n: 2, stratify: coverage}
input: {channels: [gray, ramp], normalize: range}
model: {name: plain_unet, filters: 8, depth: 4}
augmentation: {preset: salt}
training:
  epochs: 24
  batch: 16
  optimizer: {name: adamw, learning_rate: 4e-3}
  schedule: {name: cosine, warmup_epochs: 1}
  validate_every: 8
inference: {flips: horizontal}
decode: {single_object: true}
"""


@dataclass(frozen=True)
class Part:
    """One of the demo's competitions: its name, its config and what is drawn for it."""

    name: str
    competition: CompetitionName
    config: str
    draw: Callable[..., dict[str, Any]]
    n_train: int
    n_test: int


PARTS = (
    Part("nuclei", "dsb2018", NUCLEI, write_dsb_zip, 96, 24),
    Part("salt", "tgs", SALT, write_tgs_zip, 128, 48),
)


def demo(folder: Path, console: Console) -> dict[str, float]:
    """Take the whole way on drawn images."""
    begin = time.perf_counter()
    nuclei, salt = (_run(part, folder, console) for part in PARTS)
    scores = {
        "network": nuclei["score"],
        "classical": nuclei["baseline"],
        "salt": salt["score"],
        "salt_blank": salt["baseline"],
    }
    console.say(f"\nnuclei   network {scores['network']:.4f}   Otsu and distance watershed {scores['classical']:.4f}")
    console.say(f"salt     network {scores['salt']:.4f}   no salt anywhere {scores['salt_blank']:.4f}")
    console.say(f"csv      {nuclei['csv']}\npicture  {nuclei['picture']}\nreport   {nuclei['report']}")
    console.say(f"done in  {time.perf_counter() - begin:.0f} s")
    if scores["network"] < scores["classical"] + MUST_GAIN:
        msg = f"the network gained less than {MUST_GAIN} over the classical method; please report this"
        raise KitError(msg)
    return scores


def _run(part: Part, folder: Path, console: Console) -> dict[str, Any]:
    """Draw, prepare, train two folds, submit, check and score one competition."""
    home = folder / part.name
    train_zip, test_zip, store, run = home / "train.zip", home / "test.zip", home / "store", home / "run"
    config_path, csv = home / "config.yaml", home / "submission.csv"
    console.say(f"{part.name}: {part.n_train} drawn images to train on, {part.n_test} of another seed to be scored on")
    for left in (store, run):  # of an earlier demo: this one shows the way from its beginning
        shutil.rmtree(left, ignore_errors=True)
    part.draw(train_zip, 1, part.n_train)
    truth = part.draw(test_zip, 2, part.n_test, with_masks=False)
    atomic_write(config_path, part.config)
    config = load_config(config_path)
    with console.progress() as on_progress:
        make_targets(config, str(train_zip), store, on_progress=on_progress)
    write_target_figures(config, store, 4)
    for fold in range(config.folds.n):
        with console.training(fold, config.training.epochs) as on_event:
            result = train_fold(config, store, run, fold, on_event=on_event)
        console.fold_result(result)
    checkpoints = [fold_folder(run, fold) for fold in range(config.folds.n)]
    submit(config, str(test_zip), checkpoints, csv)
    check_submission(csv, str(test_zip), part.competition)
    return {
        "score": score_submission(csv, truth, part.competition).score,
        "baseline": _score_baseline(part, test_zip, truth),
        "csv": csv,
        "report": write_report(run, run / "report.html", store),
        "picture": write_overview(config, checkpoints, str(test_zip), truth, home / "picture.png"),
    }


def _score_baseline(part: Part, test_zip: Path, truth: dict[str, Labels]) -> float:
    """Score what needs no network: the classical method for nuclei, no salt at all for salt."""
    competition = get_competition(part.competition)
    source = competition.read(str(test_zip), CompetitionSettings(name=part.competition), with_masks=False)
    means = []
    for id_, labels in truth.items():
        image = source.load(id_).image
        found = np.zeros(image.shape[:2], np.int32) if part.competition == "tgs" else segment_classically(image)
        means.append(competition.metric(labels, found).mean)
    return float(np.mean(means))
