"""Pairing: the folder or inner zip that holds a set of images, and the files of each sample.

Kaggle serves one zip that holds `stage1_train.zip` and `stage1_test.zip`, notebooks see a folder of these zips, and
people unpack them into folders, with or without a top folder. In all of these, sets are found by name.

No data are ignored silently: an unread file among images and masks is a fault of the sample whose name it bears, if it
is an image or an annotation by its name or first bytes; other files are noted.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from kaggle_unet.competitions.competition import Competition
from kaggle_unet.errors import DataError
from kaggle_unet.io.archive import Archive
from kaggle_unet.io.images import SUFFIX_PATTERN
from kaggle_unet.io.masks import MaskReader, RleMasks
from kaggle_unet.io.tables import read_table_beside
from kaggle_unet.store import sample_file
from kaggle_unet.types import DataIssue, Shape

# Files that hold images or annotations, whether read here or not.
DATA = re.compile(
    rf".*(?:{SUFFIX_PATTERN}|\.(?i:jp2|j2k|jpx|jxl|jfif|heic|heif|avif|psd|exr|dng|pbm|pgm|ppm|pnm|tga|svs|ndpi|czi|nd2|lif|lsm|"
    r"oib|oif|vsi|dcm|nii|nrrd|mha|mhd|mrc|h5|hdf5|zarr|npy|npz|mat|json|geojson|roi|zip|gz|7z|rar|tar))"
)
OUTSIDE = "image files outside the folders of images and masks"
LEFT_OUT = "its sample left out (--skip-bad)"  # what is done about a fault
_COPY = re.compile(r".*(?:\.(?i:bak|old|orig|tmp)|~)")
_STARTS = re.compile(
    rb"\x89PNG|\xff\xd8\xff|II[*+]\0|MM\0[*+]|GIF8|RIFF....WEBP|BM....\0\0\0\0|\0\0\0\x0cjP|\x89HDF|\x93NUMPY|PK\x03\x04|Iout|"
    rb"SIMPLE  =|....ftyp(?:avif|heic)",
    re.DOTALL,
)
_MOST_SETS = 8  # with more of them, the pattern fits by accident: another competition's files


def locate_set(
    archive: Archive,
    image: re.Pattern[str],
    example: str,
    *,
    train: Collection[str] = (),
    test: Collection[str] = (),
    with_masks: bool | None,
) -> Archive:
    """Enter the folder or the inner zip that holds the wanted set of images.

    A set is recognised by the names of its files, which match `image`, or of the zips that hold it.
    """
    matches = ((name, found) for name in archive.names if (found := image.fullmatch(compose(name))))
    roots = {"".join(f"{part}/" for part in name.split("/")[: found["root"].count("/")]) for name, found in matches}
    if "" in roots:
        return archive
    if len(roots) > _MOST_SETS:
        roots = set()
    zips = [f"{stem}.zip" for stem in (*train, *test)]
    zips = [name for name in archive.names if PurePosixPath(name).name in zips]
    candidates = [*sorted(roots), *zips]
    if not candidates:
        message = f"{archive.where()} has no images named like {example}; {archive.describe()}"
        listed = (name for name in archive.names if DATA.fullmatch(name) or "." not in PurePosixPath(name).name)
        raise DataError(message, [archive.where(name) for name in listed])
    wanted = test if with_masks is False else train
    named = [name for name in candidates if PurePosixPath(name).stem in wanted]
    same = {PurePosixPath(name).stem for name in named}
    if len(candidates) > 1 and len(same) != 1:
        message = f"{archive.where()} contains several sets of images; choose one with --data"
        raise DataError(message, [archive.where(name.rstrip("/")) for name in candidates])
    chosen = named[0] if named else candidates[0]  # an unpacked folder comes before its zip
    if chosen in roots:
        return archive.within(chosen)
    return locate_set(archive.find(chosen), image, example, train=train, test=test, with_masks=with_masks)


@dataclass(frozen=True)
class Pairing:
    """The images of a set by id, the ids left out, and what is wrong with the set."""

    archive: Archive
    images: dict[str, str]
    with_masks: bool | None = None  # as in `Competition.read`
    data_issues: tuple[DataIssue, ...] = ()
    problems: list[tuple[str, str]] = field(default_factory=list)  # a sample's id, and what is wrong with it
    named_files: list[str] = field(default_factory=list)  # those skipped or already refused

    def refuse(self, sample_id: str, problem: str) -> None:
        """Record a problem of a sample."""
        owners = {plain_name(key): key for key in self.images}
        self.problems.append((owners.get(plain_name(sample_id), sample_id), problem))

    def check(self, masks: MaskReader | None, *, wanted: str, skip_bad: bool = False) -> tuple[DataIssue, ...]:
        """Raise one error for all that is wrong, or leave out its samples; `wanted` says what masks look like."""
        if self.with_masks and masks is None:
            message = f"{self.archive.where()} has no masks; expected {wanted}"
            raise DataError(message, [problem for _, problem in self.problems])
        if masks is not None:
            files, skipped = masks.files, {issue.sample for issue in self.data_issues}
            for key in sorted(self.images.keys() - files.keys()):
                self.refuse(key, f"{self.archive.where(self.images[key])} has no masks; expected {wanted}")
            for key in sorted(files.keys() - self.images.keys() - skipped):
                for name in files[key][:1]:
                    self.refuse(key, f"{self.archive.where(name)} has no image")
        if self.problems and not skip_bad:
            n = "a fault" if len(self.problems) == 1 else f"{len(self.problems)} faults"
            hint = "fix the files, or leave training ids out with --skip-bad, or competition.skip in the config"
            raise DataError(f"{self.archive.where()} has {n}; {hint}", [problem for _, problem in self.problems])
        for key, _ in self.problems:
            self.images.pop(key, None)
        if not self.images:
            raise DataError(f"{self.archive.where()} has no images, or all of them are skipped")
        return tuple(DataIssue(key, problem, 1, LEFT_OUT) for key, problem in self.problems)


def compose(name: str) -> str:
    """Return a name with letters and accents composed (Unicode's NFC), the form in which names are compared."""
    return unicodedata.normalize("NFC", name)


def plain_name(stem: str) -> str:
    """Return a name as it is compared: composed, in lower case, without ``.ome``.

    >>> plain_name("A.ome")
    'a'
    """
    return compose(stem).casefold().removesuffix(".ome")


def list_images(
    archive: Archive, found: Iterable[tuple[str, str]], skip: Collection[str], with_masks: bool | None = None
) -> Pairing:
    """Map ids to files, and find duplicate ids and those to skip, which are kept if masks are left alone."""
    names: dict[str, str] = {}
    first_by_id: dict[str, str] = {}
    problems, named, skipped = [], [], set()
    unwanted = set(map(compose, skip)) if with_masks is not False else set()
    for sample_id, name in found:
        if sample_id in unwanted:
            skipped.add(sample_id)
            named.append(name)
        elif (first := first_by_id.setdefault(sample_id.casefold(), name)) == name:
            names[sample_id] = name
            try:
                sample_file(Path(), sample_id)
            except DataError as error:
                problems.append((sample_id, f"{archive.where(name)}: {error}"))
        else:
            text = f"id {sample_id!r} occurs twice: {archive.where(first)} and {archive.where(name)}"
            problems += [(key, text) for key in names if key.casefold() == sample_id.casefold()]
            named.append(name)
    issues = [DataIssue(key, "skipped", 1, "left out, as competition.skip says") for key in sorted(skipped)]
    issues += [DataIssue(key, "in competition.skip", 1, "no image has this id") for key in sorted(unwanted - skipped)]
    return Pairing(archive, names, with_masks, tuple(issues), problems, named)


def list_masks(pairing: Pairing, found: Iterable[tuple[str, str]]) -> dict[str, tuple[str]]:
    """Map ids to mask files, one each."""
    masks = list_images(pairing.archive, found, {issue.sample for issue in pairing.data_issues})
    pairing.problems.extend(masks.problems)
    pairing.named_files.extend(masks.named_files)
    return {key: (name,) for key, name in masks.images.items()}


def match_names(pattern: re.Pattern[str], archive: Archive) -> Iterator[tuple[str, str]]:
    """Yield composed ids and names of the files whose whole names match, without a folder on top."""
    for name in archive.names:
        found = pattern.fullmatch(compose(name))
        if found and not found.groupdict().get("root"):
            yield found["id"], name


def find_rle_masks(pairing: Pairing, file_name: str, competition: Competition) -> RleMasks | None:
    """Look for a CSV with the masks of a set of images, in the archive or beside it."""
    table = read_table_beside(pairing.archive, file_name)
    if table is None:
        return None
    found = collect_rles(table.select(competition.id_column, competition.rle_column))
    rles = {key: rles for key, rles in found.items() if key in pairing.images}
    return RleMasks(rles, table.where, competition.single_object) if rles else None


class RleRow(NamedTuple):
    """A row of a CSV of masks, and the size of its image, (0, 0) if unknown."""

    line: int
    sample_id: str
    rle: str
    shape: Shape


def parse_shape(height: str, width: str) -> Shape | None:
    """Read a size from text, or return None; pandas writes 40.0 in a column with gaps."""
    found = re.fullmatch(r"([1-9]\d{0,5})(?:\.0*)? ([1-9]\d{0,5})(?:\.0*)?", f"{height} {width}", re.ASCII)
    return (int(found[1]), int(found[2])) if found else None


def collect_rles(rows: Iterable[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Collect the run-length codes of each id from rows of (id, code), none for an id whose fields are blank."""
    rles: dict[str, list[str]] = {}
    for sample_id, rle in rows:
        of_sample = rles.setdefault(sample_id, [])
        if rle and not rle.isspace():
            of_sample.append(rle)
    return {sample_id: tuple(of_sample) for sample_id, of_sample in rles.items()}


def find_unread(
    pairing: Pairing,
    masks: MaskReader | None,
    scope: re.Pattern[str],
    expected: str,
    *,
    noted: str = "(?!)",
    left_alone: str = "(?!)",
) -> tuple[DataIssue, ...]:
    """Add the unread data in a set's folders to its problems, and return notes on other files.

    `scope` matches the names of files in the folders; its group `id` is the sample's id, or a file's own name. Names
    that match `noted` are no fault; those that match `left_alone` are masks, passed over if masks are left alone.
    """
    archive = pairing.archive
    read = {*pairing.images.values(), *pairing.named_files}
    where = getattr(masks, "where", None)  # of masks that lie in one file
    read.update(name for files in (masks.files.values() if masks else ()) for name in files)
    notes: list[DataIssue] = []
    for name in archive.names:
        if pairing.with_masks is False and re.fullmatch(left_alone, name):
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
    """Return what is wrong with an unread file, or an empty string if it is a copy or holds no data."""
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
