"""`scripts/bench-tiles`: what large images cost, and whether tiles give what the whole image gives.

Each size runs in a process of its own, so that its peak memory is its own; what is timed begins when the networks are
loaded and have seen an image of one tile, and ends when the labels are there.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import validate_config
from kaggle_unet.metrics.overlap import count_overlap
from kaggle_unet.models.checkpoint import load_checkpoint
from kaggle_unet.steps.build import load_ensemble, predict_samples
from kaggle_unet.steps.run import find_checkpoints
from kaggle_unet.types import Sample
from tests.bench.drawn import draw_labels

# A drawn tile is repeated, as drawing 10,000 × 10,000 pixels of nuclei takes longer than finding them.
TILE_PX, TILE_NUCLEI = 1000, 500


def agreement(whole, tiled):
    """Share of pixels that belong to the same object in both, or to none in both.

    Parameters
    ----------
    whole, tiled : int32 array, shape (H, W)
        Labels; objects are the same where each is the other's largest overlap.

    Returns
    -------
    float
        From 0 to 1.
    """
    overlap = count_overlap(whole, tiled)
    n_both_empty = int(((whole == 0) & (tiled == 0)).sum())
    is_same = _largest(overlap.true, overlap.shared_px) & _largest(overlap.pred, overlap.shared_px)
    return (n_both_empty + int(overlap.shared_px[is_same].sum())) / whole.size


def _largest(owners, n_px):
    """Tell of each pair whether it is its owner's largest; the first among equals."""
    order = np.lexsort((np.arange(len(n_px)), -n_px, owners))
    is_rank_zero = np.ones(len(order), dtype=bool)
    is_rank_zero[1:] = owners[order][1:] != owners[order][:-1]
    is_largest = np.zeros(len(order), dtype=bool)
    is_largest[order[is_rank_zero]] = True
    return is_largest


def draw_image(side):
    """Draw bright nuclei on a dark ground, `side` × `side` pixels, 500 a megapixel."""
    labels = draw_labels(np.random.default_rng(0), (TILE_PX, TILE_PX), TILE_NUCLEI)
    rng = np.random.default_rng(1)
    tile = np.where(labels > 0, 180, 30) + rng.integers(-15, 16, labels.shape)
    repeats = -(-side // TILE_PX)
    return np.tile(tile.astype(np.uint8), (repeats, repeats))[:side, :side]


def _load(checkpoint):
    config = validate_config(load_checkpoint(find_checkpoints([checkpoint])[0])["config"], where=str(checkpoint))
    return load_ensemble([checkpoint], config)


def _find(ensemble, sample, settings):
    """Predict and decode one image."""
    return _decode(ensemble, _predict(ensemble, sample, settings))


def _predict(ensemble, sample, settings):
    ((_, planes),) = predict_samples(ensemble, {sample.id: sample.image.shape[:2]}, lambda _: sample, settings)
    return planes


def _decode(ensemble, planes):
    return ensemble.config.decoder(planes)


class Watch:
    """Pixels that networks see, and the seconds they take for them."""

    def __init__(self, models):
        self.n_px, self.seconds = 0, 0.0
        for model in models:
            model.register_forward_pre_hook(self._begin)
            model.register_forward_hook(self._end)

    def _begin(self, _, inputs):
        self.n_px += inputs[0][:, 0].numel()
        self._start = time.perf_counter()

    def _end(self, *_):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - self._start


def measure_size(checkpoint, side, tile_px):
    """Print seconds, objects and peak memory of one image, and where the time went; kernels and heap are warm."""
    ensemble = _load(checkpoint)
    settings = ensemble.config.inference
    settings = settings.model_copy(update={"flips": "none", "batch": 1, "tile_px": tile_px or settings.tile_px})
    _find(ensemble, Sample(id="first", image=draw_image(min(side, settings.tile_px))), settings)
    sample = Sample(id="drawn", image=draw_image(side))
    watch = Watch(ensemble.models)
    start = time.perf_counter()
    planes = _predict(ensemble, sample, settings)
    middle = time.perf_counter()
    n_objects = int(_decode(ensemble, planes).max())
    end = time.perf_counter()
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    n_mpx = side * side / 1e6
    print(
        f"{side:>6} px  {end - start:7.1f} s  {(end - start) / n_mpx:6.2f} s/Mpx  {peak_gib:5.2f} GiB  "
        f"{n_objects} objects; "
        f"the network {watch.seconds / n_mpx:.2f} s/Mpx, {watch.seconds / watch.n_px * 1e6:.2f} of what it sees; "
        f"tiles {(middle - start - watch.seconds) / n_mpx:.2f}, decoding {(end - middle) / n_mpx:.2f}",
        flush=True,
    )


def measure_agreement(checkpoint, data, *, least_px, tile_px, overlaps_px):
    """Print how far tiles and whole images agree, over all images with a side of at least `least_px`."""
    ensemble = _load(checkpoint)
    source = get_competition(ensemble.config.competition.name).read(data, ensemble.config.competition, with_masks=False)
    large = [id_ for id_ in source.ids if max(source.shape(id_)) >= least_px]
    if not large:
        raise SystemExit(f"{data}: none of {len(source.ids)} images has a side of {least_px} px; lower --least-px")
    plain = ensemble.config.inference.model_copy(update={"flips": "none", "batch": 1})
    shares = {overlap_px: [] for overlap_px in overlaps_px}
    n_px = []
    for number, id_ in enumerate(large, 1):
        sample = source.load(id_)
        whole = _find(ensemble, sample, plain.model_copy(update={"tile_px": 1 << 14}))
        n_px.append(whole.size)
        for overlap_px in overlaps_px:
            tiled = _find(ensemble, sample, plain.model_copy(update={"tile_px": tile_px, "overlap_px": overlap_px}))
            shares[overlap_px].append(agreement(whole, tiled))
        print(f"{number}/{len(large)} {whole.shape} {whole.max()} objects", file=sys.stderr, flush=True)
    for overlap_px, found in shares.items():
        mean = np.average(found, weights=n_px)
        print(
            f"{len(found)} images of {sum(n_px) / 1e6:.1f} Mpx, tiles of {tile_px} px, overlap {overlap_px}: "
            f"{mean:.5f} of pixels agree, the worst image {min(found):.5f}"
        )


def _numbers(text):
    return [int(number) for number in text.split(",")]


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench-tiles", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="best.safetensors, or the folder of a fold")
    parser.add_argument("--sizes", type=_numbers, default=[1000, 2000, 4000, 10000], help="sides in pixels")
    parser.add_argument("--data", help="compare tiles with whole images on these instead")
    parser.add_argument("--least-px", type=int, default=1000, help="longer side of the images compared")
    parser.add_argument("--tile-px", type=int, help="default: 512 with --data, else the checkpoint's config's")
    parser.add_argument("--overlap-px", type=_numbers, default=[128, 256])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        measure_size(chosen.checkpoint, chosen.one, chosen.tile_px)
    elif chosen.data:
        measure_agreement(
            chosen.checkpoint,
            chosen.data,
            least_px=chosen.least_px,
            tile_px=chosen.tile_px or 512,
            overlaps_px=chosen.overlap_px,
        )
    else:
        for side in chosen.sizes:
            words = [str(chosen.checkpoint), "--one", str(side)]
            words += ["--tile-px", str(chosen.tile_px)] if chosen.tile_px else []
            subprocess.run([sys.executable, "-m", "tests.bench.tiles", *words], check=True)


if __name__ == "__main__":
    main()
