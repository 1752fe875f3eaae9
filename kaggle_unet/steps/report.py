"""`report`: write one page with every out-of-fold prediction beside its truth, worst first.

Also pictures of a store's targets, and of what networks predict for an image they have not seen.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from kaggle_unet.config import Config
from kaggle_unet.errors import DataError
from kaggle_unet.io.tables import read_frame
from kaggle_unet.report.draw import colour_labels, compose, draw_outlines, heatmap, preview, resize, stretch
from kaggle_unet.report.gallery import make_card, render_report
from kaggle_unet.steps.build import load_ensemble, open_images, predict_samples
from kaggle_unet.steps.make_targets import target_set
from kaggle_unet.steps.run import choose_decode_params, describe_run, fold_folder, open_run
from kaggle_unet.steps.score import folds_with_planes, out_of_fold, summarize_scores
from kaggle_unet.store import Store, atomic_write, sample_file
from kaggle_unet.store.atomic import try_to_write
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import WeightSettings
from kaggle_unet.targets.weights import distance_weights, size_weights
from kaggle_unet.types import Image, Labels, Weights

FIGURE_SIDE_PX = 256
OVERVIEW_TEXT_PX = 23  # legible where a page scales the row of panels down to half its width


def write_target_figures(config: Config, folder: Path, n: int) -> list[Path]:
    """Draw the first samples of a store with their planes and weight maps."""
    store = Store.open(folder)
    settings = WeightSettings.model_validate(store.report["weights"])
    targets = target_set(config.codec, settings, store)
    paths = []
    for id_ in store.ids[:n]:
        sample = store.read(id_)
        planes, weights = targets.read(id_)
        assert sample.labels is not None
        maps = {"weights": weights, **_single_maps(settings, sample.labels)}
        path = sample_file(folder / "preview", id_, ".png")
        atomic_write(path, to_png(preview(sample, planes, CODECS[config.codec.name].planes, maps)))
        paths.append(path)
    return paths


def write_overview(
    config: Config, checkpoints: Sequence[Path], data: str, truth: Mapping[str, Labels], path: Path
) -> Path:
    """Draw one image with its target planes, the predicted planes, and the labels decoded from them."""
    id_ = max(sorted(truth), key=lambda id_: (int(truth[id_].max()), int((truth[id_] > 0).sum())))
    source = open_images(config, data)
    ensemble = load_ensemble(checkpoints, config)
    ((sample, planes),) = predict_samples(ensemble, {id_: source.shape(id_)}, source.load, config.inference)
    codec = CODECS[config.codec.name]
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
    atomic_write(path, to_png(compose(panels, text_px=OVERVIEW_TEXT_PX)))
    return path


def to_png(picture: Image) -> bytes:
    """Encode a picture."""
    buffer = io.BytesIO()
    Pillow.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _single_maps(settings: WeightSettings, labels: Labels) -> dict[str, Weights]:
    maps: dict[str, Weights] = {}
    if settings.distance is not None:
        maps["distance"] = distance_weights(labels, **dict(settings.distance))
    if settings.size is not None:
        maps["size"] = size_weights(labels, **dict(settings.size))
    return maps


def _enlarge(values: np.ndarray) -> np.ndarray:
    return resize(values, FIGURE_SIDE_PX, smooth=False)


def write_report(run: Path, output: Path, store_folder: Path | None = None, *, decode: str | None = None) -> Path:
    """Write a run's report."""
    try_to_write(output)
    config, store = open_run(run, store_folder)
    config, file = choose_decode_params(config, [run], chosen=decode)
    names = CODECS[config.codec.name].planes
    scores, cards = [], []
    for scored, sample, planes, labels in out_of_fold(run, config, store):
        scores.append(scored)
        cards.append(make_card(sample, labels, planes, names, scored.score, scored.parts["fold"]))
    result = summarize_scores(scores)
    low, high = result.interval
    first = result.per_iou.iloc[0]
    environment = describe_run(run)["environment"]
    stats = {
        "out-of-fold score": f"{result.score:.4f} ({low:.4f} to {high:.4f} on resampled images)",
        "AP at IoU 0.5": f"{first.ap_pooled:.4f} pooled, {first.ap_per_image:.4f} per image",
        "competition": config.competition.name,
        "decoding": f"{file}; if it was searched on these images, scores are in-sample" if file else "the config's",
        "codec": f"{config.codec.name}, border {config.codec.border.rule}, radius {config.codec.border.radius_px}",
        "model": ", ".join(str(value) for value in config.model.model_dump().values()),
        "commit": environment["commit"],
        "command": " ".join(environment["command"]),
        "torch": environment["packages"].get("torch", ""),
    }
    folds = [_fold(run, fold, result.parts["fold"][str(fold)]["score"]) for fold in folds_with_planes(run)]
    tables = {"areas": result.per_area, "fixed": result.oracle_fixes}
    atomic_write(output, render_report(f"{run.parent.name}/{run.name}", stats, folds, cards, **tables))
    return output


def _fold(run: Path, fold: int, score: float) -> dict[str, Any]:
    """Read what training wrote about a fold, for the table and the curves."""
    folder = fold_folder(run, fold)
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        rows = read_frame(folder / "metrics.csv").to_dict("records")
    except (OSError, ValueError, DataError) as error:
        msg = f"{folder} has planes but its training did not finish ({error}); run train --fold {fold} --resume"
        raise DataError(msg) from error
    history = [{name: float(text) if text else None for name, text in row.items()} for row in rows]
    return {
        "fold": fold,
        "samples": result["samples"],
        "out-of-fold score": score,
        "validation score": result["best_score"],
        "best epoch": result["best_epoch"],
        "epochs": result["epochs"],
        "minutes": result["seconds"] / 60,
        "history": history,
    }
