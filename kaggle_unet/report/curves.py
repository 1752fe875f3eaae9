"""Loss and score over the epochs, as a picture."""

import io
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Row = Mapping[str, float | None]


def plot_curves(history: Sequence[Row], *, title: str = "") -> bytes:
    """Plot how training went."""
    figure = Figure(figsize=(9, 3.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    losses, scores = figure.subplots(1, 2)
    if title:
        figure.suptitle(title, fontsize=10)
    _draw_line(losses, history, "train_loss", "training", "#888888")
    _draw_line(losses, history, "valid_loss", "validation", "#1f77b4")
    _draw_line(scores, history, "valid_score", "validation", "#d95f02")
    _mark_best(scores, history)
    for axes, label in ((losses, "loss"), (scores, "score")):
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.grid(visible=True, alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _points(history: Sequence[Row], key: str) -> list[tuple[float, float]]:
    """Take the epochs that have a value."""
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
