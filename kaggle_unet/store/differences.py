"""Where two trees of plain values differ: configs, identities of stores."""

from collections.abc import Mapping
from typing import Any


def find_differences(first: Any, second: Any, *, key: str = "") -> list[tuple[str, Any, Any]]:
    """List where two trees of plain values differ.

    >>> find_differences({"codec": {"name": "mask"}, "epochs": 3}, {"codec": {"name": "mask_border"}, "epochs": 3})
    [('codec.name', 'mask', 'mask_border')]
    """
    if not isinstance(first, Mapping) or not isinstance(second, Mapping):
        return [] if first == second else [(key, first, second)]
    return [
        difference
        for name in sorted(first.keys() | second.keys())
        for difference in find_differences(first.get(name), second.get(name), key=f"{key}.{name}".lstrip("."))
    ]
