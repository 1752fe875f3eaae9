"""Where in a U-Net's blocks values are dropped."""

from typing import NamedTuple

from kaggle_unet.errors import ConfigError
from kaggle_unet.models.settings import PlainUNetSettings


class Rates(NamedTuple):
    """Dropout rates of one block."""

    before: float = 0.0
    between: float = 0.0
    after: float = 0.0


def dropout_rates(settings: PlainUNetSettings) -> tuple[list[Rates], list[Rates]]:
    """Give the rates of all blocks.

    >>> down, up = dropout_rates(PlainUNetSettings(depth=1, dropout=0.1, dropout_place="before"))
    >>> [rates.before for rates in down], [rates.before for rates in up]
    ([0.0, 0.1], [0.1])
    """
    n_levels = settings.depth + 1
    levels = settings.dropout if isinstance(settings.dropout, tuple) else (settings.dropout,) * n_levels
    if len(levels) != n_levels:
        msg = f"model.dropout has {len(levels)} rates, but depth {settings.depth} has {n_levels} levels; give one each"
        raise ConfigError(msg)
    if settings.dropout_place == "bottleneck":
        return [Rates()] * settings.depth + [Rates(after=levels[-1])], [Rates()] * settings.depth
    rates = [Rates(**{settings.dropout_place: rate}) for rate in levels]
    return [rates[0]._replace(before=0.0), *rates[1:]], rates[-2::-1]
