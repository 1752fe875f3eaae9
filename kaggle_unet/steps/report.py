"""`report`: write a page of a run's out-of-fold predictions beside the truth, of labels on images, or of a store."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.competitions.submission import decode_submitted, read_submission
from kaggle_unet.config import Config, load_config, to_yaml
from kaggle_unet.errors import ConfigError, DataError, reading
from kaggle_unet.io.archive import split_location
from kaggle_unet.io.images import encode_png
from kaggle_unet.io.tables import read_frame
from kaggle_unet.metrics.pixels import ClassScore, score_classes
from kaggle_unet.metrics.score import interval_of_mean
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.report.draw import colour_classes, preview
from kaggle_unet.report.gallery import Card, make_card, make_class_card, move_pictures_out, render_report
from kaggle_unet.report.plots import plot_curves, plot_thresholds
from kaggle_unet.selection.search import MASK_THRESHOLD, THRESHOLDS, apply_params
from kaggle_unet.steps.check import competition_settings
from kaggle_unet.steps.make_targets import target_set
from kaggle_unet.steps.parallel import OnProgress
from kaggle_unet.steps.provenance import refuse_file
from kaggle_unet.steps.run import choose_decode_params, describe_run, fold_folder
from kaggle_unet.steps.score import (
    Scored,
    Scores,
    open_run_to_decode,
    out_of_fold,
    out_of_fold_samples,
    score_training_samples,
    summarize_scores,
)
from kaggle_unet.store import Store, TargetSet, atomic_write, hash_plain, read_record, sample_file
from kaggle_unet.store.atomic import refuse_to_replace
from kaggle_unet.store.planes import read_planes
from kaggle_unet.targets.codecs import get_codec
from kaggle_unet.targets.settings import CodecSettings, WeightSettings
from kaggle_unet.targets.weights import distance_weights, size_weights
from kaggle_unet.types import DataFrame, Image, Labels, Planes, Sample, Weights

MOST_IN_PAGE = 1000  # images whose pictures the page holds itself, some 150 MB; with more, they lie beside it
TUNE_PLOT = Path("tune", "landscape.png")
MARK = b"default-src 'none'; img-src data:"  # in the head of every page


def write_target_figures(config: Config, folder: Path, n: int) -> list[Path]:
    """Draw the first samples of a store with their planes and weight maps."""
    store = Store.open(folder)
    settings = WeightSettings.model_validate(store.report["weights"])
    targets = target_set(config.codec, settings, store)
    paths = []
    for id_ in store.ids[:n]:
        sample = store.read(id_)
        planes, maps = _read_layers(targets, sample)
        path = sample_file(folder / "preview", id_, ".png")
        atomic_write(path, encode_png(preview(sample, planes, maps)))
        paths.append(path)
    return paths


def _read_layers(targets: TargetSet, sample: Sample) -> tuple[dict[str, Image], dict[str, Weights]]:
    """Read a sample's planes, and its weight map with the maps it is the product of, by name."""
    assert sample.labels is not None
    settings = WeightSettings.model_validate(targets.identity["weights"])
    names = get_codec(CodecSettings.model_validate(targets.identity["codec"])).planes
    planes, weights = targets.read(sample.id)
    maps = {"weights": weights}
    if settings.distance is not None:
        maps["distance"] = distance_weights(sample.labels, **dict(settings.distance))
    if settings.size is not None:
        maps["size"] = size_weights(sample.labels, **dict(settings.size))
    return dict(zip(names, planes, strict=True)), maps


def write_report(  # noqa: PLR0913  the options of a verb
    run: Path,
    output: Path,
    store_folder: Path | None = None,
    *,
    decode: str | None = None,
    train: bool = False,
    against: str | None = None,
    on_progress: OnProgress = lambda *_: None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write a run's report, which may compare it `against` another run or other decode parameters."""
    refuse_file(output, ".html", MARK)
    config, store, file = open_run_to_decode(run, store_folder, decode, on_warning)
    names, second = config.codec.classes or (), _open_second(against, run, config) if against else None
    ids = [id_ for id_ in out_of_fold_samples(run)["id"] if second is None or id_ in second.planes]
    decoders = {} if names else {value: apply_params({MASK_THRESHOLD: value}, config.decoder) for value in THRESHOLDS}
    scores, by_threshold, cards = list[Scored](), list[list[float]](), list[Card]()
    for row in out_of_fold(run, config, store):
        scored, sample, planes, _ = row
        if sample.id in ids:
            assert sample.labels is not None
            others = (decoder(planes, sample.image) for decoder in decoders.values())
            by_threshold.append([config.metric(sample.labels, other).mean for other in others])
            scores.append(scored)
            _place(cards, _make_run_card(config, *row, second), output, len(ids), on_progress)
    result = summarize_scores(scores, get_codec(config.codec).pixel_classes)
    sets = {"out-of-fold score": result}
    if train:
        sets["score on training images"] = score_training_samples(run, config, store, on_progress)
    means = dict(zip(decoders, np.mean(by_threshold, axis=0).tolist(), strict=True))
    gains = _describe_gains(second.name, cards, scores) if second else {}
    page = render_report(
        "/".join(run.absolute().parts[-2:]),
        gains | _stats(run, config, file, sets),
        [_fold(run, int(fold), sets) for fold in result.parts["fold"]],
        cards,
        _tabulate(result, means),
        _plot(run, result.parts["fold"], means, config.decode.mask_threshold),
        _legend(names, config.competition.classes),
    )
    return _write_page(output, page, cards)


def _make_run_card(
    config: Config, scored: Scored, sample: Sample, planes: Planes, labels: Labels, second: "_Second | None"
) -> Card:
    fold, layers = scored.parts["fold"], dict(zip(get_codec(config.codec).planes, planes, strict=True))
    if isinstance(scored.score, ClassScore):
        return make_class_card(sample, labels, scored.score, layers, fold)
    other = (second.name, second.decode(sample)) if second else None
    single = get_competition(config.competition.name).single_object
    return make_card(sample, labels, layers, fold, single=single, other=other)


def _place(cards: list[Card], card: Card, output: Path, n: int, on_progress: OnProgress) -> None:
    """Append one of `n` cards, and put its pictures beside the page if there are very many cards."""
    cards.append(card)
    if n > MOST_IN_PAGE:
        version = hash_plain(card["pictures"])[:8]  # so that those of an earlier page are not replaced
        move_pictures_out(card, output.with_name(f"{output.stem}_files") / f"{len(cards)}-{version}.js")
    on_progress("report", len(cards), n)


def _write_page(output: Path, page: str, cards: Iterable[Card]) -> Path:
    """Write a page, and then remove the pictures of the one that was there before."""
    atomic_write(output, page)
    kept = {card["data"].get("src") for card in cards}
    for file in output.with_name(f"{output.stem}_files").glob("*.js"):
        if re.fullmatch(r"\d+-[0-9a-f]{8}\.js", file.name) and f"{file.parent.name}/{file.name}" not in kept:
            file.unlink(missing_ok=True)
    return output


def _tabulate(scores: Scores, by_threshold: Mapping[float, float]) -> dict[str, DataFrame]:
    from pandas import DataFrame

    thresholds = DataFrame([{"threshold": f"{value:.2f}", "score": score} for value, score in by_threshold.items()])
    tables = {"areas": scores.per_area, "fixed": scores.oracle_fixes, "classes": scores.per_class}
    return {"thresholds": thresholds} | {name: table for name, table in tables.items() if table is not None}


def _plot(run: Path, folds: Iterable[str], by_threshold: Mapping[float, float], threshold: float) -> dict[str, bytes]:
    """Plot the training of each fold, the score by mask threshold, and the trials of `tune`, if there are any."""
    histories = {fold: _read_history(run, int(fold)) for fold in folds}
    plots = {f"loss and score by epoch, fold {fold}": plot_curves(rows, "svg") for fold, rows in histories.items()}
    if by_threshold:
        plots["score by mask threshold"] = plot_thresholds(by_threshold, threshold, "svg")
    if (run / TUNE_PLOT).is_file():
        plots["tuning: score of every trial by parameter"] = (run / TUNE_PLOT).read_bytes()
    return plots


def _legend(names: Sequence[str], table: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the colours of classes, those of the table if there is one."""
    palette = colour_classes(table or dict.fromkeys(names, 0))
    return {name: "#" + bytes(colour).hex() for name, colour in zip(names, palette, strict=False)}


def write_submission_report(
    csv: Path, data: str, name: str, output: Path, on_progress: OnProgress = lambda *_: None
) -> Path:
    """Write the report of a submission: its objects on the images, beside the truth where the data have masks."""
    refuse_file(output, ".html", MARK)
    refuse_to_replace([output], [csv, split_location(data)[0]])
    competition, rles = get_competition(name), read_submission(csv, name)
    source = competition.read(data, competition_settings(name))
    if not rles.keys() >= set(source.ids):  # those of the test images, if both sets are there
        source = competition.read(data, competition_settings(name), with_masks=False)
    if missing := sorted(set(source.ids) - set(rles)):
        raise DataError(f"{csv}: {len(missing)} of the {len(source.ids)} images of {data} have no row", missing[:20])
    stats = {"submission": csv, "data": data, "competition": name}
    samples = map(source.load, sorted(source.ids))
    labelled = ((s, decode_submitted(csv, s.id, rles[s.id], s.image.shape[:2])) for s in samples)
    n, single = len(source.ids), competition.single_object
    return write_label_report(labelled, n, csv.name, stats, output, single=single, on_progress=on_progress)


def write_label_report(
    labelled: Iterable[tuple[Sample, Labels]],
    n: int,
    title: str,
    stats: Mapping[str, object],
    output: Path,
    *,
    single: bool = False,
    on_progress: OnProgress = lambda *_: None,
) -> Path:
    """Write the report of predicted labels on `n` images, beside the truth where it is known."""
    cards = list[Card]()
    for sample, labels in labelled:
        _place(cards, make_card(sample, labels, single=single), output, n, on_progress)
    return _write_page(output, render_report(title, stats, [], cards), cards)


def write_store_report(folder: Path, output: Path, on_progress: OnProgress = lambda *_: None) -> Path:
    """Write the report of a store: its samples with the planes and weight maps of all its target sets."""
    refuse_file(output, ".html", MARK)
    store = Store.open(folder)
    sets = [TargetSet(folder, identity) for identity in store.target_identities()]
    competition, folds = store.manifest["identity"]["competition"], store.folds
    codecs = [targets.identity["codec"] for targets in sets]
    names = next((codec["classes"] for codec in codecs if "classes" in codec), ())
    single = get_competition(competition["name"]).single_object

    cards = list[Card]()
    for id_ in store.ids:
        sample, fold, planes, maps = store.read(id_), str(folds.get(id_, "")), dict[str, Any](), dict[str, Any]()
        for targets in sets:
            prefix = f"{targets.folder.name} " if len(sets) > 1 else ""
            for layers, found in zip((planes, maps), _read_layers(targets, sample), strict=True):
                layers |= {f"{prefix}{name}": layer for name, layer in found.items()}
        assert sample.labels is not None
        if names:
            score = score_classes(sample.labels, sample.labels, names)
            card = make_class_card(sample, None, score, planes, fold, weights=maps)
        else:
            card = make_card(sample, None, planes, fold, weights=maps, single=single)
        _place(cards, card, output, len(store.ids), on_progress)
    legend = _legend(names, competition["classes"])
    title, stats = "/".join(folder.absolute().parts[-2:]), _describe_store(store, sets)
    return _write_page(output, render_report(title, stats, [], cards, legend=legend), cards)


def _describe_store(store: Store, sets: Iterable[TargetSet]) -> dict[str, str]:
    """Collect what a store's page shows besides the samples."""
    found = store.report
    issues = [f"{one['what']}: {one['count']} in {one['samples']} samples, {one['done']}" for one in found["oddities"]]
    return {
        "data": str(store.manifest["about"].get("data")),
        "competition": store.manifest["identity"]["competition"]["name"],
        "area in px²": ", ".join(f"{name} {value:.0f}" for name, value in found["area_px"].items()),
        "round-trip score": f"{found['ceiling']:.4f}",
        "data issues": "\n".join(issues),
        "folds": "\n".join(found["folds"]["lines"]),
        **{f"targets {targets.folder.name}": json.dumps(targets.identity, indent=1) for targets in sets},
    }


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
    other, chosen = (Path(against), None) if Path(against).is_dir() else (run, against)
    if chosen is None:
        if describe_run(other)["data"] != describe_run(run)["data"]:
            raise DataError(f"{against} was trained on other data than {run}; compare runs on the same data")
        config = load_config(other / "config.yaml")
    config, _ = choose_decode_params(config, [other], chosen=chosen)
    table = out_of_fold_samples(other)
    if set(table["id"]).isdisjoint(out_of_fold_samples(run)["id"]):
        msg = f"{against} has no out-of-fold planes of any image that {run} has; compare runs on the same data"
        raise DataError(msg)
    return _Second(against, dict(zip(table["id"], table["planes"], strict=True)), config.decoder)


def _describe_gains(name: str, cards: Sequence[Mapping[str, Any]], scores: Sequence[Scored]) -> dict[str, str]:
    """Describe how much better a run is than another on the same images, with an interval of the paired differences."""
    gains = [card["gain"] for card in cards]
    low, high = interval_of_mean(gains, [scored.group for scored in scores])
    text = f"{np.mean(gains):+.4f} ({low:+.4f} to {high:+.4f} on resampled images), {len(gains)} images"
    return {f"score minus that of {name}": text}


def _stats(run: Path, config: Config, decode_file: Path | None, sets: Mapping[str, Scores]) -> dict[str, str]:
    """Collect what is shown at the head of a report."""
    environment, stats = describe_run(run)["environment"], {}
    for name, scores in sets.items():
        stats[name] = "{:.4f} ({:.4f} to {:.4f} on resampled images)".format(scores.score, *scores.interval)
        stats[f"{name}: pixels"] = ", ".join(f"{key} {value:.4f}" for key, value in scores.pixels.items())
    per_iou = sets["out-of-fold score"].per_iou
    if per_iou is not None:
        first = per_iou.iloc[0]
        stats["AP at IoU ≥ 0.5"] = f"{first.ap_pooled:.4f} pooled, {first.ap_per_image:.4f} per image"
    in_sample = f"{decode_file}; if it was searched on these images, scores are in-sample"
    return stats | {
        "competition": config.competition.name,
        "decoding": in_sample if decode_file else "the config's",
        "settings": to_yaml(config),
        "commit": environment["commit"],
        "command": " ".join(environment["command"]),
        "torch": environment["packages"].get("torch", ""),
    }


_UNFINISHED = "there are planes, but training did not finish; run train --fold {} --resume"


def _read_history(run: Path, fold: int) -> list[dict[str, float | None]]:
    """Read what training wrote about a fold's epochs."""
    file, cure = fold_folder(run, fold) / "metrics.csv", _UNFINISHED.format(fold)
    with reading(file, cure):
        rows = read_frame(file, cure).to_dict("records")
        return [{str(name): float(text) if text else None for name, text in row.items()} for row in rows]


def _fold(run: Path, fold: int, sets: Mapping[str, Scores]) -> dict[str, Any]:
    """Read what training wrote about a fold, for the table."""
    result = read_record(fold_folder(run, fold) / "result.json", _UNFINISHED.format(fold))
    return {
        "fold": fold,
        "samples": result["samples"],
        **{name: scores.parts["fold"][str(fold)]["score"] for name, scores in sets.items()},
        "validation score": result["best_score"],
        "best epoch": result["best_epoch"],
        "epochs": result["epochs"],
        "minutes": result["seconds"] / 60,
    }
