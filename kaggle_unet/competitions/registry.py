"""All competitions by name; a new one needs a file of its own and a line here."""

from collections.abc import Mapping
from types import MappingProxyType

from kaggle_unet.competitions.competition import Competition
from kaggle_unet.competitions.dsb2018 import Dsb2018
from kaggle_unet.competitions.folder import Folder
from kaggle_unet.competitions.tgs import Tgs
from kaggle_unet.errors import ConfigError

COMPETITIONS: Mapping[str, Competition] = MappingProxyType({one.name: one for one in (Dsb2018(), Tgs(), Folder())})


def get_competition(name: str) -> Competition:
    """Look up a competition."""
    if name not in COMPETITIONS:
        raise ConfigError(f"unknown competition {name!r}; choose from {', '.join(COMPETITIONS)}")
    return COMPETITIONS[name]
