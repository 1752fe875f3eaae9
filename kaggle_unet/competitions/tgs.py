"""TGS Salt Identification: seismic tiles of 101 × 101 pixels, one mask each, and the depth they were taken at."""

import re
from collections.abc import Mapping
from contextlib import suppress
from math import isfinite

from kaggle_unet.competitions.competition import Competition, CompetitionSettings, FileSource
from kaggle_unet.competitions.pairing import (
    Pairing,
    find_rle_masks,
    find_unread,
    list_images,
    list_masks,
    locate_set,
    match_names,
)
from kaggle_unet.errors import DataError
from kaggle_unet.io.archive import open_archive
from kaggle_unet.io.data_issues import is_constant
from kaggle_unet.io.masks import FileMasks, MaskReader, take_whole_mask
from kaggle_unet.io.tables import read_table_beside
from kaggle_unet.metrics.score import ImageScore, score_mask
from kaggle_unet.types import DataIssue, Image, Labels

_DEPTHS_CSV, _LABELS_CSV = "depths.csv", "train.csv"
_WANTED_MASKS = f"masks/<id>.png, or its row in {_LABELS_CSV} beside the images"
_IMAGE = re.compile(r"(?P<root>(?:.*/)?)images/(?P<id>[^/]+)\.(?i:png)")
_FOLDERS = re.compile(r"(?:images|masks)/(?:.*/)?(?P<id>[^/]+?)(?:\.[^/.]+)?")
_MASK = re.compile(r"masks/(?P<id>[^/]+)\.(?i:png)")


class Tgs(Competition):
    """Salt: ``images/<id>.png`` and ``masks/<id>.png``, or codes from train.csv; depths.csv in or beside them."""

    name = "tgs"
    id_column = "id"
    rle_column = "rle_mask"
    single_object = True
    fixed_shape = (101, 101)
    sample_submissions = ("sample_submission.csv",)

    def read(
        self, data: str, settings: CompetitionSettings, *, with_masks: bool | None = None, skip_bad: bool = False
    ) -> FileSource:
        """Open the zip that Kaggle serves, its outer zip, or an unpacked folder."""
        sets = {"train": ("train",), "test": ("test",)}
        archive = locate_set(open_archive(data), _IMAGE, "images/<id>.png", **sets, with_masks=with_masks)
        pairing = list_images(archive, match_names(_IMAGE, archive), settings.skip, with_masks)
        masks = None if with_masks is False else self._find_masks(pairing)
        notes = find_unread(pairing, masks, _FOLDERS, "images/<id>.png", left_alone="masks/.*")
        found = pairing.check(masks, wanted=_WANTED_MASKS, skip_bad=skip_bad)
        numbers, data_issues = _find_depths(pairing)
        issues, shape = (*pairing.data_issues, *found, *notes, *data_issues), self.fixed_shape
        return FileSource(archive, pairing.images, masks, classify_tile, numbers, issues, fixed_shape=shape)

    def _find_masks(self, pairing: Pairing) -> MaskReader | None:
        """Take mask files, or the rows of train.csv if it lists any of the images."""
        if names := list_masks(pairing, match_names(_MASK, pairing.archive)):
            return FileMasks(names, take_whole_mask)
        return find_rle_masks(pairing, _LABELS_CSV, self)

    def metric(self, true: Labels, pred: Labels) -> ImageScore:
        """Score one tile: the mask is one object, wherever it lies."""
        return score_mask(true > 0, pred > 0)


def classify_tile(image: Image) -> str:
    """Classify a tile as seismic, or as black if it has no content."""
    return "black" if is_constant(image) else "seismic"


def _find_depths(pairing: Pairing) -> tuple[Mapping[str, Mapping[str, float]], tuple[DataIssue, ...]]:
    """Read depths.csv; tiles without a depth are no fault, since few configs use it."""
    table = read_table_beside(pairing.archive, _DEPTHS_CSV)
    if table is None:
        return {}, (DataIssue("", f"no {_DEPTHS_CSV}", len(pairing.images), "depths unknown"),)
    texts = {key: text for key, text in table.select("id", "z")}
    numbers: dict[str, dict[str, float]] = {}
    faults, data_issues = [], []
    for key in sorted(pairing.images):
        if not texts.get(key, "").strip():
            data_issues.append(DataIssue(key, f"not in {_DEPTHS_CSV}", 1, "depth unknown"))
            continue
        with suppress(ValueError):
            if isfinite(depth := float(texts[key])):
                numbers[key] = {"depth": depth}
        if key not in numbers:
            faults.append(f"id {key!r}: depth {texts[key]!r}")
    if faults:
        raise DataError(f"{table.where}: depths must be numbers; fix these rows", faults)
    return numbers, tuple(data_issues)
