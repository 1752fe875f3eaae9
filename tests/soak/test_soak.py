"""The soak finds faults that are put in its way, goes on where it was, and its quick run finds none."""

import os
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.errors import DataError
from kaggle_unet.types import Sample
from tests.files import png
from tests.soak.broken_csvs import BREAKS, OF_FILES, OF_SUBMISSIONS
from tests.soak.broken_csvs import try_once as try_csv
from tests.soak.damage import repair_png
from tests.soak.fuzz import try_once
from tests.soak.home import End
from tests.soak.kills import VERBS
from tests.soak.long_runs import Meter
from tests.soak.odd_data import compare, draw
from tests.soak.page import PAGE, PROMISES, TESTS, read_kept, render
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


def test_every_verb_that_writes_is_killed():
    from kaggle_unet.cli.app import VERBS as ALL

    assert set(ALL) - {name.split()[0] for name in VERBS} == {
        "demo",
        "bench-train",
        "check",
        "doctor",
        "config show",
        "config diff",
        "config schema",
    }


@pytest.mark.parametrize("name", [*BREAKS, *OF_SUBMISSIONS, *OF_FILES])
def test_a_csv_broken_in_a_known_way_is_caught_and_its_unbroken_twin_is_not(name, tmp_path):
    path, rng = tmp_path / "x.csv", random.Random(name)
    assert try_csv(path, get_competition("dsb2018"), name, rng) == ""


def test_a_broken_csv_that_passes_is_a_fault(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.soak.broken_csvs.check_submission", lambda *_: ([], []))
    said = try_csv(tmp_path / "x.csv", get_competition("tgs"), "runs out of order", random.Random(1))
    assert said.startswith("check does not name line")


def test_odd_data_that_are_read_to_other_values_are_a_fault():
    drawn = draw(np.random.default_rng(1))
    samples = [Sample(id_, image, labels.astype(np.int32)) for id_, (image, labels) in drawn.items()]
    assert compare(samples, drawn) == ""
    merged = {id_: (image, np.minimum(labels, 4)) for id_, (image, labels) in drawn.items()}
    assert "other labels" in compare(samples, merged)
    assert "another image" in compare(samples, {id_: (255 - image, labels) for id_, (image, labels) in drawn.items()})
    assert compare(samples[1:], drawn) == "3 samples of 4"


def test_what_a_process_takes_is_measured_once_it_has_started(tmp_path):
    (tmp_path / "x.tmp").touch()
    for waits_for in (b"another program", b""):
        meter = Meter(tmp_path, waits_for)
        meter(os.getpid())
        assert (meter.peak > 2**20, meter.n_files > 3) == (not waits_for, not waits_for)


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


def test_every_promise_names_a_part_of_the_soak_or_a_test_that_is_there(repository):
    for promise, places in PROMISES.items():
        assert places, promise
        for place in places:
            file, _, name = place.partition("::")
            assert place in TESTS or f"def {name}" in (repository / file).read_text(), place
