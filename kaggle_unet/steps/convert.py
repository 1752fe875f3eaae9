"""`convert`: labels from any format that is read to any that is written; what is lost on the way is counted."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.label_files import get_format, write_labels
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.competitions.truth import Truth, read_truth
from kaggle_unet.errors import ConfigError
from kaggle_unet.steps.parallel import OnProgress
from kaggle_unet.types import DataIssue, Labels, Result


class Converted(Result):
    """What was converted: how many images and objects, and what was found by kind: how often, and what was done."""

    output: str
    images: int
    objects: int
    leaves_out: str
    found: list[tuple[str, int, str]]


class _Counted(Mapping[str, Labels]):
    """Labels that are read when they are written, one image at a time; what was found in them is kept."""

    def __init__(self, truth: Truth, on_progress: OnProgress) -> None:
        self.truth, self.on_progress = truth, on_progress
        self.n_read, self.n_objects, self.issues = 0, 0, list[DataIssue]()

    def __getitem__(self, sample_id: str) -> Labels:
        labels, _, issues = self.truth.read(sample_id)
        self.n_read += 1
        self.n_objects += int(labels.max(initial=0))
        self.issues += issues
        self.on_progress("converted", self.n_read, len(self))
        return labels

    def __iter__(self) -> Iterator[str]:
        return iter(self.truth)

    def __len__(self) -> int:
        return len(self.truth)


def convert(
    data: str,
    output: Path,
    format: str,
    settings: CompetitionSettings,
    *,
    pixel_size: float | None = None,
    on_progress: OnProgress = lambda *_: None,
) -> Converted:
    """Convert labels to a format: a file for each image, in a folder, or one file for all where the format is so."""
    chosen = get_format(format)
    if chosen.holds_many != (output.suffix == chosen.suffix):
        wanted = f"a file *{chosen.suffix}" if chosen.holds_many else f"a folder, for a file *{chosen.suffix} an image"
        raise ConfigError(f"{output}: {format} is written to {wanted}")
    truth = read_truth(data, get_competition(settings.name), settings)
    counted = _Counted(truth, on_progress)
    write_labels(counted, output, format, pixel_size=pixel_size)
    kinds = dict.fromkeys((issue.kind, issue.action) for issue in counted.issues)
    found = [(kind, sum(i.count for i in counted.issues if i.kind == kind), action) for kind, action in kinds]
    return Converted(
        output=str(output), images=len(truth), objects=counted.n_objects, leaves_out=chosen.leaves_out, found=found
    )
