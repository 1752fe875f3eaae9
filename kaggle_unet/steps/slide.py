"""`segment` of slides: images larger than memory, read by blocks, predicted in strips of rows, decoded in stripes.

::

    DIR/<name>/planes.ome.zarr    probabilities, float16 (C, H, W)
    DIR/<name>/labels.ome.zarr    int32 (H, W), with levels of half the sides
    DIR/<name>/objects.geojson    an outline of each object
    DIR/<name>/measurements.csv   a row for each object
    DIR/<name>/slide.json         checkpoints, settings, and the gray levels that become 0 and 1

A shard predicts a part of the strips; the unsharded call predicts what is missing, decodes and measures. Labels are the
same as if the slide were decoded in one piece. The gray levels are measured once, on stripes spread over the slide.
"""

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.competitions.label_files import to_feature
from kaggle_unet.config import Config, plain
from kaggle_unet.data.inputs import IntensityRange, find_intensity_range, prepare
from kaggle_unet.errors import ConfigError
from kaggle_unet.io.slides import CHUNK_PX, Slide, create_ome_zarr, open_slide
from kaggle_unet.io.tables import to_csv
from kaggle_unet.masks.measure import measure, sides_um
from kaggle_unet.masks.polygons import trace_polygons
from kaggle_unet.postprocess.striped import Window, decode_large, plan_windows
from kaggle_unet.steps.parallel import OnProgress, map_samples
from kaggle_unet.steps.provenance import refuse_mixture
from kaggle_unet.steps.second_level import choose_decoder
from kaggle_unet.store import atomic_write, lock, read_record, write_record
from kaggle_unet.store.planes import to_half
from kaggle_unet.targets.codecs import get_codec
from kaggle_unet.types import DataFrame, Inputs, Labels, Planes, Result, Shape, Shard, Sliced

if TYPE_CHECKING:
    from kaggle_unet.steps.build import Ensemble

STRIP_PX = CHUNK_PX  # rows that are predicted and written together, so that no two shards write the same chunk
_STRIPE_PX = 1 << 25  # pixels that are decoded together
_MOST_WORKERS = 8  # for measuring, which then takes as long as decoding, which is not divided
_SAMPLE_PX = 1 << 25  # pixels that the gray levels are measured on
_SMALLEST_LEVEL_PX = 1024  # the longest side of the smallest level


class SegmentedSlides(Result):
    """The folder of each slide, and the number of all objects."""

    folders: list[Path]
    objects: int
    warnings: list[str]


def segment_slides(  # noqa: PLR0913  the options of a verb
    config: Config,
    checkpoints: Sequence[Path],
    paths: Sequence[Path],
    folder: Path,
    *,
    pixel_size: float | None = None,
    decode: str | None = None,
    overrides: Sequence[str] = (),
    shard: Shard | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> SegmentedSlides:
    """Segment slides one after the other, or predict a shard of each."""
    from kaggle_unet.steps.build import load_ensemble  # imports torch, which the measuring processes don't need

    ensemble = load_ensemble(checkpoints, config)
    chosen = choose_decoder(config, ensemble.hashes, decode=decode, second_level="none", overrides=overrides)
    used = plain(chosen.config, "input", "codec", "inference", "decode", "postprocess")
    used |= {"checkpoints": sorted(ensemble.hashes.values()), "pixel_size": pixel_size}
    if config.competition.channel is not None:
        used |= plain(config.competition, "channel")
    ensemble = replace(ensemble, config=chosen.config)
    folders, n_objects = [], 0
    for path in paths:
        with open_slide(path, config.competition.channel) as slide:
            _refuse_whole_image_rules(chosen.config, slide)
            folders.append(folder / slide.name)
            size = slide.pixel_size if pixel_size is None else sides_um(pixel_size)
            work = _Work(chosen.config, slide, folders[-1], size)
            with lock(work.folder, shard=shard) as held:
                levels = work.begin(json.loads(json.dumps({**used, "slide": slide.stamp()})))
                held.release_to_shards()
                work.predict(ensemble, levels, shard, on_progress)
                n_objects += 0 if shard else work.finish(on_progress)
    return SegmentedSlides(folders=folders, objects=n_objects, warnings=chosen.remarks)


def _refuse_whole_image_rules(config: Config, slide: Slide) -> None:
    rules = {
        "inference.object_px": config.inference.object_px is not None,
        "decode.single_object": config.decode.single_object,
        "input.channels with a ramp or depth": bool({"ramp", "gray_ramp", "depth"} & set(config.input.channels)),
    }
    if broken := [name for name, is_set in rules.items() if is_set]:
        raise ConfigError(f"{slide.path} is read by blocks, and {broken[0]} needs the whole image; leave it out")


@dataclass(frozen=True)
class _SlideInputs:
    """A slide as the network sees it; only the boxes that are asked for are read."""

    slide: Slide
    config: Config
    intensity_range: IntensityRange

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self.config.input.channels), *self.slide.shape)

    def __getitem__(self, box: tuple[slice, slice, slice]) -> Inputs:
        image = self.slide.read(*box[1:])
        return prepare(image, self.config.input, intensity_range=self.intensity_range)


@dataclass(frozen=True)
class _Work:
    """What is made from a slide, and where it goes."""

    config: Config
    slide: Slide
    folder: Path
    pixel_size: tuple[float, float] | None

    @cached_property
    def planes(self) -> Sliced:
        shape = (len(get_codec(self.config.codec).planes), *self.slide.shape)
        return create_ome_zarr(self.folder / "planes.ome.zarr", shape, "float16", self.pixel_size)[0]

    def begin(self, used: dict[str, Any]) -> IntensityRange:
        """Return the gray levels, measured by the first call; refuse results made with other settings."""
        path = self.folder / "slide.json"
        record = read_record(path, f"delete {self.folder}") if path.exists() else None
        written = ("planes.ome.zarr", "labels.ome.zarr", "objects.geojson", "measurements.csv")
        refuse_mixture(path, record and record["used"], used, written)
        if record is None:
            low, high = self._measure_levels()
            record = {"used": used, "levels": [np.asarray(low).tolist(), np.asarray(high).tolist()]}
            write_record(path, record)
        self.planes  # noqa: B018  created before any other shard writes
        return tuple(record["levels"])

    def _measure_levels(self) -> IntensityRange:
        """Measure the gray levels on all of a small slide, or on stripes of rows spread evenly over a large one."""
        height, width = self.slide.shape
        tops = range(0, height, STRIP_PX)
        n = max(1, min(len(tops), _SAMPLE_PX // (STRIP_PX * width)))
        spread = tops[:: max(1, len(tops) // n)]
        stripes = [self.slide.read(slice(top, min(top + STRIP_PX, height)), slice(0, width)) for top in spread]
        return find_intensity_range(np.concatenate(stripes), self.config.input)

    def predict(
        self, ensemble: "Ensemble", levels: IntensityRange, shard: Shard | None, on_progress: OnProgress
    ) -> None:
        """Predict the strips that are missing, for a shard only those of its part."""
        from kaggle_unet.steps.build import predict_slide_rows

        height, _ = self.slide.shape
        n_strips = -(-height // STRIP_PX)
        number, of = shard or (1, 1)
        first, last = (number - 1) * n_strips // of, number * n_strips // of
        missing = [number for number in range(first, last) if not self._mark(number).exists()]
        inputs, n_done = _SlideInputs(self.slide, self.config, levels), last - first - len(missing)
        gaps = np.flatnonzero(np.diff(missing) > 1) + 1
        for run in np.split(missing, gaps) if missing else ():  # at the end of each, tiles are predicted twice
            rows = slice(int(run[0]) * STRIP_PX, min((int(run[-1]) + 1) * STRIP_PX, height))
            predicted = predict_slide_rows(ensemble, self.slide.name, inputs, rows)
            for strip, planes in _in_strips(predicted, rows):
                self.planes[:, strip] = planes
                atomic_write(self._mark(strip.start // STRIP_PX), b"")
                n_done += 1
                on_progress("strips", n_done, last - first)

    def _mark(self, number: int) -> Path:
        return self.folder / ".strips" / str(number)

    def finish(self, on_progress: OnProgress) -> int:
        """Decode, and write labels, outlines and measurements."""
        height, width = self.slide.shape
        stripe_px = max(1, _STRIPE_PX // (STRIP_PX * width)) * STRIP_PX
        codec = get_codec(self.config.codec)
        scratch = self.folder / ".labels"
        labels = np.memmap(scratch, np.int32, "w+", shape=(height, width))
        try:
            settings = self.config.decode, self.config.postprocess
            decode_large(codec, self.planes, *settings, out=labels, stripe_px=stripe_px)
            self._write_labels(labels, stripe_px)
            windows = list(plan_windows(labels, STRIP_PX))
            self._write_tables(scratch, windows, on_progress)
        finally:
            del labels
            scratch.unlink()
        return windows[-1].last

    def _write_labels(self, labels: Sliced, stripe_px: int) -> None:
        n_levels = 1 + max(0, math.ceil(math.log2(max(labels.shape) / _SMALLEST_LEVEL_PX)))
        path = self.folder / "labels.ome.zarr"
        levels = create_ome_zarr(path, labels.shape, "int32", self.pixel_size, n_levels=n_levels)
        for top in range(0, labels.shape[0], stripe_px):
            stripe = labels[top : top + stripe_px]
            for level, array in enumerate(levels):
                first = -(-top // 2**level)
                shown = stripe[first * 2**level - top :: 2**level, :: 2**level]
                array[first : first + len(shown)] = shown

    def _write_tables(self, scratch: Path, windows: Sequence[Window], on_progress: OnProgress) -> None:
        """Write measurements and outlines, object by object in the order of their ids."""
        from torch import get_num_threads

        table, outlines = self.folder / "measurements.csv", self.folder / "objects.geojson"
        features, (height, width) = outlines.with_suffix(".features"), self.slide.shape
        tables = _Tables(self.slide.path, self.slide.channel, scratch, self.slide.shape, self.pixel_size)
        with features.open("w", encoding="utf-8") as file:

            def rows() -> Iterator[str]:
                described = map_samples(tables.describe, windows, min(get_num_threads(), _MOST_WORKERS), least=2)
                for window, (text, found) in zip(windows, described, strict=True):
                    yield text if window.top == 0 else text.partition("\n")[2]
                    file.write(f",{found}" if found and window.first else found)
                    on_progress("objects", window.last, windows[-1].last)

            atomic_write(table, rows())
        about = {"name": self.slide.name, "height": height, "width": width}
        begin = f'{{"type": "FeatureCollection", "image": {json.dumps(about)}, "features": ['
        with features.open(encoding="utf-8") as file:
            atomic_write(outlines, itertools.chain([begin], iter(lambda: file.read(1 << 20), ""), ["]}"]))
        features.unlink()


@dataclass(frozen=True)
class _Tables:
    """The table of a slide's objects and their outlines, made by any process from windows of the labels on disk."""

    slide: Path
    channel: int | None
    labels: Path
    shape: Shape
    pixel_size: tuple[float, float] | None

    def describe(self, window: Window) -> tuple[str, str]:
        """Return the lines of the table for a window's objects, the header first, and their outlines as features."""
        labels = window.read(np.memmap(self.labels, np.int32, "r", shape=self.shape))
        features = []
        for id_, polygons in trace_polygons(labels).items():
            moved = [[ring + np.array([0, window.top]) for ring in rings] for rings in polygons]
            features.append(json.dumps(to_feature(window.first + id_, moved)))
        return to_csv(self._measure(labels, window)), ",".join(features)

    def _measure(self, labels: Labels, window: Window) -> DataFrame:
        with open_slide(self.slide, self.channel) as slide:
            image, name = slide.read(slice(window.top, window.bottom), slice(0, self.shape[1])), slide.name
        found = measure(labels, image, pixel_size=self.pixel_size)
        found["label"] += window.first
        for column in ("y", "top", "bottom"):
            found[f"{column}_px"] += window.top
            if self.pixel_size:
                found[f"{column}_um"] += window.top * self.pixel_size[0]
        found.insert(0, "image", name)
        return found


def _in_strips(blocks: Iterator[tuple[slice, Planes]], rows: slice) -> Iterator[tuple[slice, NDArray[np.float16]]]:
    """Cut rows that come in blocks of any height into strips, which begin at multiples of `STRIP_PX`."""
    kept, top = list[NDArray[np.float16]](), rows.start
    for block, planes in blocks:
        kept.append(to_half(planes))
        while block.stop - top >= STRIP_PX or (block.stop == rows.stop and top < rows.stop):
            whole = np.concatenate(kept, axis=1)
            strip = slice(top, min(top + STRIP_PX, rows.stop))
            yield strip, whole[:, : strip.stop - top]
            kept, top = [whole[:, strip.stop - top :]], strip.stop
