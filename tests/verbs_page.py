"""``python -m tests.verbs_page``: docs/verbs.md, every verb with its options, as `--help` has them."""

import sys
from pathlib import Path
from typing import Any

from typer.main import get_command

from kaggle_unet.cli.app import VERBS, app

PAGE = Path(__file__).parents[1] / "docs" / "verbs.md"
INTRO = """\
# Verbs

Every command is `kaggle-unet VERB`, and `kaggle-unet help VERB` prints what this page has. The exit codes are in
[files](files.md#errors-and-exit-codes). This page is generated from the command line by `scripts/api`.
"""
OF_ALL = ("--quiet", "--debug", "--json")


def render() -> str:
    """Write the page."""
    command: Any = get_command(app)
    of_all = [param for param in command.params if param.opts[0] in OF_ALL]
    first = ["## Before or after any verb", "", *_table(of_all)]
    first += ["## Without a verb", "", *_table([param for param in command.params if param not in of_all])]
    found = {name: command.commands[name.split()[0]] for name in VERBS}
    found = {name: getattr(verb, "commands", {}).get(name.split()[-1], verb) for name, verb in found.items()}
    return "\n".join([INTRO, *first, *(line for name, verb in found.items() for line in describe(name, verb))])


def describe(name: str, verb: Any) -> list[str]:
    """Write a verb: what it does, how it is called, with examples, its arguments and options."""
    arguments = [param for param in verb.params if param.param_type_name == "argument"]
    needed = [param for param in verb.params if param.param_type_name == "option" and param.required]
    words = [*(param.metavar if param.required else f"[{param.metavar}]" for param in arguments)]
    words += [f"{param.opts[0]} {param.metavar}" for param in needed]
    usage = " ".join(["kaggle-unet", name, *words, "[OPTIONS]"])
    examples = [f"    kaggle-unet {name} {example}".rstrip() for example in VERBS[name][1:]]
    own = [param for param in verb.params if param.opts[0] not in OF_ALL]
    said = verb.help.replace("\b\n", "")
    return [
        f"## {name}",
        "",
        said,
        "",
        f"    {usage}",
        "",
        "For example:",
        "",
        *examples,
        "",
        *(_table(own) if own else []),
    ]


def _table(params: list[Any]) -> list[str]:
    rows = [_row(param) for param in params if not getattr(param, "hidden", False) and param.name != "help"]
    return ["| argument or option | default | meaning |", "| --- | --- | --- |", *rows, ""]


def _row(param: Any) -> str:
    is_argument = param.param_type_name == "argument"
    value = "" if is_argument or param.is_flag else f" {param.metavar or 'VALUE'}"
    names = (param.metavar if is_argument else ", ".join([*param.opts, *param.secondary_opts]) + value).replace(
        "|", "\\|"
    )
    default = "required" if param.required else _default(param)
    meaning = (param.help or "").replace("|", "\\|").replace("<", "&lt;")
    return f"| `{names}` | {default} | {meaning} |"


def _default(param: Any) -> str:
    has_none = param.default is None or param.default is False or param.default in ((), "")
    return "" if has_none else f"`{param.default}`"


if __name__ == "__main__":
    sys.exit(0 if PAGE.write_text(render(), encoding="utf-8") else 1)
