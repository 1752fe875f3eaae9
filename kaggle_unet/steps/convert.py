"""`convert`: labels from any format that can be read to any that can be written, counting what is lost on the way."""

from pathlib import Path

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.label_files import LABEL_FORMATS, get_format, write_labels
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.competitions.truth import Found, Truth, read_truth
from kaggle_unet.errors import ConfigError
from kaggle_unet.io.archive import split_location
from kaggle_unet.io.tiff import read_pixel_size
from kaggle_unet.steps.parallel import OnProgress
from kaggle_unet.steps.provenance import claim_folder
from kaggle_unet.store import sample_file
from kaggle_unet.store.atomic import refuse_to_replace
from kaggle_unet.types import DataIssue, Result


class Converted(Result):
    """What was converted: how many images and objects, and the issues found, each with its count and what was done."""

    output: str
    images: int
    objects: int
    leaves_out: str
    found: list[tuple[str, int, str]]


def convert(
    data: str,
    output: Path,
    format: str,
    settings: CompetitionSettings,
    *,
    pixel_size: float | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> Converted:
    """Convert labels to a format: one file per image, in a folder, or a single file if the format holds many images."""
    chosen = get_format(format)
    suffixes = chosen.suffix if chosen.holds_many else (".tiff", *(known.suffix for known in LABEL_FORMATS.values()))
    if chosen.holds_many != output.name.endswith(suffixes):
        wanted = f"a file *{chosen.suffix}" if chosen.holds_many else f"a folder, for a file *{chosen.suffix} an image"
        raise ConfigError(f"{output}: {format} is written to {wanted}")
    truth = read_truth(data, get_competition(settings.name), settings)
    written = [output] if chosen.holds_many else [sample_file(output, key, chosen.suffix) for key in truth.ids]
    read_files = (truth.archive.where(name) for files in truth.files.values() for name in files)
    refuse_to_replace(written, (split_location(data)[0], truth.where, *read_files))
    if not chosen.holds_many:
        claim_folder(output, "convert", written)
    counts: list[int] = []  # of objects, by image
    issues: list[DataIssue] = []

    def read(sample_id: str) -> Found:
        """Read labels as they are written, one image at a time, and keep the issues found in them."""
        labels, kind, found = truth.read(sample_id)
        counts.append(int(labels.max(initial=0)))
        issues.extend(found)
        on_progress("converted", len(counts), len(truth))
        return labels, kind, found

    def read_size(name: str) -> tuple[float, float] | None:
        with truth.archive.open(name) as file:
            return read_pixel_size(file)

    is_known = pixel_size is not None or "pixel size" in chosen.leaves_out
    for ids in [truth.ids] if chosen.holds_many else [[key] for key in truth.ids]:
        names = () if is_known else (name for key in ids for name in truth.files[key])
        size = next(filter(None, map(read_size, names)), pixel_size)
        write_labels(Truth(ids, read, truth.archive, truth.files), output, format, pixel_size=size)
    kinds = dict.fromkeys((issue.kind, issue.action) for issue in issues)
    found = [(kind, sum(i.count for i in issues if i.kind == kind), action) for kind, action in kinds]
    return Converted(
        output=str(output), images=len(truth), objects=sum(counts), leaves_out=chosen.leaves_out, found=found
    )
