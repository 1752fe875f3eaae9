"""Names in a config that mean nothing, and what was probably meant."""

import difflib
from collections.abc import Sequence

from kaggle_unet.errors import ConfigError


def refuse_unknown(key: str, name: str, known: Sequence[str]) -> None:
    """Make sure that a name exists.

    >>> refuse_unknown("model.encoder", "resnet43", ["resnet34", "vgg11"])
    Traceback (most recent call last):
        ...
    kaggle_unet.errors.ConfigError: model.encoder 'resnet43' is unknown; did you mean resnet34?
    """
    if name in known:
        return
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(known)[:20])}"
    msg = f"{key} {name!r} is unknown; {hint}"
    raise ConfigError(msg)
