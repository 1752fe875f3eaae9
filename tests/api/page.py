"""docs/api.md, made of the docstrings of the public API; run by `scripts/api`, which writes it."""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from numpydoc.docscrape import NumpyDocString

import kaggle_unet as ku

PAGE = Path(__file__).parents[2] / "docs/api.md"
GROUPS = {
    "Models": "load Model train tune",
    "Data": "read_folder read_competition Sample draw_nuclei draw_salt",
    "Targets and weights": "encode_targets get_codec border weight_map distance_weights size_weights",
    "From planes to labels": "decode_planes Decoder fill_holes drop_small",
    "Masks and labels": "rle components paint_masks relabel measure write_labels",
    "Scores": "score match iou dice pixel_accuracy interval_of_mean",
    "Submissions": "write_submission read_submission check_submission",
    "Pictures": "draw_outlines colour_labels",
    "Settings": "load_config Config DecodeSettings PostprocessSettings WeightSettings",
    "Errors": "KitError ConfigError DataError ResourceError LockedError",
}
INTRODUCTION = """\
# The Python API

```python
import kaggle_unet as ku

model = ku.load("runs/dsb2018/final")  # all folds, with the tuned decoding
labels = model.segment(image)  # int32 (H, W); 0 is background, 1…n are the instances
```

Every name below is imported when it is first used. `Image`, `Labels`, `Mask`, `Planes` and `Weights` are numpy arrays,
`Shape` and `PixelSize` a height and a width, as `kaggle_unet.types` describes them. This page is generated from the
docstrings by `scripts/api`.
"""


def write() -> str:
    """Write the whole page."""
    parts = [INTRODUCTION, *(f"- {group}: {_links(names)}" for group, names in GROUPS.items()), ""]
    for group, names in GROUPS.items():
        parts += [f"## {group}", "", *(line for name in names.split() for line in describe(name, getattr(ku, name)))]
    return re.sub("(?<!`)``(?!`)", "`", "\n".join(parts)).rstrip() + "\n"  # code in Markdown has one backtick


def _links(names: str) -> str:
    return ", ".join(f"[`{name}`](#{name.lower()})" for name in names.split())


def describe(name: str, thing: Any) -> Iterator[str]:
    """Describe a function, a class with its public methods, or a module with its functions."""
    yield from (f"### `{name}`", "")
    yield from _body(f"ku.{name}", thing)
    for member_name, member in _members(thing):
        yield from (f"#### `{name}.{member_name}`", "")
        owner = name.lower() if inspect.isclass(thing) else f"ku.{name}"
        yield from _body(f"{owner}.{member_name}".removesuffix(".__call__"), member)


def _members(thing: Any) -> list[tuple[str, Any]]:
    """List the functions of a module, or the public methods that a class defines itself."""
    if isinstance(thing, ModuleType):
        return [(name, getattr(thing, name)) for name in thing.__all__]
    if not inspect.isclass(thing) or hasattr(thing, "model_fields"):
        return []
    return [
        (name, member)
        for name, member in vars(thing).items()
        if (name == "__call__" or not name.startswith("_"))
        and (inspect.isfunction(member) or isinstance(member, property))
    ]


def _body(name: str, thing: Any) -> Iterator[str]:
    doc = NumpyDocString(inspect.getdoc(thing) or "")
    if inspect.isfunction(thing):
        yield from ("```python", f"{name}{_signature(thing)}", "```", "")
    for section in ("Summary", "Extended Summary"):
        yield from _prose_and_code(doc[section])
    for section in ("Parameters", "Attributes", "Returns", "Raises"):
        if doc[section]:
            yield from (f"**{section}**", "", *map(_item, doc[section]), "")
    for section in ("Notes", "References"):
        if doc[section]:
            lines = [re.sub(r"^\.\. \[(\d+)\]", r"\1.", line) for line in doc[section]]
            yield from (f"**{section}**", "", *lines, "")
    yield from _prose_and_code(doc["Examples"])


def _prose_and_code(lines: list[str]) -> Iterator[str]:
    """Put each paragraph that is a doctest into a fence."""
    for paragraph in filter(None, "\n".join(lines).split("\n\n")):
        yield from (("```python", paragraph, "```") if paragraph.startswith(">>>") else (paragraph,))
        yield ""


def _signature(function: Any) -> str:
    """Write a signature as the source has it, with the array words of `kaggle_unet.types`."""
    node = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    parameters = ast.unparse(node.args).removeprefix("self").removeprefix(", ")
    spaced = re.sub(r"(: [^,=]*(?:\[[^]]*\])?[^,=]*)=", r"\1 = ", parameters)
    return f"({spaced}) -> {ast.unparse(node.returns) if node.returns else None}"


def _item(item: Any) -> str:
    """Write a parameter as an item of a list: name, type, words."""
    words = " ".join(line.strip() for line in item.desc)
    head = f"`{item.name}`: {item.type}" if item.name else item.type
    return f"- {head}. {words}" if words else f"- {head}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(write(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.name}: {len(ku.__all__)} names\n")


if __name__ == "__main__":
    main()
