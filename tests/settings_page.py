"""``python -m tests.settings_page``: docs/settings.md, every key of a config with its default, its values and meaning.

Made of the settings classes themselves: names, defaults and bounds from their fields, words from the strings below
them, or from the docstring of a public class.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kaggle_unet.config import Config
from kaggle_unet.types import describe_keys
from kaggle_unet.types import settings_classes as find_settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
INTRO = """\
# Settings

Every key of a config, with its default and the values it may have. A config is one YAML file; a section left out has
its defaults; only `competition.name` is required. An unknown key, a key given twice and a value of the wrong type are
errors. The [how-to pages](index.md) explain how the keys work together. This page is generated from the docstrings by
`scripts/api`.

- `--set KEY=VALUE` overrides a key on the command line, such as `--set training.epochs=5`; it may be repeated.
- `kaggle-unet config show RUN_OR_CONFIG` prints all keys, and the default beside each value that differs from it;
  `kaggle-unet config diff ONE OTHER` prints the keys in which two runs or configs differ.
- `kaggle-unet config schema > schema.json` writes the JSON Schema. With `# yaml-language-server: $schema=schema.json`
  as its first line, a config is completed and checked as you type in editors with the YAML language server: VS Code
  (extension YAML), Neovim, Emacs, Helix. PyCharm takes the file in its settings, under JSON Schema Mappings.
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
            parts += [f"{_first_line(settings)}\n", "| key | default | may be | meaning |", "| --- | --- | --- | --- |"]
            parts += [f"| `{row[0]}` | {' | '.join(row[1:])} |" for row in list_keys(settings, section)]
            parts.append("")
    return "\n".join(parts)


def list_keys(settings: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield every key below a class, its default, what it may be and its meaning."""
    meanings, schema = describe_keys(settings), settings.model_json_schema()
    for name, field in settings.model_fields.items():
        key, nested = f"{prefix}.{name}", find_settings(field.annotation)
        meaning = re.sub(r"\bNone\b", "`null`", meanings.get(name, "")).replace("|", "\\|")
        meaning = meaning or ("Selects this table." if prefix == "model" else "")
        yield key, _default(field, nested), describe_values(schema["properties"][name]), meaning
        for inner in nested:
            yield from list_keys(inner, key)


BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def describe_values(part: dict[str, Any]) -> str:
    """Say in words what a part of a JSON Schema allows."""
    if "enum" in part or "const" in part:
        return ", ".join(dict.fromkeys(f"`{value}`" for value in part.get("enum", [part.get("const")])))
    if options := part.get("anyOf", part.get("oneOf")):
        return " or ".join(dict.fromkeys(map(describe_values, options)))
    if "prefixItems" in part:
        return f"[{', '.join(map(describe_values, part['prefixItems']))}]"
    kind = {"integer": "whole number", "boolean": "`true`, `false`", "string": "text", "null": "`null`"}
    words = {
        "array": lambda: f"list of {describe_values(part['items'])}",
        "object": lambda: "mapping to any value" if inner is True else f"mapping to {describe_values(inner)}",
    }
    inner = part.get("additionalProperties", True)
    name = part.get("type")
    if name is None:
        return "a section" if "$ref" in part else "any value"
    said = words[name]() if name in words else kind.get(name, name)
    bounds = " and ".join(f"{sign} {part[bound]:g}" for bound, sign in BOUNDS.items() if bound in part)
    return f"{said} {bounds}".rstrip()


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
