"""make-targets reads every sample once, whatever it needs to know of the set first."""

import json

import numpy as np
import pytest

from kaggle_unet.competitions.competition import FileSource
from kaggle_unet.config import load_config
from kaggle_unet.steps.make_targets import divide, make_targets
from kaggle_unet.steps.parallel import map_samples
from kaggle_unet.store import Store
from tests.steps.conftest import CONFIGS


@pytest.fixture
def drawn(drawn_config):
    """Drawn nuclei whose config has a size weight without reference area."""
    config, data, _ = drawn_config("dsb2018")
    assert "size: {}" in CONFIGS["dsb2018"]
    return load_config(config), str(data)


@pytest.fixture
def loaded(monkeypatch):
    """Ids in the order in which their files are read."""
    ids, load = [], FileSource.load

    def watch(source, sample_id):
        ids.append(sample_id)
        return load(source, sample_id)

    monkeypatch.setattr(FileSource, "load", watch)
    return ids


def test_files_are_decoded_once_even_where_the_median_area_is_needed_first(drawn, tmp_path, loaded):
    report = make_targets(*drawn, tmp_path)

    assert sorted(loaded) == list(Store.open(tmp_path).ids)
    assert report["weights"]["size"]["reference_area_px"] == report["area_px"]["median"]


def test_samples_that_are_finished_are_described_without_their_files(drawn, tmp_path, loaded):
    first = make_targets(*drawn, tmp_path)
    loaded.clear()

    assert make_targets(*drawn, tmp_path) == first
    assert loaded == []


def test_targets_that_an_interrupted_run_owes_are_made(drawn, tmp_path):
    make_targets(*drawn, tmp_path)
    store = Store.open(tmp_path)
    owed = tmp_path / "targets" / f"{store.ids[0]}.npz"
    before = owed.read_bytes()
    owed.unlink()

    make_targets(*drawn, tmp_path)

    assert owed.read_bytes() == before


@pytest.mark.parametrize("half", ["samples", "targets"])
def test_what_a_power_cut_has_left_of_an_interrupted_run_is_made_anew(drawn, tmp_path, half):
    make_targets(*drawn, tmp_path)
    wanted = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.glob("*/*.npz")}
    damaged = sorted(tmp_path.glob(f"{half}/*.npz"))[2]
    damaged.write_bytes(damaged.read_bytes()[:-40])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "complete": False}))

    make_targets(*drawn, tmp_path)

    assert {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.glob("*/*.npz")} == wanted


def test_progress_counts_samples_and_then_targets(drawn, tmp_path):
    steps = []

    make_targets(*drawn, tmp_path, on_progress=lambda *step: steps.append(step))

    assert steps == [(what, done, 8) for what in ("samples", "targets") for done in range(1, 9)]


def test_the_ceiling_is_the_mean_score_of_the_decoded_targets(drawn, tmp_path):
    config, data = drawn
    blind = config.model_copy(update={"decode": config.decode.model_copy(update={"min_seed_px": 10**6})})

    assert make_targets(config, data, tmp_path / "seeing")["ceiling"] > 0.9
    assert make_targets(blind, data, tmp_path / "blind")["ceiling"] < 0.9


def test_stored_samples_are_divided_as_they_were_when_they_were_made(drawn, tmp_path):
    config, data = drawn
    make_targets(config, data, tmp_path)
    store = Store.open(tmp_path)

    rows = divide((store.read(id_) for id_ in store.ids), config.folds)

    assert {row["id"]: row["fold"] for row in rows} == store.folds


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_ids(workers):
    ids = [f"id{number}" for number in np.random.default_rng(0).permutation(64)]

    assert list(map_samples(str.upper, ids, workers)) == [id_.upper() for id_ in ids]
