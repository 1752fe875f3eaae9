"""`check`: a submission against every rule of its competition."""

from collections.abc import Collection, Mapping
from pathlib import Path

from kaggle_unet.competitions.competition import Competition, CompetitionSettings, Source
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.competitions.submission import check_submission
from kaggle_unet.config import validate_config
from kaggle_unet.errors import DataError

# What a config of tgs has to say.
_OF_TGS = {"codec": {"name": "mask"}, "decode": {"single_object": True}, "augmentation": {"preset": "none"}}


def check(csv: Path, data: str, name: str, *, images: str = "images") -> list[str]:
    """Hold a submission against the images it is for."""
    settings = competition_settings(name, images=images)
    competition = get_competition(settings.name)
    source = competition.read(data, settings, with_masks=False)
    shapes = {id_: source.shape(id_) for id_ in source.ids}
    return refuse_faults(csv, competition, shapes, black=find_black(competition, source))


def refuse_faults(
    csv: Path, competition: Competition, shapes: Mapping[str, tuple[int, int]], *, black: Collection[str] = ()
) -> list[str]:
    """Refuse a submission that breaks a rule."""
    errors, warnings = check_submission(csv, competition, shapes, black=black)
    if errors:
        msg = f"{csv}: Kaggle would refuse this; {len(errors)} faults"
        raise DataError(msg, errors)
    return warnings


def find_black(competition: Competition, source: Source) -> set[str]:
    """Find the images without content, on which no object can be."""
    return {id_ for id_ in source.ids if competition.single_object and source.load(id_).kind == "black"}


def competition_settings(name: str, **options: str) -> CompetitionSettings:
    """Build a competition's settings from the command line."""
    others = _OF_TGS if name == "tgs" else {}
    return validate_config({"competition": {"name": name, **options}, **others}, where="--competition").competition
