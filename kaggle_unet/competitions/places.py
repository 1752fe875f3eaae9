"""Which folder or inner zip of an archive holds the images that are asked for.

Kaggle serves one zip that holds `stage1_train.zip` and `stage1_test.zip`, notebooks see a folder of these zips, and
people unpack them into folders, with or without a folder on top. All of these are entered by name.
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from kaggle_unet.competitions.archive import Archive
from kaggle_unet.errors import DataError

_MOST_SETS = 8  # with more of them, the pattern fits by accident: another competition's files


@dataclass(frozen=True)
class Layout:
    """How a set of images is recognised."""

    example: str
    image: re.Pattern[str]
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


def enter_set(archive: Archive, layout: Layout, *, with_masks: bool | None) -> Archive:
    """Enter the folder or the inner zip that holds the wanted set of images."""
    roots = {found["root"] for name in archive.names if (found := layout.image.fullmatch(name))}
    if "" in roots:
        return archive
    if len(roots) > _MOST_SETS:
        roots = set()
    zips = [name for name in archive.names if _is_zip_of(name, layout.train + layout.test)]
    candidates = [*sorted(roots), *zips]
    if not candidates:
        raise DataError(f"{archive.where()} has no images named like {layout.example}; {archive.listing()}")
    wanted = layout.test if with_masks is False else layout.train
    named = [name for name in candidates if PurePosixPath(name).stem in wanted]
    same = {PurePosixPath(name).stem for name in named}
    if len(candidates) > 1 and len(same) != 1:
        message = f"{archive.where()} holds several sets of images; name one with --data"
        raise DataError(message, [archive.where(name.rstrip("/")) for name in candidates])
    chosen = named[0] if named else candidates[0]  # an unpacked folder comes before its zip
    return archive.within(chosen) if chosen in roots else enter_set(archive.find(chosen), layout, with_masks=with_masks)


def _is_zip_of(name: str, stems: tuple[str, ...]) -> bool:
    path = PurePosixPath(name)
    return path.suffix == ".zip" and path.stem in stems
