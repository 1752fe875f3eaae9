"""Images given as files, globs, folders and zips, the user's own or laid out like a competition's."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from kaggle_unet.competitions.competition import CompetitionSettings, FileSource
from kaggle_unet.competitions.pairing import compose, list_images
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.io.archive import FolderArchive, expand_glob, open_archive
from kaggle_unet.io.images import SUFFIX_PATTERN, classify_kind
from kaggle_unet.io.tiff import read_pixel_size
from kaggle_unet.types import Sample, Shape


@dataclass(frozen=True)
class ImageFiles:
    """Images by id, each with the source that it is read from, and counts of other files among them, by kind."""

    sources: Mapping[str, FileSource]
    others: Mapping[str, int]

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of all images, sorted."""
        return tuple(sorted(self.sources))

    def refuse_folder(self, folder: Path) -> None:
        """Refuse a folder for results where images are looked for, as the next call would find the results there."""
        searched = set[Path]()  # folders, but not those of files that are named one by one
        for id_, source in self.sources.items():
            if isinstance(source.archive, FolderArchive) and source.archive.depth is None:
                searched.add(Path(source.archive.where(source.images[id_])).parent)
        if {place.resolve() for place in searched} & {folder.resolve(), *folder.resolve().parents}:
            raise ConfigError(f"-o {folder} lies among the images and would be taken for data; give another -o")

    @property
    def numbers(self) -> Mapping[str, Mapping[str, float]]:
        """What else is known about the images, by id."""
        return {id_: source.numbers.get(id_, {}) for id_, source in self.sources.items()}

    def load(self, sample_id: str) -> Sample:
        """Read one image."""
        return self.sources[sample_id].load(sample_id)

    def shape(self, sample_id: str) -> Shape:
        """Read one image's height and width from its header."""
        return self.sources[sample_id].shape(sample_id)

    def fingerprint(self, sample_id: str) -> str:
        """Hash one image's file."""
        source = self.sources[sample_id]
        return source.archive.fingerprint([source.images[sample_id]])

    def pixel_size(self, sample_id: str) -> tuple[float, float] | None:
        """Read a pixel's height and width in micrometres, if the file has them."""
        source = self.sources[sample_id]
        with source.archive.open(source.images[sample_id]) as file:
            return read_pixel_size(file)


def find_images(places: Sequence[str], settings: CompetitionSettings, *, skip_bad: bool = False) -> ImageFiles:
    """Find the images that files, globs, folders and zips stand for; a DataError names ids shared by several files."""
    sources: dict[str, FileSource] = {}
    twice, others = [], Counter[str]()
    for source in _open_places(places, settings, skip_bad):
        others.update(f"{issue.kind}: {issue.action}" for issue in source.data_issues)
        for id_ in source.images:
            if (first := sources.setdefault(id_, source)) is not source:
                found = [one.archive.where(one.images[id_]) for one in (first, source)]
                if len({Path(path).resolve() for path in found}) > 1:  # otherwise one file is named twice
                    twice.append(f"{id_}: {' and '.join(found)}")
    if twice:
        raise DataError("images of the same name would overwrite each other's results; segment them apart", twice)
    return ImageFiles(sources, others)


def _open_places(places: Sequence[str], settings: CompetitionSettings, skip_bad: bool) -> Iterator[FileSource]:
    """Yield a source for each folder and zip, and one for all files named individually in a folder."""
    named: dict[Path, list[str]] = {}
    for place in places:
        for path in expand_glob(place):
            if path.is_file() and path.suffix.lower() != ".zip":
                if path.name not in (names := named.setdefault(path.parent, [])):
                    names.append(path.name)
            else:
                yield _open_place(str(path), settings, skip_bad)
    for folder, names in named.items():
        found_ids = ((compose(PurePosixPath(name).stem), name) for name in names)
        pairing = list_images(FolderArchive(folder, depth=0), found_ids, ())
        pairing.check(None, wanted="", skip_bad=skip_bad)
        yield FileSource(pairing.archive, pairing.images, None, classify_kind, channel=settings.channel)


def _open_place(place: str, settings: CompetitionSettings, skip_bad: bool) -> FileSource:
    """Read a folder or zip of images only, or one that is laid out like the competition's data."""
    names = open_archive(place).names
    folders = {PurePosixPath(name).parent for name in names if re.fullmatch(f".*{SUFFIX_PATTERN}", name)}
    is_flat = len(folders) == 1 and folders.copy().pop().name != settings.images
    if is_flat or PurePosixPath() in folders:
        settings = settings.model_copy(update={"name": "folder", "images": "."})
    return get_competition(settings.name).read(place, settings, with_masks=False, skip_bad=skip_bad)
