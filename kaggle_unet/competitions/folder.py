"""Any folder or zip of images and masks: label images, or binary masks whose components are the objects."""

import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from kaggle_unet.competitions.competition import Competition, CompetitionSettings, FileSource
from kaggle_unet.competitions.mask_files import (
    ANNOTATION_PATTERN,
    PICKLE_PATTERN,
    find_masks,
    locate_masks,
    separate_masks,
    start_of,
)
from kaggle_unet.competitions.pairing import compose, find_unread, list_images, locate_set, match_names
from kaggle_unet.errors import DataError
from kaggle_unet.io.archive import open_archive
from kaggle_unet.io.images import SUFFIX_PATTERN, classify_kind
from kaggle_unet.io.tables import read_table


class Folder(Competition):
    """The user's own images: a file's name without suffix is the id, the same for image and mask; CSV as DSB2018's."""

    name = "folder"

    def read(
        self, data: str, settings: CompetitionSettings, *, with_masks: bool | None = None, skip_bad: bool = False
    ) -> FileSource:
        """Open a folder, a zip or a place in a zip that holds the config's two subfolders, or only images."""
        archive = open_archive(data)
        folders = [f"/{start_of(folder)}" for folder in (settings.images, settings.masks)]
        if with_masks is False and not any(part in f"/{compose(name)}" for name in archive.names for part in folders):
            settings = settings.model_copy(update={"images": "."})
        images, wanted = _pattern(settings.images), f"{settings.masks}/<id>.png (or .tif, …)"
        example = f"{start_of(settings.images)}<id>.png"
        archive = locate_set(archive, images, example, with_masks=with_masks)
        found, beside = separate_masks(list(match_names(images, archive)), archive, settings)
        pairing = list_images(archive, found, settings.skip, with_masks)
        pairing.named_files.extend(beside)
        masks, issues = (None, ()) if with_masks is False else find_masks(pairing, settings, beside)
        hint = "" if masks else ": set competition.masks to their folder"
        folder, _ = locate_masks(archive, settings)
        left_alone = f"{re.escape(folder)}.*" if folder else "(?!)"
        is_chosen = folder and settings.masks_are  # then masks of other kinds are left alone
        noted = f"{re.escape(folder)}.*{ANNOTATION_PATTERN}" if is_chosen else "(?!)"
        noted += f"|{PICKLE_PATTERN}" if masks or with_masks is False else ""
        notes = find_unread(
            pairing, masks, _scope(settings.images, folder), example, noted=noted, left_alone=left_alone
        )
        refused = pairing.check(masks, wanted=wanted + hint, skip_bad=skip_bad)
        issues = (*pairing.data_issues, *issues, *refused, *notes)
        return FileSource(archive, pairing.images, masks, classify_kind, data_issues=issues, channel=settings.channel)


def read_folds(path: Path, ids: Collection[str]) -> dict[str, int]:
    """Read a folds file: each sample's fold by id, without those left out."""
    try:
        table = read_table(path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"cannot read the folds file {path}: {error.strerror}; set competition.folds") from error
    rows = [(key, fold) for key, fold in table.select("id", "fold")]
    counts = Counter(key for key, _ in rows)
    problems = [f"id {key!r} occurs {n} times" for key, n in counts.items() if n > 1]
    problems += [
        f"sample {key!r} has no row; add one, with an empty fold to leave the sample out"
        for key in ids
        if compose(key) not in counts
    ]
    problems += [
        f"id {key!r}: fold {fold!r} is not a whole number from 0"
        for key, fold in rows
        if (text := fold.strip()) and not (text.isascii() and text.isdigit())
    ]
    if problems:
        raise DataError(f"{path} does not fit the data; fix it", problems)
    folds = dict(rows)
    return {key: int(fold) for key in ids if (fold := folds[compose(key)]).strip()}


def _scope(images: str, masks: str) -> re.Pattern[str]:
    """Match all files in the folders of images and masks."""
    folders = "|".join(re.escape(compose(start)) for start in (start_of(images), *filter(None, [masks])))
    return re.compile(rf"(?:{folders})(?:.*/)?(?P<id>[^/]+?)(?:\.[^/.]+)?")


def _pattern(subfolder: str) -> re.Pattern[str]:
    """Match the files directly in a subfolder (of any folder on top, the root)."""
    return re.compile(rf"(?P<root>(?:.*/)?){re.escape(start_of(subfolder))}(?P<id>[^/]+){SUFFIX_PATTERN}")
