"""Submissions broken in known ways: `check` and reading them as masks name the line; their unbroken twins pass."""

import random
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from kaggle_unet.competitions.competition import Competition, CompetitionSettings
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.competitions.submission import check_submission, write_submission
from kaggle_unet.competitions.truth import read_truth
from kaggle_unet.errors import DataError
from kaggle_unet.synthetic.images import draw_nuclei
from tests.soak.row import Plan, Row

PROMISE = "`check` names the line (of an image left out, its id), as does reading it as masks; its unbroken twin passes"
SHAPE = (101, 101)  # of a tile of TGS, whose CSVs do not say it
N_PX = SHAPE[0] * SHAPE[1]
Lines = list[str]
Break = Callable[[Lines, int, random.Random], Lines]  # from the rows and the place of one of them to broken rows


def _recode(change: Callable[[str, random.Random], str]) -> Break:
    """Return what changes the code of a row."""

    def broken(lines: Lines, at: int, rng: random.Random) -> Lines:
        id_, code = lines[at].split(",")
        return [*lines[:at], f"{id_},{change(code, rng)}", *lines[at + 1 :]]

    return broken


def _renumber(first: int, change: Callable[[str, random.Random], object]) -> Break:
    """Return what changes one of the starts (0) or lengths (1) of a code."""

    def recode(code: str, rng: random.Random) -> str:
        numbers = code.split()
        at = rng.randrange(first, len(numbers), 2)
        return " ".join([*numbers[:at], str(change(numbers[at], rng)), *numbers[at + 1 :]])

    return _recode(recode)


def _swap(code: str, rng: random.Random) -> str:
    numbers = code.split()
    at = rng.randrange(2, len(numbers), 2)
    return " ".join([*numbers[: at - 2], *numbers[at : at + 2], *numbers[at - 2 : at], *numbers[at + 2 :]])


def _reline(change: Callable[[str, random.Random], str]) -> Break:
    """Return what changes a row."""
    return lambda lines, at, rng: [*lines[:at], change(lines[at], rng), *lines[at + 1 :]]


def _id(lines: Lines, at: int) -> str:
    return lines[at].partition(",")[0]


def _insert(data: bytes, rng: random.Random, behind: bytes, what: bytes) -> bytes:
    at = rng.choice([found.end() for found in re.finditer(behind, data)])
    return data[:at] + what + data[at:]


NO_NUMBERS = ("nan", "None", "x", "1e3", "0x1f", "\u0661", "\u00bd", "1_0", "+", "-", "1'0")
BREAKS: Mapping[str, Break] = {
    "a start of 0 or less": _renumber(0, lambda start, rng: -rng.randrange(99)),
    "a length of 0 or less": _renumber(1, lambda length, rng: -rng.randrange(99)),
    "a run past the last pixel": _recode(
        lambda code, rng: f"{code} {N_PX - rng.randrange(9)} {10 + rng.randrange(99)}"
    ),
    "a start past the last pixel": _recode(lambda code, rng: f"{code} {N_PX + 1 + rng.randrange(10**9)} 1"),
    "runs out of order": _recode(_swap),
    "runs that overlap": _recode(lambda code, rng: f"{code} {' '.join(code.split()[-2:])}"),
    "a number too few": _recode(lambda code, rng: code.rpartition(" ")[0]),
    "a number too many": _recode(lambda code, rng: f"{code} {rng.randrange(1, N_PX)}"),
    "a number with a point": _renumber(0, lambda start, rng: f"{start}.{rng.randrange(99)}"),
    "no number": _renumber(1, lambda length, rng: rng.choice(NO_NUMBERS)),
    "a number of 30 digits": _renumber(0, lambda start, rng: f"{start}{'9' * 30}"),
    "another separator": _recode(lambda code, rng: code.replace(" ", rng.choice(";:|/_"))),
    "a field too many": _reline(lambda line, rng: f"{line},{rng.randrange(9)}"),
    "a field too few": _reline(lambda line, rng: line.partition(",")[0]),
    "cut off within a row": lambda lines, at, rng: [*lines[:at], lines[at].rpartition(" ")[0]],
}
OF_SUBMISSIONS: Mapping[str, Break] = {  # read as masks, such rows are sound
    "an image left out": lambda lines, at, rng: [line for line in lines if _id(lines, at) != _id([line], 0)],
    "a foreign id": _reline(lambda line, rng: rng.choice(["x", " ", "0", "\u0430"]) + line),
    "a row that comes twice": lambda lines, at, rng: [*lines, lines[at]],
    "an empty row beside others": lambda lines, at, rng: [*lines, f"{_id(lines, at)},"],
}
OF_FILES: Mapping[str, Callable[[str, random.Random], bytes]] = {
    "another header": lambda text, rng: rng.choice([text.swapcase(), f"n{text}"]).encode(),
    "no header": lambda text, rng: text.partition("\n")[2].encode(),
    "another encoding": lambda text, rng: text.encode(rng.choice(["utf-16", "utf-32"])),
    "bytes that are no text": lambda text, rng: _insert(text.encode(), rng, b".", b"\xff"),
    "a quote that stays open": lambda text, rng: _insert(text.encode(), rng, b",", b'"'),
}


def rows(plan: Plan) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Yield a row per way of breaking."""
    names = [*BREAKS, *OF_SUBMISSIONS, *OF_FILES]
    for name in names[::9] if plan.quick else names:
        yield name, partial(break_all, name, plan)


def break_all(name: str, plan: Plan) -> Row:
    """Break drawn submissions of both competitions in one way."""
    row = Row("broken CSVs", name, PROMISE)
    plan.home.mkdir(parents=True, exist_ok=True)
    for number in range(plan.tries(full=60, quick=2)):
        rng = random.Random(f"{plan.seed}/{name}/{number}")
        competition = get_competition(("dsb2018", "tgs")[number % 2])
        path = plan.home / f"{competition.name}.csv"
        fault = try_once(path, competition, name, rng)
        row.add("wrong" if fault else "refused", f"{number}: {fault}")
    return row


def try_once(path: Path, competition: Competition, name: str, rng: random.Random) -> str:
    """Write a sound CSV and its broken twin; say what is wrong with how they are judged."""
    drawn = np.random.default_rng(rng.getrandbits(32))
    labels = {f"{rng.getrandbits(40):010x}": draw_nuclei(drawn, SHAPE, n=4)[1] for _ in range(4)}
    write_submission(path, labels, competition.name)
    sound = path.read_text()
    for judge in (check, read):
        if said := judge(path, sound.encode(), competition, list(labels)):
            return f"the unbroken twin is refused: {said}"
    header, *lines = sound.splitlines()
    at = rng.choice([at for at, line in enumerate(lines) if line.count(" ") > 2])
    if name in OF_FILES:
        data = OF_FILES[name](sound, rng)
        first = next(at for at, (one, other) in enumerate(zip(sound.encode(), data, strict=False)) if one != other)
        wanted = f"line {data[:first].count(10) + 1}"
    else:
        broken = (BREAKS | OF_SUBMISSIONS)[name](lines, at, rng)
        data = "\n".join([header, *broken, ""]).encode()
        has_line = name in BREAKS or len(broken) == len(lines)
        wanted = f"line {at + 2}" if has_line else _id(lines, at)
    for judge in (check, read) if name not in OF_SUBMISSIONS else (check,):
        said = judge(path, data, competition, list(labels))
        if not re.search(rf"{re.escape(wanted)}\b|has the columns", said):
            return f"{judge.__name__} does not name {wanted}: {said or 'nothing'}"
    return ""


def check(path: Path, data: bytes, competition: Competition, ids: list[str]) -> str:
    """Say what `check` finds."""
    path.write_bytes(data)
    return "; ".join(check_submission(path, competition, dict.fromkeys(ids, SHAPE))[0])


def read(path: Path, data: bytes, competition: Competition, ids: list[str]) -> str:
    """Say why a CSV cannot be read as masks, to which those of DSB2018 add sizes."""
    if competition.fixed_shape is None:
        header, *lines = data.split(b"\n")
        data = b"\n".join([header + b",Height,Width", *(line and line + b",101,101" for line in lines)])
    path.write_bytes(data)
    try:
        truth = read_truth(str(path), competition, CompetitionSettings(name=competition.name))
        return "" if len({id_: truth[id_] for id_ in ids}) == len(ids) else "images are missing"
    except DataError as error:
        return str(error)
