"""Files that lie among a set's images and masks and are not read: nothing that holds data vanishes without a word.

What is an image or an annotation, by its name or its first bytes, is a fault of the sample whose name it bears. Copies
that editors leave, and texts, are named in the data report.
"""

import re

from kaggle_unet.competitions.pairing import DATA, Pairing, compose
from kaggle_unet.errors import DataError
from kaggle_unet.io.archive import Archive
from kaggle_unet.io.images import SUFFIX_PATTERN
from kaggle_unet.io.masks import MaskReader
from kaggle_unet.types import DataIssue

OUTSIDE = "image files outside the folders of images and masks"
_COPY = re.compile(r".*(?:\.(?i:bak|old|orig|tmp)|~)")
_STARTS = re.compile(
    rb"\x89PNG|\xff\xd8\xff|II[*+]\0|MM\0[*+]|GIF8|RIFF....WEBP|BM....\0\0\0\0|\0\0\0\x0cjP|\x89HDF|\x93NUMPY|PK\x03\x04|Iout|"
    rb"SIMPLE  =|....ftyp(?:avif|heic)",
    re.DOTALL,
)


def find_unread(
    pairing: Pairing,
    masks: MaskReader | None,
    scope: re.Pattern[str],
    expected: str,
    *,
    noted: str = "(?!)",
    left_alone: str = "(?!)",
) -> tuple[DataIssue, ...]:
    """Add to a set's problems the data in its folders that are not read, and return notes on other files.

    `scope` matches the names of what lies in the folders; its group `id` is the sample's, or a file's own name. Names
    that `noted` matches are no fault; those that `left_alone` matches are masks that are not wanted.
    """
    archive = pairing.archive
    read = {*pairing.images.values(), *pairing.named_files}
    where = getattr(masks, "where", None)  # of masks that lie in one file
    read.update(name for files in (masks.files.values() if masks else ()) for name in files)
    notes: list[DataIssue] = []
    for name in archive.names:
        if re.fullmatch(left_alone, name):
            continue
        found = scope.fullmatch(compose(name))
        if found is None:
            if name not in read and DATA.fullmatch(name) and re.search(SUFFIX_PATTERN + "$", name):
                notes.append(DataIssue(name, OUTSIDE, 1, "not read"))
        elif name not in read and archive.where(name) != where:
            reason = "" if re.fullmatch(noted, name) else _find_data(archive, name)
            if reason:
                pairing.refuse(found["id"], f"{archive.where(name)} {reason}; expected {expected}")
            else:
                suffix = "".join(re.findall(r"\.[^./]+$", name)) or "no suffix"
                notes.append(DataIssue(name, f"other files ({suffix.lower()})", 1, "not read"))
    return tuple(notes)


def _find_data(archive: Archive, name: str) -> str:
    """Say why a file is no mere addition to the data; empty if it is one."""
    if _COPY.fullmatch(name):
        return ""
    try:
        with archive.open(name) as file:
            start = file.read(16)
    except (DataError, OSError) as error:
        return f"cannot be read ({error})"
    if name.endswith("_seg.npy"):
        return "is a pickle of Cellpose, which is not opened; save _cp_masks.png in Cellpose"
    return "is not read" if DATA.fullmatch(name) or _STARTS.match(start) else ""
