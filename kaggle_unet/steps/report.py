"""`report`: one page with every out-of-fold prediction beside its truth, worst first."""

import csv
import json
from pathlib import Path
from typing import Any

from kaggle_unet.errors import DataError
from kaggle_unet.report.gallery import ReportRow, render_report
from kaggle_unet.steps.decoding import decoding_of_run
from kaggle_unet.steps.folders import fold_folder
from kaggle_unet.steps.run import describe_run, open_run
from kaggle_unet.steps.score import OutOfFold, folds_with_planes, out_of_fold, summarise
from kaggle_unet.store import atomic_write
from kaggle_unet.targets.codecs import CODECS


def write_report(run: Path, output: Path, store_folder: Path | None = None, *, decode: str | None = None) -> Path:
    """Write a run's report."""
    config, store = open_run(run, store_folder)
    config, file = decoding_of_run(config, run, chosen=decode)
    names = CODECS[config.codec.name].planes
    result = summarise([entry.scored for entry in out_of_fold(run, config, store)])
    low, high = result["interval"]
    first = result["per_iou"][0]
    environment = describe_run(run)["environment"]
    facts = {
        "out-of-fold score": f"{result['score']:.4f} ({low:.4f} to {high:.4f} on resampled images)",
        "AP at IoU 0.5": f"{first['ap_pooled']:.4f} pooled, {first['ap_per_image']:.4f} per image",
        "competition": config.competition.name,
        "decoding": f"{file}; if it was searched on these images, scores flatter" if file else "the config's",
        "codec": f"{config.codec.name}, border {config.codec.border.rule}, radius {config.codec.border.radius_px}",
        "model": ", ".join(str(value) for value in config.model.model_dump().values()),
        "commit": environment["commit"],
        "command": " ".join(environment["command"]),
        "torch": environment["packages"].get("torch", ""),
    }
    rows = (_row(entry, names) for entry in out_of_fold(run, config, store))
    folds = [_fold(run, fold, result["parts"]["fold"][str(fold)]["score"]) for fold in folds_with_planes(run)]
    atomic_write(
        output, render_report(f"{run.parent.name}/{run.name}", facts, folds, rows, result["per_area"], result["mended"])
    )
    return output


def _row(entry: OutOfFold, names: tuple[str, ...]) -> ReportRow:
    return ReportRow(
        entry.sample, entry.labels, entry.planes, names, entry.scored.score, fold=entry.scored.parts["fold"]
    )


def _fold(run: Path, fold: int, score: float) -> dict[str, Any]:
    """Read what training wrote about a fold, for the table and the curves."""
    folder = fold_folder(run, fold)
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError) as error:
        msg = (
            f"{folder} has planes but its training did not end ({error}); run kaggle-unet train --fold {fold} --resume"
        )
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
