"""What a search has tried, as a picture: a panel for each parameter, every trial a dot."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Point = Mapping[str, Any]


def plot_landscape(trials: Sequence[tuple[Point, float]], chosen: Point, *, title: str = "") -> bytes:
    """Plot scores over each parameter."""
    keys = list(chosen)
    n_columns = min(4, len(keys))
    n_rows = -(-len(keys) // n_columns)
    figure = Figure(figsize=(3 * n_columns, 2.5 * n_rows + 0.3), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
    scores = [score for _, score in trials]
    best, low = max(scores), sorted(scores)[len(scores) // 4]
    margin = max(best - low, 1e-4) / 10
    for panel, key in zip(panels.flat, keys, strict=False):
        values = [float(point[key]) for point, _ in trials]
        panel.scatter(values[1:], scores[1:], c=range(1, len(trials)), cmap="Blues", vmin=-len(trials) / 2, s=10)
        panel.plot(values[:1], scores[:1], "x", color="#444444")
        panel.plot([float(chosen[key])], [best], "o", mfc="none", mec="#d95f02", ms=10)
        panel.set_xlabel(key, fontsize=8)
        panel.set_ylim(low - margin, best + 2 * margin)
        panel.tick_params(labelsize=7)
    for panel in panels.flat[len(keys) :]:
        panel.set_axis_off()
    for row in panels:
        row[0].set_ylabel("score", fontsize=8)
    if title:
        figure.suptitle(title, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
