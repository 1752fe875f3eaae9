"""`check`: a submission against every rule of its competition."""

from collections.abc import Collection, Mapping
from pathlib import Path

from kaggle_unet.competitions import submission
from kaggle_unet.competitions.competition import Competition, CompetitionSettings, Source
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import validate_config
from kaggle_unet.errors import DataError

# What a config of tgs has to say.
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
        If Kaggle would reject the file; all broken rules are listed, with their lines.

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
    settings = competition_settings(competition, images=images)
    kind = get_competition(settings.name)
    source = kind.read(str(data), settings, with_masks=False)
    shapes = {id_: source.shape(id_) for id_ in source.ids}
    return refuse_faults(Path(path), kind, shapes, black=find_black(kind, source))


def refuse_faults(
    csv: Path, competition: Competition, shapes: Mapping[str, tuple[int, int]], *, black: Collection[str] = ()
) -> list[str]:
    """Refuse a submission that breaks a rule."""
    errors, warnings = submission.check_submission(csv, competition, shapes, black=black)
    if errors:
        msg = f"{csv}: Kaggle would reject this: {len(errors)} errors"
        raise DataError(msg, errors)
    return warnings


def find_black(competition: Competition, source: Source) -> set[str]:
    """Find the images without content, on which no object can be."""
    return {id_ for id_ in source.ids if competition.single_object and source.load(id_).kind == "black"}


def competition_settings(name: str, **options: str) -> CompetitionSettings:
    """Build a competition's settings from the command line."""
    others = _OF_TGS if name == "tgs" else {}
    return validate_config({"competition": {"name": name, **options}, **others}, where="--competition").competition
