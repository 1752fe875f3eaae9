"""The soak finds faults that are put in its way, goes on where it was, and its quick run finds none."""

import os
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from kaggle_unet.errors import DataError
from tests.files import png
from tests.soak.damage import repair_png
from tests.soak.fuzz import try_once
from tests.soak.home import End
from tests.soak.kills import VERBS
from tests.soak.page import PAGE, TESTS, read_kept, render
from tests.soak.readers import Reader, find_broken_rule
from tests.soak.row import Row, keep_row, read_rows, table

SOUND = End(0, "", "", 1, 0)


def refuse(data):
    raise DataError("a reason that is long enough")


def outcome(read, check=lambda data, value: "", **more):
    reader = Reader([b"sound bytes"], read, check, **more)
    return try_once(reader, [repr(b"sound bytes")], random.Random(1), 0)[0]


def test_fuzzing_tells_values_refusals_and_faults_apart():
    assert outcome(lambda data: data) == "done"
    assert outcome(refuse) == "refused"
    assert outcome(lambda data: data, has_checksum=True) == "wrong"
    assert outcome(lambda data: 1, lambda data, value: "1 is not believed") == "wrong"
    assert outcome(lambda data: {}[data]) == "raw"
    assert outcome(lambda data: bytearray(2**62)) == "memory"


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({}, "done"),
        ({"code": 3, "err": "error x.png is damaged; get it again"}, "refused"),
        ({"code": 3, "err": "error "}, "raw"),
        ({"code": 1, "err": "Traceback (most recent call last)"}, "raw"),
        ({"code": -14}, "hang"),
        ({"orphans": 1}, "orphan"),
    ],
)
def test_commands_are_judged_by_what_they_say(change, verdict):
    assert replace(SOUND, **change).verdict()[0] == verdict


def test_finished_rows_are_kept_with_their_faults(tmp_path):
    row = Row("fuzz", "PNG", "promise")
    row.add("done")
    row.add("hang", "input 7")
    keep_row(tmp_path / "rows", row)
    assert read_rows(tmp_path / "rows") == [row]
    assert table([row]).endswith("| fuzz | PNG | 2 | 1 | 0 | 1 hang |")


def test_the_rules_of_a_submission_are_known():
    rules = {
        b"a,1 2": "",
        b"a,2 9": "run",
        b"a,2 2 1 1": "run",
        b"b,1 1": "row",
        b"a,": "",
        b"a,1 1\na,1 1": "overlaps",
    }
    for text, fault in rules.items():
        assert fault in find_broken_rule(b"ImageId,EncodedPixels\n" + text, {"a": (2, 2)}), text
        assert bool(fault) == bool(find_broken_rule(b"ImageId,EncodedPixels\n" + text, {"a": (2, 2)})), text


def test_repaired_checksums_are_right():
    sound = png(np.array([[0, 255]], np.uint8))
    broken = bytearray(sound)
    broken[30] ^= 1  # of the checksum of its header
    assert repair_png(bytes(broken)) == sound


def test_every_verb_of_the_pipeline_is_killed():
    from kaggle_unet.cli.app import VERBS as ALL

    assert set(ALL) - {name.split()[0] for name in VERBS} == {
        "demo",
        "init",
        "bench-train",
        "export",
        "kernel",
        "check",
        "score",
        "doctor",
        "config show",
        "config diff",
        "config schema",
    }


def test_a_quick_soak_finds_no_fault(tmp_path, repository):
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak.run", "--quick", "--seed", "4", "--folder", tmp_path],
        capture_output=True,
        text=True,
        cwd=repository,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-5000:] + done.stdout


def test_the_page_is_that_of_the_last_soak_and_every_part_is_on_it():
    from tests.soak.run import PARTS

    assert PAGE.read_text(encoding="utf-8") == render(read_kept()), "run python -m tests.soak.page"
    assert set(PARTS) == set(TESTS) >= {row.part for row in read_kept()}
