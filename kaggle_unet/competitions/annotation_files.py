"""Annotations of many images in one file: a COCO data set, or a CSV of run-length codes."""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TypeVar

from kaggle_unet.competitions.pairing import Pairing, collect_rles, plain_name
from kaggle_unet.errors import DataError
from kaggle_unet.io.annotation_formats import is_coco, parse_json, read_coco
from kaggle_unet.io.images import SUFFIX_PATTERN, decode_image
from kaggle_unet.io.masks import CocoMasks, MaskReader, RleMasks
from kaggle_unet.io.rle_formats import find_rle_columns, tell_rle_rules
from kaggle_unet.io.tables import read_table
from kaggle_unet.types import DataIssue

T = TypeVar("T")

_N_LOOKED_AT = 8


def read_coco_masks(
    pairing: Pairing, names: Sequence[str], ids: Collection[str] | None
) -> tuple[MaskReader, tuple[DataIssue, ...]]:
    """Read the one COCO data set among some files."""
    archive = pairing.archive
    data = {name: archive.read(name) for name in names}
    trees = {name: parse_json(data[name], archive.where(name)) for name in names}
    sets = [name for name in names if is_coco(trees[name])]
    if len(sets) != 1:
        message = f"{archive.where()} holds {len(sets)} COCO data sets, expected one; name it with competition.masks"
        raise DataError(message, [archive.where(name) for name in sets])
    where = archive.where(sets[0])
    found = {PurePosixPath(name).stem: image for name, image in read_coco(trees[sets[0]], where).items()}
    images, issues = _keep_known(pairing, found, ids, where)
    n = sum(len(image.annotations) for image in images.values())
    return CocoMasks(images, where, hashlib.sha256(data[sets[0]]).hexdigest()), (
        DataIssue("", "masks read as coco", n, f"annotations in {sets[0]}"), *issues,
    )  # fmt: skip


def _keep_known(
    pairing: Pairing, found: Mapping[str, T], ids: Collection[str] | None, where: str
) -> tuple[dict[str, T], tuple[DataIssue, ...]]:
    """Give annotations to the images whose names they bear; images that are not there are counted."""
    if ids is None:
        return dict(found), ()
    owners = {plain_name(id_): id_ for id_ in pairing.images}
    known = {owners[key]: value for name, value in found.items() if (key := plain_name(name)) in owners}
    n_lost = len(found) - len(known)
    lost = DataIssue("", f"annotations of images that are not there, in {where}", n_lost, "left out")
    return known, (lost,) if n_lost else ()


def read_rle_masks(
    pairing: Pairing, names: Sequence[str], ids: Collection[str] | None
) -> tuple[MaskReader, tuple[DataIssue, ...]]:
    """Read a table of run-length codes, and tell their rules by some of the images."""
    archive = pairing.archive
    if len(names) != 1:
        message = f"{archive.where()} holds {len(names)} tables, expected one; name it with competition.masks"
        raise DataError(message, [archive.where(name) for name in names])
    table = read_table(archive.read(names[0]), archive.where(names[0]))
    known = {plain_name(id_) for id_ in ids or ()}
    columns = find_rle_columns(table, lambda text: ids is None or plain_name(_stem(text)) in known)
    codes = collect_rles(table, *columns).items()
    found = {_stem(key): tuple(rle for rle in rles if rle.strip() != "-1") for key, rles in codes}
    rles, issues = _keep_known(pairing, found, ids, table.where)
    shapes = {}
    if {"Height", "Width"} <= set(table.columns):
        rows = table.select(columns[0], "Height", "Width")
        shapes = {_stem(key): (int(height), int(width)) for key, height, width in rows}
    looked_at = [key for key in sorted(rles) if rles[key] and key in pairing.images][:_N_LOOKED_AT]
    images = [
        decode_image(archive.read(pairing.images[key]), archive.where(pairing.images[key]))[0] for key in looked_at
    ]
    by_rows, from_zero, why = tell_rle_rules([rles[key] for key in looked_at], images)
    rule = f"along the {'rows' if by_rows else 'columns'} from pixel {int(not from_zero)}: {why}"
    issue = DataIssue("", "masks read as rle", sum(map(len, rles.values())), rule)
    return RleMasks(rles, table.where, by_rows=by_rows, from_zero=from_zero, shapes=shapes), (issue, *issues)


def _stem(file_name: str) -> str:
    return re.sub(rf"{SUFFIX_PATTERN}$", "", file_name)
