"""`demo`: the whole pipeline on drawn images, first nuclei, then salt.

It has no special code: it writes zips and configs to a folder and runs the same steps as the verbs. The nuclei it is
scored on are drawn from a different seed than those it trains on, and the score is shown beside that of a method
without learning: background subtraction, Otsu's threshold, watershed of the distance transform.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import binary_fill_holes, minimum_filter
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.segmentation import watershed

from kaggle_unet.config import Config, load_config
from kaggle_unet.errors import KitError
from kaggle_unet.io.images import encode_png
from kaggle_unet.masks.labels import components
from kaggle_unet.postprocess.clean import drop_small
from kaggle_unet.report.draw import colour_labels, compose, draw_outlines, heatmap, resize, stretch
from kaggle_unet.steps.build import load_ensemble, open_images, predict_samples
from kaggle_unet.steps.check import check_submission
from kaggle_unet.steps.console import Console
from kaggle_unet.steps.make_targets import make_targets
from kaggle_unet.steps.report import write_report, write_target_figures
from kaggle_unet.steps.score import score_submission
from kaggle_unet.steps.submit import submit
from kaggle_unet.steps.train import train_fold
from kaggle_unet.store import atomic_write
from kaggle_unet.synthetic.files import write_dsb_zip, write_tgs_zip
from kaggle_unet.targets.codecs import get_codec
from kaggle_unet.types import Image, Labels

CSV, PICTURE, REPORT = "submission.csv", "picture.png", "run/report.html"
FIGURE_SIDE_PX = 256
OVERVIEW_TEXT_PX = 23  # legible even if a page scales the row of panels down to half its width
MUST_GAIN = 0.10  # what a minute of training must add to the classical method's score

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
    """One of the demo's competitions: its config and what is drawn for it."""

    name: str
    config: str
    draw: Callable[..., dict[str, Labels]]
    n_train: int
    n_test: int


PARTS = (Part("nuclei", NUCLEI, write_dsb_zip, 96, 24), Part("salt", SALT, write_tgs_zip, 128, 48))


def demo(folder: Path, console: Console) -> dict[str, float]:
    """Run the whole pipeline on drawn images."""
    begin = time.perf_counter()
    (network, classical), (salt, salt_blank) = (_run(part, folder / part.name, console) for part in PARTS)
    nuclei = folder / PARTS[0].name
    console.say(f"\nnuclei   network {network:.4f}   Otsu and distance watershed {classical:.4f}")
    console.say(f"salt     network {salt:.4f}   no salt anywhere {salt_blank:.4f}")
    console.say(f"csv      {nuclei / CSV}\npicture  {nuclei / PICTURE}\nreport   {nuclei / REPORT}")
    console.say(f"done in  {time.perf_counter() - begin:.0f} s")
    if network < classical + MUST_GAIN:
        raise KitError(f"the network gained less than {MUST_GAIN} over the classical method; please report this")
    return {"network": network, "classical": classical, "salt": salt, "salt_blank": salt_blank}


def _run(part: Part, home: Path, console: Console) -> tuple[float, float]:
    """Draw, prepare, train two folds, submit, check and score; return the score, and the score without a network."""
    train_zip, test_zip, store, run = home / "train.zip", home / "test.zip", home / "store", home / "run"
    console.say(f"{part.name}: {part.n_train} drawn images to train on, {part.n_test} of another seed to be scored on")
    for left in (store, run):  # by an earlier demo: this one starts from scratch
        shutil.rmtree(left, ignore_errors=True)
    part.draw(train_zip, 1, part.n_train)
    truth = part.draw(test_zip, 2, part.n_test, with_masks=False)
    atomic_write(home / "config.yaml", part.config)
    config = load_config(home / "config.yaml")
    with console.progress() as on_progress:
        make_targets(config, str(train_zip), store, on_progress=on_progress)
    write_target_figures(config, store, 4)
    for fold in range(config.folds.n):
        with console.training(fold, config.training) as on_event:
            result = train_fold(config, store, run, fold, on_event=on_event)
        console.fold_result(result)
    submit(config, str(test_zip), [run], home / CSV)
    check_submission(home / CSV, test_zip, config.competition.name)
    write_report(run, home / REPORT, store)
    _write_overview(config, run, str(test_zip), truth, home / PICTURE)
    score = score_submission(home / CSV, truth, config.competition.name).score
    return score, _score_without_network(config, test_zip, truth)


def _write_overview(config: Config, run: Path, data: str, truth: Mapping[str, Labels], path: Path) -> None:
    """Draw one image with its target planes, the predicted planes, and the labels decoded from them."""
    id_ = max(sorted(truth), key=lambda id_: (int(truth[id_].max()), int((truth[id_] > 0).sum())))
    source = open_images(config, data)
    ensemble = load_ensemble([run], config)
    ((sample, planes),) = predict_samples(ensemble, {id_: source.shape(id_)}, source.load, config.inference)
    codec = get_codec(config.codec)
    found = config.decoder(planes, sample.image)
    wanted = codec.encode(truth[id_], config.codec.border)
    picture = _enlarge(stretch(sample.image))
    panels = [("true outlines", draw_outlines(picture, _enlarge(truth[id_])))]
    for kind, shown in (("target", wanted), ("predicted", planes)):
        panels += [
            (f"{kind}: {name}", heatmap(_enlarge(plane), name="gray"))
            for name, plane in zip(codec.planes, shown, strict=True)
        ]
    panels.append((f"labels: {found.max(initial=0)} of {truth[id_].max(initial=0)}", colour_labels(_enlarge(found))))
    atomic_write(path, encode_png(compose(panels, text_px=OVERVIEW_TEXT_PX)))


def _enlarge(values: np.ndarray) -> np.ndarray:
    return resize(values, FIGURE_SIDE_PX, smooth=False)


def _score_without_network(config: Config, test_zip: Path, truth: dict[str, Labels]) -> float:
    """Score the classical method for nuclei, no salt at all for salt."""
    source, means = open_images(config, str(test_zip)), []
    for id_, labels in truth.items():
        is_salt = config.competition.name == "tgs"
        found = np.zeros_like(labels) if is_salt else segment_classically(source.load(id_).image)
        means.append(config.metric(labels, found).mean)
    return float(np.mean(means))


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
