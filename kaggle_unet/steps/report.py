"""`report`: write one page with every out-of-fold prediction beside its truth, worst first.

Also pictures of a store's targets, and of what networks predict for an image they have not seen.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow

from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.competitions.submission import read_submission
from kaggle_unet.config import Config, load_config
from kaggle_unet.errors import ConfigError, DataError, reading
from kaggle_unet.io.tables import read_frame
from kaggle_unet.masks.rle import decode
from kaggle_unet.metrics.pixels import ClassScore
from kaggle_unet.metrics.score import interval_of_mean
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.report.draw import (
    colour_classes,
    colour_labels,
    compose,
    draw_outlines,
    heatmap,
    preview,
    resize,
    stretch,
)
from kaggle_unet.report.gallery import make_card, make_class_card, put_beside, render_report
from kaggle_unet.selection.search import MASK_THRESHOLD, THRESHOLDS, apply_params
from kaggle_unet.steps.build import load_ensemble, open_images, predict_samples
from kaggle_unet.steps.check import competition_settings
from kaggle_unet.steps.make_targets import target_set
from kaggle_unet.steps.parallel import OnProgress
from kaggle_unet.steps.run import choose_decode_params, describe_run, fold_folder, open_run
from kaggle_unet.steps.score import (
    Scored,
    Scores,
    out_of_fold,
    out_of_fold_samples,
    score_training_samples,
    summarize_scores,
)
from kaggle_unet.store import Store, atomic_write, read_record, sample_file
from kaggle_unet.store.atomic import try_to_write
from kaggle_unet.store.planes import read_planes
from kaggle_unet.targets.codecs import get_codec
from kaggle_unet.targets.settings import WeightSettings
from kaggle_unet.targets.weights import distance_weights, size_weights
from kaggle_unet.types import Image, Labels, Sample, Weights

MOST_IN_PAGE = 1000  # images whose pictures the page itself holds, some 150 MB; those of more lie beside it
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
        atomic_write(path, to_png(preview(sample, planes, get_codec(config.codec).planes, maps)))
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


def write_report(
    run: Path,
    output: Path,
    store_folder: Path | None = None,
    *,
    decode: str | None = None,
    train: bool = False,
    against: str | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> Path:
    """Write a run's report, `against` another run or other decode parameters of its own."""
    try_to_write(output)
    config, store = open_run(run, store_folder)
    config, file = choose_decode_params(config, [run], chosen=decode)
    codec, names = get_codec(config.codec), config.codec.classes or ()
    single = get_competition(config.competition.name).single_object
    palette = colour_classes(config.competition.classes or dict.fromkeys(names, 0))
    decoders = [] if names else [apply_params({MASK_THRESHOLD: value}, config.decoder) for value in THRESHOLDS]
    second = _open_second(against, run, config) if against else None
    ids = [id_ for id_ in out_of_fold_samples(run)["id"] if not second or id_ in second.planes]
    if not ids:
        msg = f"{against} has no out-of-fold planes of any image that {run} has; compare runs on the same data"
        raise DataError(msg)
    beside = output.with_name(f"{output.stem}_files") if len(ids) > MOST_IN_PAGE else None
    scores, cards, by_threshold = [], [], []
    for scored, sample, planes, labels in out_of_fold(run, config, store):
        if second and sample.id not in second.planes:
            continue
        scores.append(scored)
        assert sample.labels is not None
        fold = scored.parts["fold"]
        if isinstance(scored.score, ClassScore):
            cards.append(make_class_card(sample, labels, planes, scored.score, palette, fold))
        else:
            pair = (second.name, second.decode(sample)) if second else None
            cards.append(make_card(sample, labels, planes, codec.planes, fold, single=single, other=pair))
            if beside:
                put_beside(cards[-1], beside / f"{len(cards)}.js")
        by_threshold.append([config.metric(sample.labels, other(planes, sample.image)).mean for other in decoders])
    result = summarize_scores(scores, codec.pixel_classes)
    sets = {"out-of-fold score": result}
    if train:
        sets["score on training images"] = score_training_samples(run, config, store, on_progress)
    tables = {"areas": result.per_area, "fixed": result.oracle_fixes, "classes": result.per_class}
    means = dict(zip(THRESHOLDS, np.mean(by_threshold, axis=0).tolist(), strict=False))
    page = render_report(
        f"{run.parent.name}/{run.name}",
        (_describe_gains(second.name, cards, scores) if second else {}) | _stats(run, config, file, sets),
        [_fold(run, int(fold), sets) for fold in result.parts["fold"]],
        cards,
        {name: table for name, table in tables.items() if table is not None},
        (means, config.decode.mask_threshold) if decoders else None,
        {name: "#" + bytes(colour).hex() for name, colour in zip(names, palette, strict=False)},
    )
    atomic_write(output, page)
    return output


def write_submission_report(csv: Path, data: str, name: str, output: Path) -> Path:
    """Write the report of a submission: its objects on the images, beside the truth where the data have masks."""
    try_to_write(output)
    competition, rles = get_competition(name), read_submission(csv, name)
    source, cards = competition.read(data, competition_settings(name)), []
    if missing := sorted(set(source.ids) - set(rles)):
        raise DataError(f"{csv}: {len(missing)} of the {len(source.ids)} images of {data} have no row", missing[:20])
    for number, id_ in enumerate(sorted(source.ids), 1):
        sample = source.load(id_)
        labels = decode([rle for rle in rles[id_] if rle], (sample.image.shape[0], sample.image.shape[1]))
        no_planes = np.zeros((0, *labels.shape), np.float32)
        cards.append(make_card(sample, labels, no_planes, (), single=competition.single_object))
        if len(source.ids) > MOST_IN_PAGE:
            put_beside(cards[-1], output.with_name(f"{output.stem}_files") / f"{number}.js")
    atomic_write(output, render_report(csv.name, {"submission": csv, "data": data, "competition": name}, [], cards))
    return output


class _Second(NamedTuple):
    """A second prediction of a run's images: its name, the folders of its planes by id, and their decoder."""

    name: str
    planes: Mapping[str, Path]
    decoder: Decoder

    def decode(self, sample: Sample) -> Labels:
        return self.decoder(read_planes(self.planes[sample.id], sample.id), sample.image)


def _open_second(against: str, run: Path, config: Config) -> _Second:
    """Open what a run is compared with: another run, or its own planes with other decode parameters."""
    if config.codec.classes:
        raise ConfigError("--against compares objects, but this run's codec has classes of pixels; leave it out")
    chosen: str | None = against
    if Path(against).is_dir():
        run, chosen = Path(against), None
        describe_run(run)
        config = load_config(run / "config.yaml")
    config, _ = choose_decode_params(config, [run], chosen=chosen)
    table = out_of_fold_samples(run)
    return _Second(against, dict(zip(table["id"], table["planes"], strict=True)), config.decoder)


def _describe_gains(name: str, cards: Sequence[Mapping[str, Any]], scores: Sequence[Scored]) -> dict[str, str]:
    """Say how much better a run is than another on the same images, with the interval of the paired differences."""
    gains = [card["gain"] for card in cards]
    low, high = interval_of_mean(gains, [scored.group for scored in scores])
    text = f"{np.mean(gains):+.4f} ({low:+.4f} to {high:+.4f} on resampled images), {len(gains)} images"
    return {f"score minus that of {name}": text}


def _stats(run: Path, config: Config, decode_file: Path | None, sets: Mapping[str, Scores]) -> dict[str, str]:
    """Collect what stands at the head of a report."""
    environment, stats = describe_run(run)["environment"], {}
    for name, scores in sets.items():
        stats[name] = "{:.4f} ({:.4f} to {:.4f} on resampled images)".format(scores.score, *scores.interval)
        stats[f"{name}: pixels"] = ", ".join(f"{key} {value:.4f}" for key, value in scores.pixels.items())
    per_iou = sets["out-of-fold score"].per_iou
    if per_iou is not None:
        first = per_iou.iloc[0]
        stats["AP at IoU 0.5"] = f"{first.ap_pooled:.4f} pooled, {first.ap_per_image:.4f} per image"
    in_sample = f"{decode_file}; if it was searched on these images, scores are in-sample"
    return stats | {
        "competition": config.competition.name,
        "decoding": in_sample if decode_file else "the config's",
        "codec": f"{config.codec.name}, border {config.codec.border.rule}, radius {config.codec.border.radius_px}",
        "model": ", ".join(f"{key} {value}" for key, value in config.model.model_dump().items()),
        "commit": environment["commit"],
        "command": " ".join(environment["command"]),
        "torch": environment["packages"].get("torch", ""),
    }


def _fold(run: Path, fold: int, sets: Mapping[str, Scores]) -> dict[str, Any]:
    """Read what training wrote about a fold, for the table and the curves."""
    folder = fold_folder(run, fold)
    cure = f"there are planes, but training did not finish; run train --fold {fold} --resume"
    result = read_record(folder / "result.json", cure)
    with reading(folder / "metrics.csv", cure):
        rows = read_frame(folder / "metrics.csv", cure).to_dict("records")
        history = [{name: float(text) if text else None for name, text in row.items()} for row in rows]
    return {
        "fold": fold,
        "samples": result["samples"],
        **{name: scores.parts["fold"][str(fold)]["score"] for name, scores in sets.items()},
        "validation score": result["best_score"],
        "best epoch": result["best_epoch"],
        "epochs": result["epochs"],
        "minutes": result["seconds"] / 60,
        "history": history,
    }
