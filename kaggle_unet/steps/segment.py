"""`segment`: networks and images in; label images, overlays and measurements out.

::

    DIR/labels/<id>.tif          16 bits, or 32 for more than 65535 objects
    DIR/overlays/<id>.png        outlines on the image
    DIR/<format>/<id>.<suffix>   other programs' formats
    DIR/measurements.csv         one row per object of every image in DIR
    DIR/segment.json             checkpoints and settings
    DIR/set_aside.csv            with --skip-bad, the images that can't be read, and why
    DIR/report.html              with `--report`, a page to browse images and objects

Images come and go one at a time. The measurements of each are in `DIR/.measurements/`, headed by its file's hash: an
image that has them is done. All results in a folder are from the same networks and settings; others are refused.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_unet.competitions.competition import read_shapes
from kaggle_unet.competitions.image_files import ImageFiles, find_images
from kaggle_unet.competitions.label_files import LABEL_FORMATS, get_format, write_labels
from kaggle_unet.config import Config, plain
from kaggle_unet.data.inputs import refuse_missing_depths
from kaggle_unet.errors import ConfigError, reading
from kaggle_unet.io.images import encode_png
from kaggle_unet.io.label_images import read_values
from kaggle_unet.io.tables import Table, format_rows, read_table, to_csv
from kaggle_unet.masks.measure import measure, sides_um
from kaggle_unet.report.draw import draw_overlay
from kaggle_unet.steps.build import load_ensemble, predict_samples
from kaggle_unet.steps.parallel import OnProgress
from kaggle_unet.steps.predict import SET_ASIDE, write_set_aside
from kaggle_unet.steps.provenance import describe_environment, refuse_mixture
from kaggle_unet.steps.report import write_label_report
from kaggle_unet.steps.second_level import choose_decoder
from kaggle_unet.steps.submit import decode_concurrently, describe_ensemble
from kaggle_unet.store import atomic_write, lock, sample_file
from kaggle_unet.store.atomic import try_to_write
from kaggle_unet.types import Labels, Result, Sample, Shard

ABOUT, PARTS, TABLE, REPORT = "segment.json", ".measurements", "measurements.csv", "report.html"
# The folders of an image's results, other formats aside, in the order of removal: first what marks it as done.
_OF_IMAGE = {PARTS: ".csv", "labels": ".tif", "overlays": ".png"}


class Segmented(Result):
    """The result of a call: its images, how many of them were done before, and all objects in the folder."""

    folder: Path
    images: int
    done_before: int
    objects: int
    formats: Sequence[str]
    warnings: list[str]


def segment(  # noqa: PLR0913  the options of a verb
    config: Config,
    checkpoints: Sequence[Path],
    places: Sequence[str],
    folder: Path,
    *,
    formats: Sequence[str] = (),
    pixel_size: float | None = None,
    decode: str | None = None,
    report: bool = False,
    overrides: Sequence[str] = (),
    skip_bad: bool = False,
    shard: Shard | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> Segmented:
    """Segment images without known truth; a shard leaves the table to the unsharded call."""
    _check_request(config, formats, pixel_size)
    images = find_images(places, config.competition, skip_bad=skip_bad)
    images.refuse_folder(folder)
    results, ids = _Results(folder, images, tuple(dict.fromkeys(formats)), pixel_size), images.ids
    refuse_missing_depths(config.input, ids, images.numbers, ", ".join(places))
    set_aside: dict[str, str] | None = {} if skip_bad else None
    shapes = read_shapes(ids, images.shape, set_aside)
    try_to_write(folder / ABOUT)
    ensemble = load_ensemble(checkpoints, config)
    chosen = choose_decoder(config, ensemble.hashes, decode=decode, overrides=overrides)
    about = chosen.names | describe_ensemble(chosen.config, ensemble.checkpoints)
    used = {
        **plain(chosen.config, "input", "codec", "inference", "decode", "postprocess"),
        "checkpoints": sorted(ensemble.hashes.values()),
        "second_level": chosen.second_level_hash,
        "pixel_size": pixel_size,
        **({} if config.competition.channel is None else plain(config.competition, "channel")),
    }
    with lock(folder, shard=shard) as held:
        results.begin(used, about, is_alone=not held.others())
        held.release_to_shards()
        done = {id_ for id_ in shapes if results.has(id_)}
        for id_ in done:
            results.write_formats(id_)
        options: dict[str, Any] = {"done": done, "shard": shard, "set_aside": set_aside}
        predicted = predict_samples(ensemble, shapes, images.load, chosen.config.inference, **options)
        n_done = len(done)
        for sample, labels in decode_concurrently(predicted, chosen.decode):
            if sample.id not in done:  # those done may be predicted again with others of their batch
                results.write(sample, labels)
                n_done += 1
                on_progress("images", n_done, len(ids))
        for id_ in set_aside or ():
            results.forget(id_)
        n, n_objects = len(ids) - len(set_aside or ()), 0 if shard else results.join()
        if report and not shard:
            stats, page = {"images": ", ".join(places), ABOUT: (folder / ABOUT).read_text()}, folder / REPORT
            labelled = ((images.load(id_), results.read_labels(id_)) for id_ in ids if id_ not in (set_aside or ()))
            write_label_report(labelled, n, folder.name, stats, page, on_progress=on_progress)
        if not shard:
            write_set_aside(folder, set_aside or {})
    others = [f"set aside: {reason}" for reason in (set_aside or {}).values()]
    others += [f"{count} × {issue}" for issue, count in images.others.items()]
    counts = {"images": n, "done_before": len(done), "objects": n_objects}
    return Segmented(folder=folder, **counts, formats=results.formats, warnings=[*chosen.remarks, *others])


def _check_request(config: Config, formats: Sequence[str], pixel_size: float | None) -> None:
    """Refuse what cannot be written, before anything is read."""
    if config.codec.classes:
        msg = "segment finds objects, and this run knows classes of pixels; for class images take kaggle-unet submit "
        raise ConfigError(f"{msg}RUN --data IMAGES -o classes.csv --labels DIR")
    for name in formats:
        get_format(name)
    if pixel_size is not None:
        sides_um(pixel_size)


@dataclass(frozen=True)
class _Results:
    folder: Path
    images: ImageFiles
    formats: tuple[str, ...]
    pixel_size: float | None

    def begin(self, used: dict[str, Any], about: dict[str, Any], *, is_alone: bool) -> None:
        """Refuse a folder with results of other networks or settings, or with files that are not ours."""
        path, before = self.folder / ABOUT, None
        names = ("labels", "overlays", TABLE, REPORT, SET_ASIDE, *LABEL_FORMATS)
        used = json.loads(json.dumps(used))
        has_results = any((self.folder / name).exists() for name in (PARTS, *names))
        if path.is_file():
            with reading(path, f"delete {self.folder}, or give another -o"):
                before = dict(json.loads(path.read_text())["used"])
        is_empty = is_alone and not has_results  # a call failed before its first result
        refuse_mixture(path, None if is_empty else before, used, names)  # `write` also removes files
        atomic_write(path, json.dumps({"used": used, **about, "environment": describe_environment()}, indent=1) + "\n")

    def has(self, id_: str) -> bool:
        """Return whether an image's results exist and were made from the file as it is now."""
        is_whole = all(self._file(kind, id_).is_file() for kind in _OF_IMAGE)
        return is_whole and self._file(PARTS, id_).read_text().partition("\n")[0] == self.images.fingerprint(id_)

    def write(self, sample: Sample, labels: Labels) -> None:
        """Write the results of an image, last those that mark it as done."""
        size = self._pixel_size(sample.id)
        for name in LABEL_FORMATS:  # also those of a call with other formats
            self._file(name, sample.id).unlink(missing_ok=True)
        write_labels(labels, self._file("labels", sample.id), pixel_size=size)
        self.write_formats(sample.id)
        atomic_write(self._file("overlays", sample.id), encode_png(draw_overlay(sample.image, labels)))
        table = measure(labels, sample.image, pixel_size=size)
        table.insert(0, "image", sample.id)
        atomic_write(self._file(PARTS, sample.id), f"{self.images.fingerprint(sample.id)}\n{to_csv(table)}")

    def forget(self, id_: str) -> None:
        """Remove an earlier call's results of an image that can't be read now, also from the table."""
        for kind in (*_OF_IMAGE, *LABEL_FORMATS):
            self._file(kind, id_).unlink(missing_ok=True)

    def read_labels(self, id_: str) -> Labels:
        """Read the labels of an image that is done."""
        path = self._file("labels", id_)
        return read_values(path.read_bytes(), str(path))[0].astype(np.int32)

    def join(self) -> int:
        """Write the measurements of all images in the folder as one table, and return its number of rows."""
        parts, columns, n_rows = sorted((self.folder / PARTS).glob("*.csv")), dict[str, None](), 0
        for part in parts:
            table = _read_part(part)
            columns |= dict.fromkeys(table.columns)
            n_rows += len(table.rows)
        atomic_write(self.folder / TABLE, _join(parts, list(columns)))
        return n_rows

    def write_formats(self, id_: str) -> None:
        """Convert an image's labels to the formats that are missing."""
        if wanted := [name for name in self.formats if not self._file(name, id_).is_file()]:
            labels = self.read_labels(id_)
            for name in wanted:
                write_labels(labels, self._file(name, id_), name, pixel_size=self._pixel_size(id_))

    def _file(self, kind: str, id_: str) -> Path:
        return sample_file(self.folder / kind, id_, _OF_IMAGE.get(kind) or get_format(kind).suffix)

    def _pixel_size(self, id_: str) -> tuple[float, float] | None:
        return self.images.pixel_size(id_) if self.pixel_size is None else (self.pixel_size, self.pixel_size)


def _read_part(part: Path) -> Table:
    return read_table(part.read_bytes().partition(b"\n")[2], str(part))


def _join(parts: Sequence[Path], columns: Sequence[str]) -> Iterator[str]:
    """Yield the text of one table; images with fewer channels, or without a pixel size, have empty fields."""
    yield format_rows(columns, ())
    for part in parts:
        table = _read_part(part)
        found = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
        rows = ([fields.get(name, "") for name in columns] for fields in found)
        yield format_rows(columns, rows).partition("\n")[2]
