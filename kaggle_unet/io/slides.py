"""Slides: images read by blocks, OME-Zarr and TIFFs in tiles (extra: slides); and arrays written as OME-Zarr.

OME-Zarr is a folder whose metadata name the axes; its first array has the full resolution. Version 0.4 is written,
which QuPath, napari and Fiji read.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from kaggle_unet.errors import DataError, import_extra, reading
from kaggle_unet.io.archive import find_excess
from kaggle_unet.io.images import drop_alpha
from kaggle_unet.io.tiff import ORIENTATION, UNITS_UM, find_channel, find_plane, read_pixel_size, refuse_colours
from kaggle_unet.types import Image, Shape, Sliced

_SUFFIXES = {".tif", ".tiff", ".btf"}
CHUNK_PX = 512


@dataclass(frozen=True)
class Slide:
    """An image that stays on disk."""

    path: Path
    pixels: Sliced
    axes: str  # of the pixels, such as "cyx"
    pixel_size: tuple[float, float] | None  # height and width in micrometres
    has_alpha: bool = False
    is_inverted: bool = False
    channel: int | None = None  # the only one to read; None reads all

    @property
    def name(self) -> str:
        """The file's name without the suffixes of its format."""
        return self.path.name.partition(".ome.")[0].removesuffix(self.path.suffix)

    @property
    def shape(self) -> Shape:
        """Height and width."""
        return tuple(self.pixels.shape[self.axes.index(axis)] for axis in "yx")

    def read(self, rows: slice, columns: slice) -> Image:
        """Read a box, (H, W) or (H, W, C)."""
        channels = slice(None) if self.channel is None else slice(self.channel, self.channel + 1)
        box = {"y": rows, "x": columns, "c": channels, "s": channels}
        with reading(self.path, "get it again"):
            found = np.asarray(self.pixels[tuple(box.get(axis, 0) for axis in self.axes)])
        kept = [axis for axis in self.axes if axis in box]
        image = np.moveaxis(~found if self.is_inverted else found, [kept.index(axis) for axis in "yx"], [0, 1])
        image = drop_alpha(image)[0] if self.has_alpha else image
        return np.ascontiguousarray(image[..., 0] if image.shape[2:] == (1,) else image)

    def stamp(self) -> list[Any]:
        """Return what tells this slide from another of the same name."""
        about = [path for names in (".z*", "zarr.json") for path in sorted(self.path.glob(f"**/{names}"))]
        files = [self.path] if self.path.is_file() else about
        return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def is_slide(place: str) -> bool:
    """Return True for a folder of OME-Zarr, and for a tiled TIFF with more pixels than are read at once."""
    path = Path(place)
    if path.is_dir():
        return path.suffix == ".zarr"
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        return False
    try:
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages.first
            return page.is_tiled and bool(find_excess("IMAGE_PIXELS", page.imagewidth * page.imagelength))
    except Exception:  # noqa: BLE001  reading it later says what is wrong
        return False


@contextmanager
def open_slide(path: Path, channel: int | str | None = None) -> Iterator[Slide]:
    """Open a slide, or one channel of it; a DataError says why it is not a single image."""
    zarr = import_extra("zarr", "slides")
    with ExitStack() as opened:
        with reading(path, "get it again"):
            slide = _open_zarr(zarr, path) if path.is_dir() else _open_tiff(zarr, path, opened)
        sizes = dict(zip(slide.axes, slide.pixels.shape, strict=True))
        if not {"y", "x"} <= sizes.keys() or any(n > 1 for axis, n in sizes.items() if axis not in "yxcs"):
            raise DataError(f"{path} has the axes {sizes}; expected a plane, y and x with or without c: save it apart")
        if slide.pixels.dtype not in (np.uint8, np.uint16, np.float32):
            raise DataError(f"{path} holds {slide.pixels.dtype}; expected uint8, uint16 or float32: convert it")
        if channel is not None:
            n = sizes.get("c", 1) * sizes.get("s", 1) - slide.has_alpha
            with io.BytesIO() if path.is_dir() else path.open("rb") as file:
                slide = replace(slide, channel=find_channel(file, channel, n, str(path)))
        yield slide


def _open_zarr(zarr: Any, path: Path) -> Slide:
    group = zarr.open_group(path, mode="r")
    about = dict(group.attrs)
    first = about.get("ome", about)["multiscales"][0]
    dataset = first["datasets"][0]
    axes = "".join(axis["name"] for axis in first["axes"])
    (scale,) = (one["scale"] for one in dataset["coordinateTransformations"] if one["type"] == "scale")
    sizes = [
        step * UNITS_UM[axis["unit"]]
        for axis, step in zip(first["axes"], scale, strict=True)
        if axis["name"] in "yx" and axis.get("unit") in UNITS_UM
    ]
    return Slide(path, group[dataset["path"]], axes, (sizes[0], sizes[1]) if len(sizes) == 2 else None)


def _open_tiff(zarr: Any, path: Path, opened: ExitStack) -> Slide:
    series, _ = find_plane(opened.enter_context(tifffile.TiffFile(path)), str(path))
    refuse_colours(series, str(path))
    page: Any = series.keyframe
    if (orientation := page.tags.valueof(ORIENTATION, 1)) in range(2, 9):
        raise DataError(f"{path} has the orientation tag {orientation}, and slides are not turned; save it upright")
    has_alpha = tuple(page.extrasamples) in {(1,), (2,)}  # associated or not
    is_inverted = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and series.dtype.kind == "u"
    with path.open("rb") as file:
        pixel_size = read_pixel_size(file)
    pixels = zarr.open_array(series.aszarr(level=0), mode="r")
    return Slide(path, pixels, series.axes.lower(), pixel_size, has_alpha, is_inverted)


def create_ome_zarr(
    path: Path, shape: Sequence[int], dtype: str, pixel_size: tuple[float, float] | None, *, n_levels: int = 1
) -> list[Sliced]:
    """Create an OME-Zarr image, or open an existing one; return its levels, each with half the last one's sides."""
    zarr = import_extra("zarr", "slides")
    lengths = [
        tuple(-(-n // 2**level) if k >= len(shape) - 2 else n for k, n in enumerate(shape)) for level in range(n_levels)
    ]
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}] if len(shape) == 3 else []
    unit = {"unit": "micrometer"} if pixel_size else {}
    axes += [{"name": name, "type": "space", **unit} for name in "yx"]
    sides = [[side * 2**level for side in pixel_size or (1.0, 1.0)] for level in range(n_levels)]
    scales = [{"type": "scale", "scale": [1.0] * (len(shape) - 2) + both} for both in sides]
    datasets = [{"path": str(k), "coordinateTransformations": [scale]} for k, scale in enumerate(scales)]
    group = zarr.open_group(path, mode="a", zarr_format=2)
    group.attrs["multiscales"] = [{"version": "0.4", "name": path.stem, "axes": axes, "datasets": datasets}]
    how = {"chunks": (*shape[:-2], CHUNK_PX, CHUNK_PX), "chunk_key_encoding": {"name": "v2", "separator": "/"}}
    return [group.require_array(str(k), shape=one, dtype=dtype, **how) for k, one in enumerate(lengths)]
