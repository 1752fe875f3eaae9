"""`check`: a submission against every rule of its competition."""

from pathlib import Path

from kaggle_unet.competitions.check import check_submission
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.competitions.settings import CompetitionSettings
from kaggle_unet.config import validate
from kaggle_unet.errors import DataError

# What a config of tgs has to say.
_OF_TGS = {"codec": {"name": "mask"}, "decode": {"single_object": True}, "augmentation": {"preset": "none"}}


def check(csv: Path, data: str, name: str, *, images: str = "images") -> list[str]:
    """Hold a submission against the images it is for.

    Parameters
    ----------
    csv : Path
        The submission.
    data : str
        What `--data` takes.
    name : str
        The competition.
    images : str
        `folder` only: subfolder of the images.

    Returns
    -------
    warnings : list of str
        What is allowed but unusual.

    Raises
    ------
    DataError
        If a rule is broken; all broken rules are listed.
    """
    settings = competition_settings(name, images=images)
    competition = get_competition(settings.name)
    source = competition.read(data, settings, with_masks=False)
    black = {id_ for id_ in source.ids if competition.single_object and source.load(id_).kind == "black"}
    errors, warnings = check_submission(csv, competition, {id_: source.shape(id_) for id_ in source.ids}, black=black)
    if errors:
        msg = f"{csv}: Kaggle would refuse this; {len(errors)} faults"
        raise DataError(msg, errors)
    return list(warnings)


def competition_settings(name: str, **options: str) -> CompetitionSettings:
    """Build a competition's settings from the command line.

    Parameters
    ----------
    name : str
        The competition.
    **options : str
        Subfolders.

    Returns
    -------
    settings : CompetitionSettings
        Checked.

    Raises
    ------
    ConfigError
        If there is no such competition.
    """
    others = _OF_TGS if name == "tgs" else {}
    return validate({"competition": {"name": name, **options}, **others}, where="--competition").competition
