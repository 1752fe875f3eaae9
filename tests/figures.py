"""``python -m tests.figures``: the figures of docs/explanation, of drawn images and the demo's networks.

`scripts/figures` runs it. Every number in a figure is computed by the package, never typed in.
"""

import sys
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import ListedColormap
from matplotlib.patches import Rectangle
from skimage.segmentation import watershed

import kaggle_unet as ku
from kaggle_unet.data.batch import PadSpec
from kaggle_unet.data.inputs import prepare
from kaggle_unet.inference.flips import FLIPS
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.inference.tiles import plan_tiles
from kaggle_unet.metrics.overlap import count_overlap
from kaggle_unet.metrics.score import THRESHOLDS_TWENTIETHS, score_overlap
from kaggle_unet.report.draw import outline
from kaggle_unet.steps.build import load_ensemble, predict_samples

IMAGES = Path(__file__).parents[1] / "docs/images"
RUN = Path("demo/nuclei/run")
WIDTH_IN, DPI = 7.2, 200
TRUE, PRED, GOOD, BAD = "#0072b2", "#e69f00", "#009e73", "#d55e00"  # Okabe and Ito's, apart for the colour-blind
OBJECTS = ListedColormap(["white", "#56b4e9", "#f0c04a", "#7fc8a9", "#cc8fb5", "#9a9ad8", "#e08a5b", "#b8b8b8"])


def save(figure, name):
    figure.savefig(IMAGES / f"{name}.png", dpi=DPI, facecolor="white", bbox_inches="tight", pad_inches=0.08)
    plt.close(figure)


def show(axes, values, title="", **options):
    """Draw an array as a panel without axes."""
    axes.imshow(values, interpolation="nearest", **options)
    axes.set_title(title)
    axes.set_xticks([])
    axes.set_yticks([])


def show_labels(axes, labels, title=""):
    """Draw labels, neighbours in different colours."""
    show(axes, np.where(labels > 0, 1 + labels % 7, 0), title, cmap=OBJECTS, vmin=0, vmax=7)


def draw_way():
    """Two touching objects, pixel by pixel: labels, planes, seeds, and labels again."""
    rows, columns = np.mgrid[:13, :18]
    labels = np.zeros((13, 18), np.int32)
    labels[(rows - 6) ** 2 + (columns - 5.2) ** 2 < 20] = 1
    labels[((rows - 6) ** 2 + (columns - 12) ** 2 < 16) & (labels == 0)] = 2
    mask, border = ku.encode_targets(labels, "mask_border")
    decoded = ku.decode_planes(np.stack([mask, border]), "mask_border")
    assert (decoded == labels).all()
    seeds = ku.components((mask > 0) & (border == 0))
    figure, axes = plt.subplots(1, 5, figsize=(WIDTH_IN, 1.4), layout="constrained")
    show_labels(axes[0], labels, "labels")
    show(axes[1], mask, "encode: mask", cmap="gray", vmin=0, vmax=1)
    show(axes[2], border, "encode: border", cmap="gray", vmin=0, vmax=1)
    show_labels(axes[3], seeds, "decode: seeds")
    show_labels(axes[4], decoded, "decode: labels")
    for panel in axes:
        panel.set_xticks(np.arange(-0.5, 18), minor=True)
        panel.set_yticks(np.arange(-0.5, 13), minor=True)
        panel.grid(which="minor", color="#999999", linewidth=0.3)
        panel.tick_params(which="minor", length=0)
    save(figure, "way")


def draw_watershed(ensemble):
    """Predicted planes of an image, the seeds, and the flood at three levels."""
    image, true = ku.draw_nuclei(np.random.default_rng(11), (96, 96), n=22, clustering=0.9)
    settings = ensemble.config.decode
    mask, border = predict(ensemble, image)
    part = np.s_[18:82, 16:80]
    labels = ku.decode_planes(np.stack([mask, border]), "mask_border", settings)
    elevation = (1 - mask + border) / 2
    seeds = ku.components(
        (mask > max(settings.mask_threshold, settings.seed_threshold)) & (border <= settings.border_threshold)
    )
    inside = mask > settings.mask_threshold
    figure, axes = plt.subplots(2, 4, figsize=(WIDTH_IN, 4.05), layout="constrained")
    show(axes[0, 0], image[part], "image", cmap="gray")
    show(axes[0, 1], mask[part], "predicted mask", cmap="gray", vmin=0, vmax=1)
    show(axes[0, 2], border[part], "predicted border", cmap="gray", vmin=0, vmax=1)
    show(axes[0, 3], np.where(inside, elevation, np.nan)[part], "elevation inside the mask", cmap="viridis")
    show_labels(axes[1, 0], seeds[part], "seeds")
    for panel, level in zip(axes[1, 1:3], (0.3, 0.5), strict=True):
        flooded = watershed(elevation, seeds, mask=(inside & (elevation <= level)) | (seeds > 0))
        show_labels(panel, flooded[part], f"flooded up to {level}")
    seed_of = [
        0,
        *(np.bincount(seeds[(labels == number) & (seeds > 0)]).argmax() for number in range(1, labels.max() + 1)),
    ]
    show_labels(axes[1, 3], np.array(seed_of)[labels][part], "labels, and true outlines")
    edges = np.ma.masked_equal(outline(true)[part].astype(float), 0)
    axes[1, 3].imshow(edges, cmap=ListedColormap(["black"]), interpolation="nearest", alpha=0.55)
    for panel in axes[1]:
        panel.contour(inside[part], [0.5], colors="#555555", linewidths=0.6)
    save(figure, "watershed")


def predict(ensemble, image, **settings):
    """Return an image's planes as the run predicts them, with other settings of inference."""
    sample = ku.Sample("image", image)
    options = InferenceSettings(**settings)
    ((_, planes),) = predict_samples(ensemble, {"image": image.shape[:2]}, {"image": sample}.__getitem__, options)
    return planes.astype(np.float32)


@torch.inference_mode()
def draw_flips(ensemble):
    """The border plane as the eight views predict it, their mean, and how much they differ."""
    image, true = ku.draw_nuclei(np.random.default_rng(5), (64, 64), n=7, clustering=0.9)
    inputs = torch.from_numpy(prepare(image, ensemble.config.input))[None]
    model = ensemble.models[0].eval().float()
    views = [(name, flip.apply(inputs), flip.undo(model(flip.apply(inputs)).sigmoid())) for name, flip in FLIPS.items()]
    planes = torch.stack([found[0, 1] for _, _, found in views]).numpy()
    figure = plt.figure(figsize=(WIDTH_IN, 3.5), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(2, 1.75))
    axes = above.subplots(2, 8)
    for column, (name, shown, found) in enumerate(views):
        show(axes[0, column], shown[0, 0], name.replace("_", " ").replace("identity", "as it is"), cmap="gray")
        show(axes[1, column], found[0, 1], cmap="gray", vmin=0, vmax=1)
    axes[0, 0].set_ylabel("shown")
    axes[1, 0].set_ylabel("border,\nturned back")
    truth = ku.border(true, radius_px=2)
    error = [np.square(plane - truth).mean() for plane in (*planes, planes.mean(axis=0))]
    last = below.subplots(1, 4)
    show(last[0], planes.mean(axis=0), f"mean: error² {error[-1]:.3f}", cmap="gray", vmin=0, vmax=1)
    show(last[1], planes[0], f"one view: {min(error[:-1]):.3f} … {max(error[:-1]):.3f}", cmap="gray", vmin=0, vmax=1)
    show(last[2], truth, "true border", cmap="gray", vmin=0, vmax=1)
    show(last[3], planes.std(axis=0), "spread of the views", cmap="magma", vmin=0)
    save(figure, "flips")


def draw_tiles(ensemble):
    """Tiles over an image, their weights, and the difference to the whole image without and with overlap."""
    image, _ = ku.draw_nuclei(np.random.default_rng(3), (256, 256), n=90, clustering=0.7)
    whole = predict(ensemble, image)[1]
    tiled = {px: predict(ensemble, image, tile_px=128, overlap_px=px)[1] for px in (0, 64)}
    tiles = plan_tiles(image.shape, tile_px=128, overlap_px=64, pad_spec=PadSpec(8))
    spans = list(dict.fromkeys(span.start for _, span in tiles))
    columns = [next(span for _, span in tiles if span.start == start) for start in spans]
    figure, axes = plt.subplots(1, 4, figsize=(WIDTH_IN, 2.2), layout="constrained")
    show(axes[0], image, f"{len(tiles)} tiles of {columns[0].side} px", cmap="gray")
    for number, (rows, cols) in enumerate(tiles):
        corner, side = (cols.start + 1 + 2 * (number % 3), rows.start + 1 + 2 * (number // 3)), cols.side - 6
        colour = OBJECTS.colors[1 + number % 7]
        axes[0].add_patch(Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=1.4))
    for number, span in enumerate(columns):
        axes[1].plot(range(256)[span.out], span.weight, color=OBJECTS.colors[1 + number], linewidth=2)
    axes[1].plot(range(256), sum_of(columns), color="#555555", linestyle=":", linewidth=1)
    axes[1].set(title="weights along a row", xticks=(0, 128, 255), yticks=(0, 0.5, 1))
    axes[1].set_box_aspect(1)
    worst = float(np.abs(tiled[0] - whole).max())
    for panel, px in zip(axes[2:], tiled, strict=True):
        error = np.abs(tiled[px] - whole)
        show(panel, error, f"overlap {px}: up to {error.max():.1g}", cmap="magma", vmin=0, vmax=worst)
    save(figure, "tiles")


def sum_of(spans):
    total = np.zeros(256)
    for span in spans:
        total[span.out] += span.weight
    return total


def draw_metric():
    """An object and ever worse predictions of it: IoU, and which of the ten thresholds each exceeds."""
    disc = make_disc(64, 32, 26, 20)
    preds = [make_disc(64, 32, 26 + shift, 20 + grow) for shift, grow in ((0.6, 0), (0, -2), (4, 1), (9, 0), (14, 0))]
    figure, axes = plt.subplots(2, 5, figsize=(WIDTH_IN, 2.5), layout="constrained", height_ratios=(4, 1))
    thresholds = [k / 20 for k in THRESHOLDS_TWENTIETHS]
    for (above, below), pred in zip(axes.T, preds, strict=True):
        score = score_overlap(count_overlap(disc, pred))
        show_pair(above, disc, pred, f"IoU {(disc & pred).sum() / (disc | pred).sum():.3f}")
        colours = [GOOD if hit else "white" for hit in score.tp]
        below.scatter(thresholds, np.ones(10), s=45, c=colours, edgecolors=[GOOD if hit else BAD for hit in score.tp])
        below.set(xticks=(0.5, 0.6, 0.7, 0.8, 0.9), yticks=(), xlim=(0.46, 0.99))
        below.set_xlabel(f"above {score.tp.sum()} of 10: {score.mean:.1f}")
        below.spines[["left", "top", "right"]].set_visible(False)
    save(figure, "metric")


def draw_corners():
    """Corners of the metric, each with its score."""
    empty = np.zeros((48, 48), np.int32)
    one, other = make_disc(48, 24, 16, 10), make_disc(48, 24, 34, 7)
    square = np.zeros((48, 48), np.int32)
    square[12:36, 8:40] = 1
    half, halves, both = square.copy(), square.copy(), square.copy()
    half[:, 24:], halves[:, 24:] = 0, 2 * square[:, 24:]
    uneven = np.where(np.arange(48) < 33, square, 2 * square)
    cases = [
        ("nothing there,\nnothing predicted", empty, empty),
        ("nothing there,\none predicted", empty, one),
        ("one of two found,\nexactly", one + 2 * other, one),
        ("one object in\ntwo pieces", one + other, one + other),
        ("IoU exactly 0.5:\nno match", square, half),
        ("split in halves", square, halves),
        ("two of one size\nmerged", halves, both),
        ("a large and a small\none merged", uneven, both),
    ]
    figure, axes = plt.subplots(2, 4, figsize=(WIDTH_IN, 5), layout="constrained")
    for panel, (title, true, pred) in zip(axes.flat, cases, strict=True):
        show_pair(panel, true, pred, title)
        panel.set_xlabel(f"score {ku.score(true, pred):.2f}")
    save(figure, "metric_corners")


def make_disc(side, y, x, radius):
    rows, columns = np.mgrid[:side, :side]
    return ((rows - y) ** 2 + (columns - x) ** 2 < radius**2).astype(np.int32)


def show_pair(axes, true, pred, title):
    """Draw true and predicted objects as areas, with their outlines."""
    show(axes, np.ones((*true.shape, 3)), title)
    for labels, colour, style, width in ((true, TRUE, "-", 1.8), (pred, PRED, (0, (3, 1.5)), 1.8)):
        for number in range(1, labels.max() + 1):
            area = (labels == number).astype(float)
            large = cv2.resize(area, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
            place = np.linspace(-0.5 + 0.125, true.shape[1] - 0.5 - 0.125, large.shape[1])
            axes.contourf(place, place, large, [0.5, 1], colors=[colour], alpha=0.22)
            axes.contour(place, place, large, [0.5], colors=[colour], linestyles=[style], linewidths=width)


def main():
    mpl.rcParams.update({"font.size": 8, "axes.titlesize": 8, "axes.linewidth": 0.6})
    torch.manual_seed(0)
    draw_way()
    draw_metric()
    draw_corners()
    ensemble = load_ensemble([RUN])
    draw_watershed(ensemble)
    draw_flips(ensemble)
    draw_tiles(ensemble)


if __name__ == "__main__":
    sys.exit(main())
