"""`vote` through the command line: what comes out, what is refused, and what is left behind then."""

import csv
import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from kaggle_unet.competitions import submission
from kaggle_unet.competitions.submission import read_submission, write_submission
from kaggle_unet.masks.labels import relabel_in_raster_order
from kaggle_unet.masks.rle import decode
from kaggle_unet.store import sha256
from kaggle_unet.types import Labels
from tests.steps.conftest import COMMON, CONFIGS, call, draw


@dataclass(frozen=True)
class Drawn:
    """A drawn competition's test set, and submissions for it."""

    name: str
    home: Path
    data: Path
    truth: dict[str, Labels]

    @property
    def config(self):
        return self.home / "tiny.yaml"

    def write(self, name, change):
        """Write what `change` makes of each image's true labels."""
        path = self.home / "in" / f"{name}.csv"
        write_submission(path, {id_: change(one) for id_, one in self.truth.items()}, self.name)
        return path

    def read(self, path):
        """Read a CSV's labels, numbered by appearance."""
        rles = read_submission(path, self.name)
        return {id_: relabel_in_raster_order(decode(rles[id_], one.shape)) for id_, one in self.truth.items()}

    def vote(self, *csvs, output=None, weights=(), words=()):
        options = [word for path in csvs for word in ("--csv", path)]
        options += [word for weight in weights for word in ("--weight", weight)]
        output = output or self.home / "out" / "vote.csv"
        return call("vote", self.config, *options, "--data", self.data, "-o", output, *words), output


def make(name, home):
    _, data, truth = draw(name, home)
    (home / "tiny.yaml").write_text(CONFIGS[name] + COMMON)
    return Drawn(name, home, data, truth)


@pytest.fixture(params=list(CONFIGS))
def drawn(request, tmp_path):
    return make(request.param, tmp_path / "ü b")


@pytest.fixture
def nuclei(tmp_path):
    return make("dsb2018", tmp_path)


def same(labels):
    return labels


def lower(labels):
    """Move all objects one pixel down."""
    return np.pad(labels, ((1, 0), (0, 0)))[:-1]


def without_first(labels):
    return np.where(labels == 1, 0, labels)


def nothing(labels):
    return np.zeros_like(labels)


def assert_equal(found, wanted):
    assert found.keys() == wanted.keys()
    for id_, labels in found.items():
        np.testing.assert_array_equal(labels, relabel_in_raster_order(wanted[id_]))


def test_what_two_of_three_have_is_written_and_keeps_every_rule(drawn):
    answer, output = drawn.vote(drawn.write("a", same), drawn.write("b", nothing), drawn.write("c", same))

    assert answer.code == 0, answer.err
    assert_equal(drawn.read(output), drawn.truth)
    assert call("check", output, "--data", drawn.data, "--competition", drawn.name).code == 0


def test_what_one_of_three_has_vanishes(drawn):
    answer, output = drawn.vote(drawn.write("a", same), drawn.write("b", nothing), drawn.write("c", nothing))

    assert answer.code == 0, answer.err
    assert not any(labels.any() for labels in drawn.read(output).values())
    assert set(read_submission(output, drawn.name)) == set(drawn.truth)


def test_weights_follow_the_order_of_the_csvs(drawn):
    csvs = [drawn.write("a", nothing), drawn.write("b", same), drawn.write("c", nothing)]

    answer, output = drawn.vote(*csvs, weights=(1, 2.5, 1))
    assert answer.code == 0, answer.err
    assert_equal(drawn.read(output), drawn.truth)
    answer, output = drawn.vote(*csvs, weights=(1, 2, 1))  # a tie
    assert answer.code == 0, answer.err
    assert not any(labels.any() for labels in drawn.read(output).values())


def test_the_order_of_the_csvs_changes_no_byte(drawn):
    csvs = [drawn.write("a", same), drawn.write("b", lower), drawn.write("c", without_first)]

    first = drawn.vote(*csvs)[1].read_bytes()
    second = drawn.vote(*csvs[::-1])[1].read_bytes()

    assert first == second


def every_third_column(labels):
    return np.where(np.arange(labels.shape[1]) % 3 == 0, labels, 0)


def other_columns(labels):
    return np.where(np.arange(labels.shape[1]) % 3 == 0, 0, labels)


def test_masks_of_which_each_pixel_has_two_of_three_votes_are_whole_salt_but_no_whole_nuclei(drawn):
    csvs = [drawn.write(change.__name__, change) for change in (every_third_column, other_columns, same)]

    answer, output = drawn.vote(*csvs)

    assert answer.code == 0, answer.err
    found = drawn.read(output)
    if drawn.name == "tgs":
        assert_equal(found, drawn.truth)
    else:  # a third of a nucleus is another object, so the third columns have one vote of the two that count
        assert_equal(found, {id_: other_columns(labels) for id_, labels in drawn.truth.items()})


def test_single_objects_of_a_folder_are_voted_on_as_pixels(tmp_path):
    cells = make("folder", tmp_path)
    words = ("--set", "codec.name=mask", "--set", "decode.single_object=true")
    half = next(iter(cells.truth.values())).shape[1] // 2
    csvs = [
        cells.write("left", lambda labels: np.where(np.arange(labels.shape[1]) < half, labels, 0)),
        cells.write("right", lambda labels: np.where(np.arange(labels.shape[1]) < half, 0, labels)),
        cells.write("all", same),
    ]

    answer, output = cells.vote(*csvs, words=words)

    assert answer.code == 0, answer.err
    assert_equal(cells.read(output), {id_: (one > 0).astype(np.int32) for id_, one in cells.truth.items()})


def test_the_manifest_says_what_voted(drawn):
    csvs = [drawn.write("a", same), drawn.write("b", lower)]
    answer, output = drawn.vote(*csvs, weights=(1, 1.5))

    text = output.with_suffix(".json").read_text()
    manifest = json.loads(text)
    assert [vote["name"] for vote in manifest["votes"]] == ["in/a.csv", "in/b.csv"]
    assert [vote["sha256"] for vote in manifest["votes"]] == [sha256(path) for path in csvs]
    assert [vote["weight"] for vote in manifest["votes"]] == [1, 1.5]
    n_objects = sum(int(labels.max()) for labels in drawn.truth.values())
    assert manifest["votes"][0]["objects"] == n_objects
    assert (manifest["csv"], manifest["sha256"]) == ("vote.csv", sha256(output))
    assert manifest["images"] == 4
    assert manifest["objects"] == sum(int(labels.max()) for labels in drawn.read(output).values())
    assert manifest["data"]["name"] == drawn.data.name
    assert manifest["config"]["competition"]["name"] == drawn.name
    assert str(drawn.home) not in text
    assert "in/a.csv 1, in/b.csv 1.5" in answer.out


def test_rows_follow_the_sample_submission_beside_the_data(nuclei):
    listed = list(nuclei.truth)[::-1]
    (nuclei.home / "stage1_sample_submission.csv").write_text(
        "\n".join(["ImageId,EncodedPixels", *(f"{id_},1 1" for id_ in listed), ""])
    )
    _, output = nuclei.vote(nuclei.write("a", same), nuclei.write("b", same))

    with output.open() as file:
        ids = list(dict.fromkeys(line[0] for line in list(csv.reader(file))[1:]))
    assert ids == listed


def test_submissions_that_share_only_their_name_vote_once_each(nuclei):
    a, b = nuclei.write("one/a", same), nuclei.write("two/a", lower)
    assert not nuclei.vote(a, b)[0].err.count("warning")


def test_votes_that_are_unusual_are_warned_of(nuclei):
    a, b = nuclei.write("a", same), nuclei.write("b", lower)

    answer, output = nuclei.vote(a, a, weights=(1, 1))
    assert "a.csv is the same file as a.csv: it votes twice" in answer.err
    assert json.loads(output.with_suffix(".json").read_text())["warnings"][0].endswith("votes twice")
    answer, output = nuclei.vote(a, b, weights=(2, 1))
    assert "a.csv weighs more than all others together" in answer.err
    assert_equal(nuclei.read(output), nuclei.truth)
    assert not nuclei.vote(a, b)[0].err.count("warning")


@pytest.mark.parametrize(
    ("weights", "said"),
    [((1,), "--weight: 1 given for 2 CSVs"), ((1, 2, 3), "--weight: 3 given for 2 CSVs"), ((1, 0), "above 0")],
)
def test_weights_that_do_not_fit_are_a_usage_error(nuclei, weights, said):
    answer, output = nuclei.vote(nuclei.write("a", same), nuclei.write("b", same), weights=weights)

    assert (answer.code, said in answer.err, output.exists()) == (2, True, False)


def test_one_csv_is_no_vote(nuclei):
    answer, output = nuclei.vote(nuclei.write("a", same))

    assert (answer.code, "two or more" in answer.err, output.exists()) == (2, True, False)


@pytest.mark.parametrize("name", ["vote.txt", "vote"])
def test_an_output_that_is_no_csv_is_a_usage_error(nuclei, name):
    answer, output = nuclei.vote(nuclei.write("a", same), nuclei.write("b", same), output=nuclei.home / name)

    assert (answer.code, ".csv" in answer.err, output.exists()) == (2, True, False)


def test_a_csv_that_votes_is_not_replaced(nuclei):
    a, b = nuclei.write("a", same), nuclei.write("b", lower)
    before = b.read_bytes()

    answer, _ = nuclei.vote(a, b, output=nuclei.home / "out" / ".." / "in" / "b.csv")

    assert (answer.code, "another path" in answer.err) == (2, True)
    assert b.read_bytes() == before


def test_a_csv_for_other_images_is_named_with_what_is_missing_and_what_is_too_much(nuclei):
    a, b = nuclei.write("a", same), nuclei.write("b", same)
    one = next(iter(nuclei.truth))
    b.write_text(b.read_text().replace(one, "elsewhere"))

    answer, output = nuclei.vote(a, b)

    assert answer.code == 3
    assert "b.csv: breaks 2 rules" in answer.err
    assert f"1 image without a row: {one}" in answer.err.replace("\n", " ")
    assert "1 id not in the test set: elsewhere" in answer.err.replace("\n", " ")
    assert "a.csv" not in answer.err
    assert not output.parent.exists()


def test_a_csv_that_check_refuses_cannot_vote(nuclei):
    a, b = nuclei.write("a", same), nuclei.write("b", same)
    lines = b.read_text().splitlines()
    b.write_text("\n".join([*lines, lines[1], ""]))  # the first object twice: it overlaps itself

    answer, output = nuclei.vote(a, b)

    checked = call("check", b, "--data", nuclei.data, "--competition", nuclei.name)
    assert (answer.code, checked.code) == (3, 3)
    assert answer.err == checked.err
    assert "objects must not overlap" in answer.err
    assert not output.exists()


def test_images_that_cannot_be_read_have_empty_rows_for_check_and_vote(nuclei, tmp_path):
    broken, *_ = nuclei.truth
    with zipfile.ZipFile(nuclei.data) as archive:
        archive.extractall(tmp_path / "test")
    for path in (tmp_path / "test").rglob(f"{broken}.png"):
        path.write_bytes(path.read_bytes()[:20])
    nuclei = replace(nuclei, data=tmp_path / "test")
    full = nuclei.write("full", same)
    nuclei.truth[broken] = np.zeros_like(nuclei.truth[broken])
    a, b = nuclei.write("a", same), nuclei.write("b", lower)
    for answer in (
        call("check", a, "--data", nuclei.data, "--competition", nuclei.name),
        nuclei.vote(a, b, words=("--weight", 2, "--weight", 1))[0],
    ):
        said = " ".join(answer.err.split())
        assert (answer.code, f"{broken}.png is damaged" in said) == (0, True)
    assert nuclei.read(nuclei.home / "out" / "vote.csv")[broken].max(initial=0) == 0
    refused = call("check", full, "--data", nuclei.data, "--competition", nuclei.name)
    assert (refused.code, f"{broken}.png is damaged" in " ".join(refused.err.split())) == (3, True)


@pytest.mark.parametrize("text", [None, "", "id,rle_mask\na,\n"])
def test_a_csv_that_is_missing_or_of_another_competition_is_named(nuclei, text):
    a, b = nuclei.write("a", same), nuclei.home / "in" / "b.csv"
    if text is not None:
        b.write_text(text)

    answer, output = nuclei.vote(a, b)

    assert (answer.code, "b.csv" in answer.err, output.exists()) == (3, True, False)


def test_a_result_that_breaks_a_rule_replaces_nothing(nuclei, monkeypatch):
    csvs = nuclei.write("a", same), nuclei.write("b", lower)
    _, output = nuclei.vote(*csvs)
    before = [path.read_bytes() for path in (output, output.with_suffix(".json"))]
    check = submission.check_submission

    def refuse_result(csv, *rest, **options):
        return (["a rule is broken"], []) if ".rejected" in csv.name else check(csv, *rest, **options)

    monkeypatch.setattr(submission, "check_submission", refuse_result)

    answer, _ = nuclei.vote(csvs[1], csvs[1])

    assert (answer.code, "a rule is broken" in answer.err) == (3, True)
    assert [path.read_bytes() for path in (output, output.with_suffix(".json"))] == before
    assert output.with_name(f".{output.stem}.rejected.csv").exists()
