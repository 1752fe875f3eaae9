"""Plots of training (by epoch), of a search (every trial by parameter), and of the score by mask threshold.

They are PNGs; those for the report are SVGs with a transparent background.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Row = Mapping[str, float | None]


def _new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, its size in inches."""
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, kind: str) -> bytes:
    """Encode a figure; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    about = {"png": {"Software": None}, "svg": {"Date": None}}[kind]
    with mpl.rc_context({"svg.hashsalt": "kaggle_unet"}):
        figure.savefig(buffer, format=kind, metadata=about, transparent=kind == "svg")
    return buffer.getvalue()


def plot_curves(history: Sequence[Row], kind: str = "png") -> bytes:
    """Plot loss and score by epoch; in a report one above the other, legible on a phone."""
    figure = _new_figure(4.5, 5.6) if kind == "svg" else _new_figure(9, 3.2)
    losses, scores = figure.subplots(2) if kind == "svg" else figure.subplots(1, 2)
    _draw_line(losses, history, "train_loss", "training", "#888888")
    _draw_line(losses, history, "valid_loss", "validation", "#1f77b4")
    _draw_line(scores, history, "valid_iou", "IoU of pixels", "#888888")
    _draw_line(scores, history, "valid_score", "validation", "#d95f02")
    _mark_best(scores, history)
    for axes, label in ((losses, "loss"), (scores, "score")):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylabel(label)
        axes.grid(visible=True, alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False, fontsize=8)
    return _save(figure, kind)


def _points(history: Sequence[Row], key: str) -> list[tuple[float, float]]:
    """Return the epoch and the value of each row that has one."""
    return [(row["epoch"] or 0, value) for row in history if (value := row.get(key)) is not None]


def _draw_line(axes: Axes, history: Sequence[Row], key: str, name: str, colour: str) -> None:
    """Draw one curve, with dots where it has few points."""
    points = _points(history, key)
    if points:
        marker = "o" if len(points) <= 30 else ""
        axes.plot(*zip(*points, strict=True), color=colour, label=name, marker=marker, markersize=3, linewidth=1.4)


def _mark_best(axes: Axes, history: Sequence[Row]) -> None:
    """Mark the highest score, the first of equals, with its value."""
    points = _points(history, "valid_score")
    if points:
        epoch, score = max(points, key=lambda point: point[1])
        name = f"best: {score:.4f} in epoch {epoch:g}"
        axes.plot([epoch], [score], "o", color="#d95f02", markersize=8, fillstyle="none", label=name)


def plot_thresholds(scores: Mapping[float, float], chosen: float, kind: str = "png") -> bytes:
    """Plot the score by mask threshold, with the threshold that is used."""
    figure = _new_figure(4.5, 3.2)
    axes = figure.subplots()
    (line,) = axes.plot(list(scores), list(scores.values()), color="#d95f02", marker="o", markersize=3, linewidth=1.4)
    line.set_label("score, in-sample")
    axes.axvline(chosen, color="#888888", linestyle="--", linewidth=1, label=f"decode.mask_threshold {chosen:g}")
    axes.set_xlabel("mask threshold (probability)")
    axes.set_ylabel("mean score of the images")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    return _save(figure, kind)


Params = Mapping[str, Any]


def plot_search(trials: Sequence[tuple[Params, float]], chosen: Params, *, title: str) -> bytes:
    """Plot the score of every trial by parameter."""
    keys = list(chosen)
    n_columns = min(4, len(keys))
    n_rows = -(-len(keys) // n_columns)
    figure = _new_figure(3 * n_columns, 2.5 * n_rows + 0.5)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
    scores = [score for _, score in trials]
    best, low = max(scores), sorted(scores)[len(scores) // 4]
    margin = max(best - low, 1e-4) / 10
    for panel, key in zip(panels.flat, keys, strict=False):
        values = [float(params[key]) for params, _ in trials]
        dots = panel.scatter(values[1:], scores[1:], c=range(1, len(trials)), cmap="Blues", vmin=-len(trials) / 2, s=10)
        dots.set_label("a trial, later ones darker")
        panel.plot(values[:1], scores[:1], "x", color="#444444", label="the config's values")
        panel.plot([float(chosen[key])], [best], "o", mfc="none", mec="#d95f02", ms=10, label="the best trial")
        unit = " (px²)" if key.endswith("_px") else " (probability)" if key.endswith("_threshold") else ""
        panel.set_xlabel(f"{key}{unit}", fontsize=8)
        panel.set_ylim(low - margin, best + 2 * margin)
        panel.tick_params(labelsize=7)
    for panel in panels.flat[len(keys) :]:
        panel.set_axis_off()
    for row in panels:
        row[0].set_ylabel("score", fontsize=8)
    figure.suptitle(title, fontsize=9)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return _save(figure, "png")
