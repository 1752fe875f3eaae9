"""``python -m tests.settings_page``: docs/settings.md, every key of a config with its default and its meaning.

Made of the settings classes themselves: names and defaults from their fields, words
from the strings below them, or from the docstring of a public class.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kaggle_unet.config import Config

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
INTRO = """\
# Settings

Every key of a config, with its default. A config is one YAML file; a section that is left out has its defaults;
only `competition.name` is required. An unknown key, a key given twice and a value of the wrong type are errors. On the
command line `--set KEY=VALUE` overrides a key. The [how-to pages](index.md) explain how the keys work together. This
page is generated from the docstrings by `scripts/api`.
"""


def render() -> str:
    """Write the page."""
    parts = [INTRO]
    for section, field in Config.model_fields.items():
        parts.append(f"## {section}\n")
        variants = find_settings(field.annotation)
        for settings in variants:
            if len(variants) > 1:
                parts.append(f"### `{section}.name: {settings.model_fields['name'].default}`\n")
            parts += [f"{_first_line(settings)}\n", "| key | default | meaning |", "| --- | --- | --- |"]
            parts += [f"| `{key}` | {default} | {meaning} |" for key, default, meaning in list_keys(settings, section)]
            parts.append("")
    return "\n".join(parts)


def find_settings(annotation: Any) -> list[type[BaseModel]]:
    """List the settings classes of a type: several for a union, one inside an optional, none for a plain value."""
    if get_origin(annotation) is Annotated:
        return find_settings(get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [settings for part in get_args(annotation) for settings in find_settings(part)]


def list_keys(settings: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield every key below a class, its default and its meaning."""
    meanings = describe_keys(settings)
    for name, field in settings.model_fields.items():
        key = f"{prefix}.{name}"
        nested = find_settings(field.annotation)
        yield key, _default(field, nested), meanings.get(name, "Selects this table." if prefix == "model" else "")
        for inner in nested:
            yield from list_keys(inner, key)


def describe_keys(settings: type[BaseModel]) -> dict[str, str]:
    """Read what a class says about its keys: in strings below them, or, if it is public, in its Attributes section."""
    (definition,) = ast.parse(inspect.getsource(settings)).body
    assert isinstance(definition, ast.ClassDef)
    meanings = {
        field.target.id: text.value.value
        for field, text in pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
    section = (settings.__doc__ or "").partition("Attributes\n    ----------\n")[2]
    for names, text in re.findall(r"^    (\w[\w, ]*) : .*\n((?:        .*\n?|\n(?=        ))*)", section, re.M):
        meanings |= dict.fromkeys(names.split(", "), text)
    return {name: _explain(text, settings.model_fields[name]) for name, text in meanings.items()}


def _explain(text: str, field: FieldInfo) -> str:
    """Write a key's meaning as a cell of a table, after its choices if it has some."""
    words = re.sub(r"\bNone\b", "`null`", " ".join(text.split())).replace("|", "\\|")
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    return f"One of {', '.join(f'`{choice}`' for choice in choices)}. {words}".strip() if choices else words


def _first_line(settings: type[BaseModel]) -> str:
    return " ".join((settings.__doc__ or "").partition("\n\n")[0].split())


def _default(field: FieldInfo, nested: list[type[BaseModel]]) -> str:
    if field.is_required():
        return "required"
    if nested:
        return "`null`" if field.default is None else "as below"
    value = field.default
    shown = {True: "true", False: "false", None: "null"}[value] if value is None or isinstance(value, bool) else value
    return f"`{list(shown) if isinstance(shown, tuple) else shown}`".replace("'", "")


if __name__ == "__main__":
    sys.exit(0 if PAGE.write_text(render(), encoding="utf-8") else 1)
