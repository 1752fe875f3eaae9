"""`check`: check a submission against every rule of its competition; also write a checked one with its manifest."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kaggle_unet.competitions import submission
from kaggle_unet.competitions.competition import Competition, CompetitionSettings, Source, read_shapes
from kaggle_unet.competitions.pairing import LEFT_OUT, OUTSIDE
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import validate_config
from kaggle_unet.errors import ConfigError, DataError, ResourceError, shorten_list
from kaggle_unet.steps.provenance import describe_environment, name_place, refuse_foreign
from kaggle_unet.store import atomic_write, sha256
from kaggle_unet.store.atomic import lock_file, try_to_write
from kaggle_unet.types import Result, Shape

SLUGS = {"dsb2018": "data-science-bowl-2018", "tgs": "tgs-salt-identification-challenge", "folder": ""}
# What a config for tgs must contain.
_OF_TGS = {"codec": {"name": "mask"}, "decode": {"single_object": True}, "augmentation": {"preset": "none"}}


def check_submission(
    path: str | Path, data: str | Path, competition: str = "dsb2018", *, images: str = "images"
) -> list[str]:
    """Check a CSV against every rule of its competition.

    Parameters
    ----------
    path : str or Path
        The CSV.
    data : str or Path
        The images it is for, as ``kaggle-unet check --data`` takes them.
    competition : {"dsb2018", "tgs", "folder"}
        The competition whose rules apply.
    images : str, default: "images"
        For ``"folder"`` only: the subfolder of the images.

    Returns
    -------
    list of str
        Warnings: what Kaggle accepts but you should look at.

    Raises
    ------
    DataError
        If Kaggle would reject the file; the error's `problems` are all broken rules, with their lines.

    Examples
    --------
    >>> import tempfile
    >>> import kaggle_unet as ku
    >>> from kaggle_unet.synthetic.files import write_dsb_zip
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     truth = write_dsb_zip(Path(folder) / "test.zip", seed=0, n=2, with_masks=False)
    ...     ku.write_submission(Path(folder) / "x.csv", truth)
    ...     ku.check_submission(Path(folder) / "x.csv", Path(folder) / "test.zip")
    []
    """
    return check_and_count(Path(path), str(data), competition_settings(competition, images=images))[0]


def check_and_count(csv: Path, data: str, settings: CompetitionSettings) -> tuple[list[str], str]:
    """Check a CSV, and also say how many of the data's images it covers."""
    kind = get_competition(settings.name)
    source = kind.read(data, settings, with_masks=False, skip_bad=True)
    shapes, unread = read_sizes(source)
    with naming_unread(unread):
        warnings = refuse_faults(csv, kind, shapes, black=find_black(kind, source))
    return [*warnings, *unread], describe_coverage(source)


def read_sizes(source: Source) -> tuple[dict[str, Shape], list[str]]:
    """Read the images' heights and widths (0 if an image can't be read), and list what can't be read and why."""
    set_aside: dict[str, str] = {}
    shapes = read_shapes(source.ids, source.shape, set_aside)
    left_out = [issue.kind for issue in source.data_issues if issue.action == LEFT_OUT]
    return shapes | dict.fromkeys(set_aside, (0, 0)), [*left_out, *set_aside.values()]


@contextmanager
def naming_unread(unread: Sequence[str]) -> Iterator[None]:
    """Add the images that can't be read, whose rows must be empty or left out, to a submission's broken rules."""
    try:
        yield
    except DataError as error:
        raise DataError(str(error).split("\n")[0], [*error.problems, *unread]) from error


def describe_coverage(source: Source) -> str:
    """Describe how many of the data's images the source reads, and which it does not."""
    unread = [issue.sample for issue in source.data_issues if issue.kind == OUTSIDE or issue.action == LEFT_OUT]
    n = len(source.ids)
    if not unread:
        return f"all {n} images of the data"
    return f"{n} of {n + len(unread)} images of the data; not {', '.join(shorten_list(unread))}"


def refuse_faults(
    csv: Path, competition: Competition, shapes: Mapping[str, Shape], *, black: Collection[str] = ()
) -> list[str]:
    """Refuse a submission that breaks a rule."""
    errors, warnings = submission.check_submission(csv, competition, shapes, black=black)
    if errors:
        raise DataError(f"{csv}: {_count_rules(errors, competition)}", errors)
    return warnings


def _count_rules(errors: Sequence[str], competition: Competition) -> str:
    return f"breaks {len(errors)} rule{'s' * (len(errors) > 1)} of the competition {competition.name}"


def find_black(competition: Competition, source: Source) -> set[str]:
    """Find a single-object competition's images without content, which can't show an object."""
    black = set[str]()
    for id_ in source.ids if competition.single_object else ():
        with suppress(DataError):  # an image that can't be read
            if source.load(id_).kind == "black":
                black.add(id_)
    return black


def competition_settings(name: str, **options: str | None) -> CompetitionSettings:
    """Build a competition's settings from the command line."""
    others = _OF_TGS if name == "tgs" else {}
    return validate_config({"competition": {"name": name, **options}, **others}, where="--competition").competition


def refuse_output(output: Path) -> None:
    """Refuse a path that cannot be a CSV with a manifest beside it, before the long work begins."""
    manifest = output.with_suffix(".json")
    if output.suffix != ".csv" or output.is_dir() or manifest.is_dir():
        raise ConfigError(f"-o {output}: expected the path of a file that ends in .csv; its manifest will end in .json")
    if manifest.exists() and b'"csv": ' not in manifest.read_bytes()[:100]:
        msg = f"-o {output}: its manifest would replace {manifest}, which kaggle-unet did not write; give another -o"
        raise ConfigError(msg)
    refuse_foreign(manifest, [output])
    try_to_write(output)


class Submission(Result):
    """A CSV that was written."""

    path: Path
    images: int
    objects: int
    blank: int
    slug: str
    how: str
    warnings: list[str]


def write_checked(
    output: Path,
    competition: Competition,
    rles: Mapping[str, Sequence[str]],
    shapes: Mapping[str, Shape],
    *,
    black: Collection[str],
    how: str,
    manifest: Mapping[str, Any],
) -> Submission:
    """Write a CSV as ``.*.rejected.csv``, and give it its name and a manifest only if it keeps every rule."""
    with lock_file(output):
        rejected = output.with_name(f".{output.stem}.rejected.csv")  # hidden: nobody has a file of that name
        submission.write_rles(rejected, rles, competition)
        errors, warnings = submission.check_submission(rejected, competition, shapes, black=black)
        if errors:
            raise DataError(f"{rejected}: {_count_rules(errors, competition)}; this is a bug in kaggle-unet", errors)
        warnings = [*manifest["warnings"], *warnings]
        counts = {
            "images": len(rles),
            "objects": sum(bool(rle) for of_image in rles.values() for rle in of_image),
            "blank": sum(not any(of_image) for of_image in rles.values()),
        }
        slug = SLUGS[competition.name]
        about = {
            "csv": output.name,
            "sha256": sha256(rejected),
            "slug": slug,
            **counts,
            **manifest,
            "warnings": warnings,
            "environment": describe_environment(),
        }
        try:  # no CSV without its manifest
            atomic_write(output.with_suffix(".json"), json.dumps(about, indent=1, ensure_ascii=False) + "\n")
        except ResourceError:
            rejected.unlink()
            raise
        rejected.replace(output)
        return Submission(path=output, **counts, slug=slug, how=how, warnings=warnings)


def describe_data(data: str, source: Source) -> dict[str, str]:
    """Describe the data without saying where they are on this machine."""
    return {"name": name_place(data), "fingerprint": source.fingerprint()}
