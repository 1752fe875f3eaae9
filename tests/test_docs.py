"""README and docs: every package is named, every link leads somewhere, and short tables agree with the long ones."""

import re
import tomllib
from datetime import date
from importlib import import_module
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import pytest
from typer.main import get_command

from kaggle_unet.cli.app import app
from kaggle_unet.config import Config
from tests import settings_page, verbs_page
from tests.settings_page import find_settings, list_keys

ROOT = Path(__file__).parents[1]
PAGES = sorted(chain(ROOT.glob("*.md"), (ROOT / "docs").rglob("*.md")), key=str)
README = (ROOT / "README.md").read_text(encoding="utf-8")


def layout():
    """Return the names of the README's layout: those in the package, and the folders beside it."""
    block = README.partition("## Layout")[2].partition("\n## ")[0]
    names = re.findall(r"^( +)([\w.]+/?) ", block, flags=re.MULTILINE)
    inside = {name for indent, name in names if len(indent) == 6}
    beside = {name for indent, name in names if len(indent) == 4}
    return inside, beside


def test_the_layout_names_every_package_and_file():
    package = ROOT / "kaggle_unet"
    packages = {f"{folder.parent.name}/" for folder in package.glob("*/__init__.py")}
    files = {file.name for file in package.glob("*.py")} - {"__main__.py"}
    assert layout()[0] == packages | files


def test_the_layout_names_only_folders_that_there_are():
    beside = layout()[1]
    assert {"configs/", "docs/", "tests/"} <= beside
    assert [name for name in beside if not (ROOT / name).is_dir()] == []


def test_contributing_lists_the_layers_that_are_checked():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    listed = text.partition("stands to its right:")[2].partition("A new file")[0]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = [set(layer.split(" | ")) for layer in contracts[0]["layers"][1:]]
    assert [set(re.findall(r"\w+", layer)) for layer in listed.split("→")] == layers


def rows(text):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_the_readmes_speed_is_that_of_the_long_table():
    short = rows(README.partition("## Speed")[2].partition("\n## ")[0])[2:]
    long = rows((ROOT / "docs" / "speed.md").read_text(encoding="utf-8"))[2:]
    assert short == [row[:3] for row in long]


def test_the_readmes_scores_are_in_the_long_table():
    long = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    short = re.findall(r"\*\*(0\.\d+)\*\*", README)
    assert len(short) >= 4
    assert [score for score in short if score not in long] == []


def slug(heading):
    """Return a heading's anchor as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if target.startswith("http"):
            continue
        text = file.read_text(encoding="utf-8") if file.suffix == ".md" and file.exists() else ""
        if not file.exists() or (anchor and anchor not in map(slug, re.findall(r"^#+ (.*)", text, re.MULTILINE))):
            dead.append(target)
    assert dead == []


NUMBER = r"(\d+(\.\d+)?)?"
COLUMNS = {
    "date": r"\d{4}-\d\d-\d\d",
    "commit": r"[0-9a-f]{7,40}",
    "config": r"(configs/[\w/]+\.yaml)?",
    "change": r'[^"]*',
    "data": r'[^"]+',
    "cpu_minutes": NUMBER,
    "score": r"[01]\.\d+",
    "low": NUMBER,
    "high": NUMBER,
    "train_score": NUMBER,
    "memory_gib": NUMBER,
    "verdict": "kept|discarded|rival",
    "entry": r"[\w-]+",
}


def find_faults(row, log, entries):
    """Return what in a row of the table of experiments is malformed, or is not what the log says."""
    faults = [column for column, pattern in COLUMNS.items() if not re.fullmatch(pattern, row[column])]
    text = entries.get(row["entry"], "")
    interval = f"({row['low']} to {row['high']})" if row["low"] or row["high"] else ""
    said = {
        "date": row["entry"].startswith(row["date"]),
        "config": (ROOT / row["config"]).exists() or row["config"] in log,
        "score": re.search(rf"(?<![\d.]){re.escape(row['score'])}(?!\d)", text),
        "interval": interval in text,
        "entry": text,
    }
    return faults + [name for name, found in said.items() if not found]


def test_the_table_of_experiments_says_what_the_log_says():
    log = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    entries = {slug(entry.partition("\n")[0]): entry for entry in re.split(r"^## ", log, flags=re.MULTILINE)[1:]}
    header, *lines = (ROOT / "docs" / "experiments.tsv").read_text(encoding="utf-8").splitlines()
    assert header.split("\t") == list(COLUMNS)
    rows = [dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in lines]
    dates = [date.fromisoformat(row["date"]) for row in rows]
    faults = [(number, *find_faults(row, log, entries)) for number, row in enumerate(rows, 2)]
    assert [fault for fault in faults if len(fault) > 1] == [], "line and columns of docs/experiments.tsv"
    assert dates == sorted(dates)


# The log and the decisions are dated: they may name what is gone since.
DATED = {"CHANGELOG.md", "experiments.md"}
LIVING = [page for page in PAGES if page.name not in DATED and page.parent.name != "decisions"]


def is_importable(name):
    """Return True if a dotted name is a module of the package or lies in one."""
    module, _, attribute = name.rpartition(".")
    try:
        return find_spec(name) is not None or hasattr(import_module(module), attribute)
    except ModuleNotFoundError:
        return hasattr(import_module(module), attribute)


@pytest.mark.parametrize("page", LIVING, ids=lambda page: page.name)
def test_files_and_modules_that_a_page_names_exist(page):
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"\b(?:kaggle_unet|configs|tests|scripts)/[\w./-]*\w", text)
    paths = [path for path in paths if not re.search(r"rooftops|/mine\.", path)]  # the reader's own, in examples
    files = [path for path in paths if not (ROOT / path).exists()]
    names = [name for name in re.findall(r"`(kaggle_unet(?:\.\w+)+)`", text) if not is_importable(name)]
    assert (files, names) == ([], [])


def test_the_functions_in_the_table_of_scores_exist():
    table = rows((ROOT / "docs" / "scores.md").read_text(encoding="utf-8").partition("## Edge")[0])
    functions = [name.strip("`") for _, _, _, name, _ in table[2:]]
    assert len(functions) >= 8
    assert [name for name in functions if not is_importable(f"kaggle_unet.metrics.{name}")] == []


@pytest.mark.parametrize("page", [settings_page, verbs_page], ids=["settings", "verbs"])
def test_a_generated_page_is_up_to_date(page):
    assert page.PAGE.read_text(encoding="utf-8") == page.render(), "run scripts/api"


@pytest.fixture(scope="module")
def command_line():
    """Options by verb, those of all verbs included, and the keys that --set takes."""
    command = get_command(app)
    everywhere = {option for param in command.params for option in param.opts}
    verbs = {
        " ".join(words): everywhere
        | {option for param in verb.params for option in (*param.opts, *param.secondary_opts)}
        for words, verb in walk_verbs(command)
    }
    keys = {
        row[0]
        for section, field in Config.model_fields.items()
        for settings in find_settings(field.annotation)
        for row in list_keys(settings, section)
    }
    return verbs, keys


def walk_verbs(command, *words):
    """Yield all verbs with their words, such as config show."""
    for name, verb in command.commands.items():
        yield from walk_verbs(verb, *words, name) if hasattr(verb, "commands") else [((*words, name), verb)]


@pytest.mark.parametrize("page", LIVING, ids=lambda page: page.name)
def test_commands_that_a_page_shows_have_these_verbs_options_and_keys(page, command_line):
    verbs, keys = command_line
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    wrong = []
    for line in re.findall(r"^ {4,}(?:\w+=\S+ )?kaggle-unet (?!VERB|help)(.+?)(?: {2,}#.*| &)?$", text, re.MULTILINE):
        words = re.sub(r"^(-\S+ )+", "", line).split()
        verb = " ".join(words[:2]) if " ".join(words[:2]) in verbs else words[0]
        options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        unknown = options - verbs.get(verb, set())
        set_keys = {key.partition("=")[0] for key in re.findall(r"--set[ =](\S+=)", line)} - {
            "KEY",
            "loss.tversky",
        }  # of add-loss.md
        wrong += [line] * bool(verb not in verbs or unknown or set_keys - keys)
    assert wrong == []


@pytest.mark.parametrize("section", list(Config.model_fields))
def test_every_setting_says_what_it_means(section):
    variants = find_settings(Config.model_fields[section].annotation)
    keys = [row for settings in variants for row in list_keys(settings, section)]
    assert keys
    assert [key for key, _, values, meaning in keys if len(meaning) < 10 or not values] == []
