"""Data Science Bowl 2018: nuclei in microscope images, one mask file per nucleus."""

import re
from collections import defaultdict

from kaggle_unet.competitions.competition import Competition, CompetitionSettings, FileSource
from kaggle_unet.competitions.pairing import compose, find_rle_masks, find_unread, list_images, locate_set, match_names
from kaggle_unet.io.archive import open_archive
from kaggle_unet.io.images import SUFFIX_PATTERN, classify_kind
from kaggle_unet.io.masks import FileMasks, MaskReader, merge_object_masks

_LABELS_CSV = "stage1_train_labels.csv"
_WANTED_MASKS = f"<id>/masks/*.png, or {_LABELS_CSV} beside the images"
_IMAGE = re.compile(rf"(?P<root>(?:.*/)?)(?P<id>[^/]+)/images/(?P=id){SUFFIX_PATTERN}")
_MASK = re.compile(rf"(?P<id>[^/]+)/masks/[^/]+{SUFFIX_PATTERN}")
_FOLDERS = re.compile(r"(?P<id>[^/]+)/(?:images|masks)/.*")
_TRAIN, _TEST = ("stage1_train",), ("stage1_test", "stage2_test_final", "stage2_test")


class Dsb2018(Competition):
    """Nuclei: ``<id>/images/<id>.png`` and ``<id>/masks/*.png``, or codes from stage1_train_labels.csv beside them."""

    name = "dsb2018"
    sample_submissions = ("stage1_sample_submission.csv", "stage2_sample_submission_final.csv")

    def read(
        self, data: str, settings: CompetitionSettings, *, with_masks: bool | None = None, skip_bad: bool = False
    ) -> FileSource:
        """Open the zip that Kaggle serves, its outer zip, or an unpacked folder."""
        example = "<id>/images/<id>.png"
        archive = locate_set(open_archive(data), _IMAGE, example, train=_TRAIN, test=_TEST, with_masks=with_masks)
        pairing = list_images(archive, match_names(_IMAGE, archive), settings.skip, with_masks)
        masks: MaskReader | None = None
        files: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
        for sample_id, name in () if with_masks is False else match_names(_MASK, archive):
            files[sample_id] += (name,)
        if files:
            folders = set(map(compose, archive.entries))  # an empty one means no nuclei
            empty: dict[str, tuple[str, ...]] = {key: () for key in pairing.images if f"{key}/masks/" in folders}
            masks = FileMasks({**empty, **files}, merge_object_masks)
        elif with_masks is not False:
            masks = find_rle_masks(pairing, _LABELS_CSV, self)
        expected = f"{example} and <id>/masks/*.png"
        notes = find_unread(pairing, masks, _FOLDERS, expected, left_alone="[^/]+/masks/.*")
        found = pairing.check(masks, wanted=_WANTED_MASKS, skip_bad=skip_bad)
        issues = (*pairing.data_issues, *found, *notes)
        return FileSource(archive, pairing.images, masks, classify_kind, data_issues=issues, channel=settings.channel)
