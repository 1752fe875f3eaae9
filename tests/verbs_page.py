"""``python -m tests.verbs_page``: docs/verbs.md, every verb with its options, as `--help` has them."""

import sys
from pathlib import Path
from typing import Any

from typer.main import get_command

from kaggle_unet.cli.app import VERBS, app

PAGE = Path(__file__).parents[1] / "docs" / "verbs.md"
INTRO = """\
# Verbs

Every command is `kaggle-unet VERB`, and `kaggle-unet help VERB` prints what this page has, with two examples. The
exit codes are in [files](files.md#errors-and-exit-codes). This page is generated from the command line by
`scripts/api`.

## At the terminal

Results go to standard output, progress, warnings and errors to standard error. With `--json`, standard output is one
JSON document: the result, or the error with its exit code and the list of all faults, of which a terminal shows five.
`NO_COLOR=1` turns colours off.

**Progress.** A terminal has bars; a log has a line for each epoch and each finished step, and no more than ten
seconds pass without one. The time left follows from the mean speed of this call: what an interrupted one had done
doesn't count, and validations do. It is the time to the last epoch; early stopping may end a training sooner.

**Before a long run.** `train`, `predict` and `submit` with `--dry-run` check the config, the data and the folders,
time some training steps and a validation, or one batch of images, and print the minutes and the disk space that the
whole would take. They write nothing.

**Two scores of a fold.** The validation between epochs is quick: one view of each image. The out-of-fold score at the
end is of the planes that `tune` and `report` work on, the mean of all views of `inference.flips` and
`inference.scales`: eight with `d4`. It is usually higher; compare runs by it.

**Keys.** `--set KEY=VALUE` overrides a key of the config and may be repeated. An option that a verb does not have is
looked for among the [keys](settings.md): `--epochs 3` proposes `--set training.epochs=3`.

**Completion.** `kaggle-unet --install-completion` makes the Tab key complete verbs and options in bash, zsh, fish and
PowerShell, in terminals opened from then on; `--show-completion` prints the script instead.

**Stopping.** Ctrl-C ends a command at once; its last line says what is kept and which command goes on from there.
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
