"""Which files belong to which sample, and what is wrong with a set as a whole."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kaggle_unet.competitions.archive import Archive
from kaggle_unet.competitions.source import MaskReader
from kaggle_unet.errors import DataError
from kaggle_unet.types import Oddity


@dataclass(frozen=True)
class Listing:
    """The images of a set."""

    archive: Archive
    images: Mapping[str, str]
    skipped: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)

    @property
    def oddities(self) -> tuple[Oddity, ...]:
        """A word on each id that was left out."""
        return tuple(Oddity(key, "skipped", 1, "left out, as competition.skip says") for key in self.skipped)

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


def list_images(archive: Archive, found: Iterable[tuple[str, str]], skip: Collection[str]) -> Listing:
    """Map ids to images, and find ids that come twice."""
    found = list(found)
    images, problems = _take_first(archive, [pair for pair in found if pair[0] not in skip])
    return Listing(archive, images, tuple(sorted({key for key, _ in found} & set(skip))), problems)


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


def list_masks(listing: Listing, found: Iterable[tuple[str, str]]) -> dict[str, tuple[str]]:
    """Map ids to mask files, one each."""
    names, problems = _take_first(listing.archive, [pair for pair in found if pair[0] not in listing.skipped])
    listing.problems.extend(problems)
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
