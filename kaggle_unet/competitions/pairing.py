"""Which files belong to which sample, and what is wrong with a set as a whole.

Which folder or inner zip of an archive holds the images that are asked for.

Kaggle serves one zip that holds `stage1_train.zip` and `stage1_test.zip`, notebooks see a folder of these zips, and
people unpack them into folders, with or without a folder on top. All of these are entered by name.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from kaggle_unet.competitions.competition import MaskReader
from kaggle_unet.errors import DataError
from kaggle_unet.io.archive import Archive
from kaggle_unet.types import DataIssue

_MOST_SETS = 8  # with more of them, the pattern fits by accident: another competition's files


@dataclass(frozen=True)
class Layout:
    """How a set of images is recognised."""

    example: str
    image: re.Pattern[str]
    train: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


def locate_set(archive: Archive, layout: Layout, *, with_masks: bool | None) -> Archive:
    """Enter the folder or the inner zip that holds the wanted set of images."""
    roots = {found["root"] for name in archive.names if (found := layout.image.fullmatch(name))}
    if "" in roots:
        return archive
    if len(roots) > _MOST_SETS:
        roots = set()
    zips = [name for name in archive.names if _is_zip_of(name, layout.train + layout.test)]
    candidates = [*sorted(roots), *zips]
    if not candidates:
        raise DataError(f"{archive.where()} has no images named like {layout.example}; {archive.pairing()}")
    wanted = layout.test if with_masks is False else layout.train
    named = [name for name in candidates if PurePosixPath(name).stem in wanted]
    same = {PurePosixPath(name).stem for name in named}
    if len(candidates) > 1 and len(same) != 1:
        message = f"{archive.where()} holds several sets of images; name one with --data"
        raise DataError(message, [archive.where(name.rstrip("/")) for name in candidates])
    chosen = named[0] if named else candidates[0]  # an unpacked folder comes before its zip
    return (
        archive.within(chosen) if chosen in roots else locate_set(archive.find(chosen), layout, with_masks=with_masks)
    )


def _is_zip_of(name: str, stems: tuple[str, ...]) -> bool:
    path = PurePosixPath(name)
    return path.suffix == ".zip" and path.stem in stems


@dataclass(frozen=True)
class Pairing:
    """The images of a set."""

    archive: Archive
    images: Mapping[str, str]
    skipped: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)

    @property
    def data_issues(self) -> tuple[DataIssue, ...]:
        """A word on each id that was left out."""
        return tuple(DataIssue(key, "skipped", 1, "left out, as competition.skip says") for key in self.skipped)

    def check(self, masks: MaskReader | None, *, remedy: str) -> None:
        """Raise for everything that is wrong, at once."""
        unpaired: list[str] = []
        if masks is not None:
            bare = sorted(self.images.keys() - set(masks.ids))
            unpaired += [f"{self.archive.where(self.images[key])} has no masks; wanted {remedy}" for key in bare]
            orphans = sorted(set(masks.ids) - self.images.keys() - set(self.skipped))
            unpaired += [f"{self.archive.where(name)} has no image" for key in orphans for name in masks.files(key)[:1]]
        if problems := [*self.problems, *unpaired]:
            n = "a fault" if len(problems) == 1 else f"{len(problems)} faults"
            hint = "mend the files, or leave training ids out with competition.skip in the config"
            raise DataError(f"{self.archive.where()} has {n}; {hint}", problems)
        if not self.images:
            raise DataError(f"{self.archive.where()} has no images, or all of them are skipped")


def list_images(archive: Archive, found: Iterable[tuple[str, str]], skip: Collection[str]) -> Pairing:
    """Map ids to images, and find ids that come twice."""
    found = list(found)
    images, problems = _take_first(archive, [pair for pair in found if pair[0] not in skip])
    return Pairing(archive, images, tuple(sorted({key for key, _ in found} & set(skip))), problems)


def _take_first(archive: Archive, found: Iterable[tuple[str, str]]) -> tuple[dict[str, str], list[str]]:
    names: dict[str, str] = {}
    first_by_id: dict[str, str] = {}
    problems = []
    for sample_id, name in found:
        first = first_by_id.setdefault(sample_id.casefold(), name)
        if first == name:
            names[sample_id] = name
        else:
            problems.append(f"id {sample_id!r} comes twice: {archive.where(first)} and {archive.where(name)}")
    return names, problems


def list_masks(pairing: Pairing, found: Iterable[tuple[str, str]]) -> dict[str, tuple[str]]:
    """Map ids to mask files, one each."""
    names, problems = _take_first(pairing.archive, [pair for pair in found if pair[0] not in pairing.skipped])
    pairing.problems.extend(problems)
    return {key: (name,) for key, name in names.items()}


def group_by_id(found: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Collect all files of each id."""
    names: dict[str, list[str]] = {}
    for sample_id, name in found:
        names.setdefault(sample_id, []).append(name)
    return {key: tuple(sorted(group)) for key, group in names.items()}


def match_names(pattern: re.Pattern[str], archive: Archive) -> Iterator[tuple[str, str]]:
    """Find the files of an archive whose whole names match, on top of it."""
    for name in archive.names:
        found = pattern.fullmatch(name)
        if found and not found.groupdict().get("root"):
            yield found["id"], name
