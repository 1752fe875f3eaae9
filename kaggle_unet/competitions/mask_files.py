"""Which files are the masks of which images, and what kind they are if the config does not say.

A mask is named like its image, except for a word at its end (``a_mask.png``) and ``.ome``. Several files for an image,
``a_1.png``, ``a_2.png`` or ``a/1.png``, hold one object each.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import PurePosixPath
from typing import Any, TypeVar

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.pairing import Pairing, collect_rles, parse_shape, plain_name
from kaggle_unet.errors import DataError
from kaggle_unet.io.annotation_formats import find_rle_columns, infer_rle_layout, is_coco, parse_json, read_coco
from kaggle_unet.io.archive import Archive
from kaggle_unet.io.images import SUFFIX_PATTERN, decode_image
from kaggle_unet.io.label_images import N_LOOKED_AT, guess_kind
from kaggle_unet.io.masks import (
    CocoMasks,
    File,
    FileMasks,
    MaskReader,
    Masks,
    RleMasks,
    merge_object_masks,
    take_binary_mask,
    take_class_image,
    take_geojson,
    take_label_image,
    take_rois,
)
from kaggle_unet.io.tables import read_table
from kaggle_unet.types import DataIssue, Image

T = TypeVar("T")

_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "rois", "ground_truth", "gt")
_MASK_WORD = r"[_\-. ](?i:(?:cp_)?masks?|labels?|seg|segmentation|gt|instances?|rois?|roiset|annotations?)$"
_IMAGE_WORD = r"[_\-. ](?i:images?|img|raw)$"
_FAMILIES = {"images": SUFFIX_PATTERN, "json": r"\.(?i:json|geojson)", "rle": r"\.(?i:csv)", "rois": r"\.(?i:zip|roi)"}
PICKLE_PATTERN = r".*_seg\.npy"  # from Cellpose
ANNOTATION_PATTERN = f"(?:{'|'.join(_FAMILIES.values())})"


def separate_masks(
    found: Sequence[tuple[str, str]], archive: Archive, settings: CompetitionSettings
) -> tuple[list[tuple[str, str]], list[str]]:
    """Separate images from masks among them, such as ``a_mask.png``, unless masks have a folder of their own."""
    if settings.masks != settings.images and locate_masks(archive, settings)[1]:
        return list(found), []
    stems = {plain_name(stem) for stem, _ in found}
    masks = {name for stem, name in found if (key := plain_name(stem)) != (rest := bare_name(key)) and rest in stems}
    return [(stem, name) for stem, name in found if name not in masks], sorted(masks)


def bare_name(stem: str) -> str:
    """Return a name as it is compared, without the word at its end that marks a mask."""
    return plain_name(re.sub(_MASK_WORD, "", stem))


def find_masks(
    pairing: Pairing, settings: CompetitionSettings, beside: Sequence[str] = (), *, named_by_masks: bool = False
) -> tuple[MaskReader | None, tuple[DataIssue, ...]]:
    """Find the masks of images, or with `named_by_masks` any masks; the issue says what kind they are, and why.

    `beside` are masks that lie among the images.
    """
    archive = pairing.archive
    ids = None if named_by_masks else {*pairing.images, *(issue.sample for issue in pairing.data_issues)}
    start, names = (beside[0].rpartition("/")[0], list(beside)) if beside else locate_masks(archive, settings)
    family = _find_family(archive, names, settings)
    names = [name for name in names if family and re.search(_FAMILIES[family] + "$", name)]
    if not names:
        return None, ()
    if family == "rle":
        return read_rle_masks(pairing, names, ids)
    trees = _parse(archive, names[:2]) if family == "json" else {}
    if settings.masks_are == "coco" or any(map(is_coco, trees.values())):
        return read_coco_masks(pairing, trees | _parse(archive, names[2:]), ids)
    files = match_files(pairing, names, start, ids)
    kind = {"json": "geojson", "rois": "rois"}.get(family, settings.masks_are or "")
    reason = "by the files' names"
    if family == "images":
        empty = {name.removeprefix(start).rstrip("/") for name in archive.entries if name.endswith("/")}
        files |= {sample_id: () for sample_id in pairing.images.keys() & empty - files.keys()}  # without objects
        kind, reason = (kind, "as competition.masks_are says") if kind else guess_kind(archive, files)
    return FileMasks(files, _readers(settings)[kind]), (DataIssue("", f"masks read as {kind}", len(names), reason),)


def _parse(archive: Archive, names: Sequence[str]) -> dict[str, Any]:
    return {name: parse_json(archive.read(name), archive.where(name)) for name in names}


def _readers(settings: CompetitionSettings) -> dict[str, Callable[[Iterable[File], Image | None], Masks]]:
    is_guessed, ignore = settings.masks_are is None, settings.ignore
    return {
        "labels": partial(take_label_image, ignore=ignore, cut_binary=is_guessed),
        "colours": partial(take_label_image, ignore=ignore, cut_binary=is_guessed),
        "classes": partial(take_class_image, ignore=ignore, table=settings.classes),
        "binary": partial(take_binary_mask, foreground=settings.foreground, ignore=ignore, is_guessed=is_guessed),
        "files": merge_object_masks,
        "geojson": take_geojson,
        "rois": take_rois,
    }


def start_of(folder: str) -> str:
    """Return the prefix of the names of a folder's files."""
    return "" if PurePosixPath(folder) == PurePosixPath(".") else f"{folder.strip('/')}/"


def locate_masks(archive: Archive, settings: CompetitionSettings) -> tuple[str, list[str]]:
    """Find the masks' folder or file, or another with a usual name if the default does not exist."""
    given = settings.masks.strip("/")
    if given in archive.names:
        return "", [given]
    is_default = given == "masks"
    for folder in dict.fromkeys([given, *(_FOLDERS if is_default else ())]):
        start = start_of(folder)
        if names := [name for name in archive.names if name.startswith(start)]:
            return start, names
    return "", [name for name in archive.names if re.fullmatch(r"[^/]+\.(?:json|geojson|csv)", name) and is_default]


def _find_family(archive: Archive, names: Sequence[str], settings: CompetitionSettings) -> str:
    """Return what files are by suffix: images, JSON, a table or selections; what cannot be read is an error."""
    found = [family for family, suffix in _FAMILIES.items() if any(re.search(suffix + "$", name) for name in names)]
    pickles = [archive.where(name) for name in names if re.search(PICKLE_PATTERN, name)]
    if pickles and not found:
        message = f"{archive.where()} holds pickles of Cellpose, which are not opened; save _cp_masks.png in Cellpose"
        raise DataError(message, pickles)
    if kind := settings.masks_are:
        return {"coco": "json", "geojson": "json", "rois": "rois", "rle": "rle"}.get(kind, "images")
    if len(found) > 1:
        message = f"{archive.where(settings.masks)} holds masks of several kinds ({', '.join(found)}); name one's"
        raise DataError(f"{message} folder or file with competition.masks, or its kind with competition.masks_are")
    return "".join(found)


def match_files(
    pairing: Pairing, names: Sequence[str], start: str, ids: Collection[str] | None
) -> dict[str, tuple[str, ...]]:
    """Assign files to the images whose names they bear; those that fit none are kept under names of their own."""
    known = sorted(ids or ())
    owners = {re.sub(_IMAGE_WORD, "", plain_name(id_)): id_ for id_ in known} | {plain_name(id_): id_ for id_ in known}
    found: dict[str, tuple[str, ...]] = {}
    whole: dict[str, str] = {}  # images with a file that bears their whole name
    where = pairing.archive.where
    nested = [where(name) for name in names if "/" in name.removeprefix(start)]
    if ids is None and 0 < len(nested) < len(names):
        raise DataError(f"{where(start)} holds both files and folders of masks; move these away", nested)
    for name in names:
        folder, _, file = name.removeprefix(start).strip("/").rpartition("/")
        stem = re.sub(rf"(?:{'|'.join(_FAMILIES.values())})$", "", file)
        owner, is_whole = _find_owner(folder, stem, owners)
        if ids is None:
            owner, is_whole = folder.split("/")[0] or re.sub(_MASK_WORD, "", stem.removesuffix(".ome")), not folder
        if is_whole and (first := whole.setdefault(owner, name)) != name:
            pairing.refuse(owner, f"id {owner!r} occurs twice: {where(first)} and {where(name)}")
            pairing.named_files.append(name)
        else:
            found[owner] = (*found.get(owner, ()), name)
    for owner, name in whole.items() if ids is not None else ():  # 1_1.png: the mask of 1_1, or the first object of 1?
        other = _find_part_owner(plain_name(owner), owners) or owner
        if other != owner and len(found[owner]) + len(found.get(other, ())) > 1 + (other in whole):
            pairing.refuse(owner, f"{where(name)} fits two images, {other!r} and {owner!r}; rename one of them")
    skipped = {issue.sample for issue in pairing.data_issues}
    pairing.named_files.extend(name for owner in skipped for name in found.get(owner, ()))
    return {owner: files for owner, files in found.items() if owner not in skipped}


def _find_owner(folder: str, stem: str, owners: Mapping[str, str]) -> tuple[str, bool]:
    if folder:
        return owners.get(plain_name(folder.split("/", maxsplit=1)[0]), f"{folder}/{stem}"), False
    name = plain_name(stem)
    for key in (name, bare_name(name)):
        if key in owners:
            return owners[key], True
    return _find_part_owner(name, owners) or stem, False


def _find_part_owner(name: str, owners: Mapping[str, str]) -> str | None:
    """Return the image with the longest name that a longer name begins with."""
    ends = [match.start() for match in re.finditer(r"[_\-. ]", name)]
    return next((owners[name[:end]] for end in reversed(ends) if name[:end] in owners), None)


def read_coco_masks(
    pairing: Pairing, trees: Mapping[str, Any], ids: Collection[str] | None
) -> tuple[MaskReader, tuple[DataIssue, ...]]:
    """Read the one COCO data set among some files."""
    archive = pairing.archive
    sets = [name for name, tree in trees.items() if is_coco(tree)]
    if len(sets) != 1:
        message = f"{archive.where()} holds {len(sets)} COCO data sets, expected one; name it with competition.masks"
        raise DataError(message, [archive.where(name) for name in sets])
    where = archive.where(sets[0])
    found = [(PurePosixPath(name.replace("\\", "/")).stem, image) for name, image in read_coco(trees[sets[0]], where)]
    images, issues = _keep_known(pairing, found, ids, where)
    n = sum(len(image.annotations) for image in images.values())
    return CocoMasks(images, where, hashlib.sha256(archive.read(sets[0])).hexdigest()), (
        DataIssue("", "masks read as coco", n, f"annotations in {sets[0]}"), *issues,
    )  # fmt: skip


def _keep_known(
    pairing: Pairing, found: Sequence[tuple[str, T]], ids: Collection[str] | None, where: str
) -> tuple[dict[str, T], tuple[DataIssue, ...]]:
    """Assign annotations to the images whose names they bear; those of missing images are counted."""
    counts = Counter(plain_name(name) for name, _ in found)
    known_names = counts if ids is None else map(plain_name, pairing.images)
    if doubled := [name for name in known_names if counts[name] > 1]:
        message = f"{where} lists several images that differ only in folder or format; rename them"
        raise DataError(message, doubled)
    if ids is None:
        return dict(found), ()
    owners = {plain_name(id_): id_ for id_ in pairing.images}
    known = {owners[key]: value for name, value in found if (key := plain_name(name)) in owners}
    n_lost = len(found) - len(known)
    lost = DataIssue("", f"annotations of images that are not there, in {where}", n_lost, "left out")
    return known, (lost,) if n_lost else ()


def read_rle_masks(
    pairing: Pairing, names: Sequence[str], ids: Collection[str] | None
) -> tuple[MaskReader, tuple[DataIssue, ...]]:
    """Read a table of run-length codes, and infer their rules from some of the images."""
    archive = pairing.archive
    if len(names) != 1:
        message = f"{archive.where()} holds {len(names)} tables, expected one; name it with competition.masks"
        raise DataError(message, [archive.where(name) for name in names])
    table = read_table(archive.read(names[0]), archive.where(names[0]))
    known = {plain_name(id_) for id_ in ids or ()}
    columns = find_rle_columns(table, lambda text: ids is None or plain_name(_stem(text)) in known)
    codes = collect_rles(table.select(*columns)).items()
    found = [(_stem(key), tuple(rle for rle in rles if rle.strip() != "-1")) for key, rles in codes]
    rles, issues = _keep_known(pairing, found, ids, table.where)
    shapes = {}
    if {"Height", "Width"} <= set(table.columns):
        rows = table.select(columns[0], "Height", "Width")
        shapes = {_stem(key): shape for key, *sides in rows if (shape := parse_shape(*sides))}
    looked_at: dict[str, Image] = {}
    for key in [key for key in sorted(rles) if rles[key] and key in pairing.images][:N_LOOKED_AT]:
        with suppress(DataError):  # reported when its sample is read
            name = pairing.images[key]
            looked_at[key] = decode_image(archive.read(name), archive.where(name))[0]
    by_rows, from_zero, why = infer_rle_layout([rles[key] for key in looked_at], looked_at.values())
    rule = f"along the {'rows' if by_rows else 'columns'} from pixel {int(not from_zero)}: {why}"
    issue = DataIssue("", "masks read as rle", sum(map(len, rles.values())), rule)
    return RleMasks(rles, table.where, by_rows=by_rows, from_zero=from_zero, shapes=shapes), (issue, *issues)


def _stem(file_name: str) -> str:
    return re.sub(rf"{SUFFIX_PATTERN}$", "", file_name)
