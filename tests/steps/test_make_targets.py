"""make-targets reads every sample once, whatever it needs to know of the set first."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image

from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import load_config
from kaggle_unet.data.settings import FoldSettings
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.steps.data_report import measure_sample
from kaggle_unet.steps.make_targets import divide, make_targets, open_targets
from kaggle_unet.steps.parallel import map_samples
from kaggle_unet.store import Store, write_record
from kaggle_unet.synthetic.files import write_dsb_zip
from kaggle_unet.types import Sample
from tests.steps.conftest import CONFIGS, call


@pytest.fixture
def drawn(drawn_config):
    """Drawn nuclei whose config has a size weight without reference area."""
    config, data, _ = drawn_config("dsb2018")
    assert "size: {}" in CONFIGS["dsb2018"]
    return load_config(config), str(data)


def test_a_second_call_shows_what_is_there_as_done(drawn, tmp_path):
    make_targets(drawn[0], drawn[1], tmp_path / "store")
    for path in sorted((tmp_path / "store" / "samples").glob("*.npz"))[5:]:
        path.unlink()
    shown = []
    make_targets(drawn[0], drawn[1], tmp_path / "store", on_progress=lambda *words: shown.append(words))
    assert [done for what, done, _ in shown if what == "samples"] == [5, 5, 5, 5, 5, 6, 7, 8]


class Watched:
    """A source that remembers which samples were read from it."""

    def __init__(self, config, data):
        self.source = get_competition("dsb2018").read(data, config.competition, with_masks=True)
        self.loaded = []

    def __getattr__(self, name):
        return getattr(self.source, name)

    def load(self, sample_id):
        self.loaded.append(sample_id)
        return self.source.load(sample_id)


def test_files_are_decoded_once_even_where_the_median_area_is_needed_first(drawn, tmp_path):
    source = Watched(*drawn)
    report = make_targets(drawn[0], source, tmp_path)

    assert sorted(source.loaded) == list(Store.open(tmp_path).ids)
    assert report["weights"]["size"]["reference_area_px"] == report["area_px"]["median"]


def test_samples_that_are_finished_are_described_without_their_files(drawn, tmp_path):
    source = Watched(*drawn)
    first = make_targets(drawn[0], source, tmp_path)
    source.loaded.clear()

    assert make_targets(drawn[0], source, tmp_path) == first
    assert source.loaded == []


def arrays(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.npz")}


def test_targets_that_an_interrupted_run_owes_are_made(drawn, tmp_path):
    make_targets(*drawn, tmp_path)
    before = arrays(tmp_path)
    sorted(tmp_path.glob("targets/*/*.npz"))[0].unlink()

    make_targets(*drawn, tmp_path)

    assert arrays(tmp_path) == before


@pytest.mark.parametrize("half", ["samples", "targets/*"])
def test_what_a_power_cut_has_left_of_an_interrupted_run_is_made_anew(drawn, tmp_path, half):
    make_targets(*drawn, tmp_path)
    wanted = arrays(tmp_path)
    damaged = sorted(tmp_path.glob(f"{half}/*.npz"))[2]
    damaged.write_bytes(damaged.read_bytes()[:-40])
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    write_record(tmp_path / "manifest.json", {**manifest, "complete": False})

    make_targets(*drawn, tmp_path)

    assert arrays(tmp_path) == wanted


WIDER = ["codec.border.radius_px=3", "codec.name=mask_border", "weights.distance.w0=7", "weights.size.gamma=0.9"]


@pytest.mark.parametrize("change", WIDER)
def test_another_codec_border_or_weight_is_added_without_the_data(drawn_config, tmp_path, change):
    path, data, _ = drawn_config("dsb2018")
    config, changed = load_config(path), load_config(path, [change])
    first = make_targets(config, str(data), tmp_path / "both")
    make_targets(changed, str(data), tmp_path / "alone")
    data.unlink()

    report = make_targets(changed, str(data), tmp_path / "both")

    store, alone = Store.open(tmp_path / "both"), Store.open(tmp_path / "alone")
    assert report == alone.report == store.report
    assert list(report["area_px"]) == list(first["area_px"]) == ["min", "p5", "median", "p95", "max"]
    for id_ in store.ids:
        (planes, weights), (wanted, wanted_weights) = (open_targets(changed, one).read(id_) for one in (store, alone))
        np.testing.assert_array_equal(planes, wanted)
        np.testing.assert_array_equal(weights, wanted_weights)
    assert len(list((tmp_path / "both" / "targets").iterdir())) == 2
    assert open_targets(config, store).is_complete, "those of the first call are kept"


def test_data_that_are_gone_are_missed_where_the_store_was_made_of_others(drawn_config, tmp_path):
    path, data, _ = drawn_config("dsb2018")
    make_targets(load_config(path), str(data), tmp_path / "store")
    data.rename(data.with_name("moved.zip"))
    for config, name in (
        (load_config(path), data.with_name("other.zip")),
        (load_config(path, ["competition.skip=[x]"]), data),
    ):
        with pytest.raises(DataError, match="no such file or folder"):
            make_targets(config, str(name), tmp_path / "store")
    with pytest.raises(DataError, match=rf"with --data {data}, {tmp_path}/store needs no files"):
        make_targets(load_config(path), str(data.with_name("other.zip")), tmp_path / "store")


def test_data_that_are_gone_may_be_spelled_another_way(drawn_config, tmp_path, monkeypatch):
    path, data, _ = drawn_config("dsb2018")
    monkeypatch.chdir(data.parent)
    first = make_targets(load_config(path), data.name, tmp_path)
    data.unlink()
    for spelled in (f"./{data.name}", str(data)):
        assert make_targets(load_config(path), spelled, tmp_path) == first


def test_data_that_have_changed_are_refused_by_a_store_of_the_old(drawn_config, tmp_path):
    path, data, _ = drawn_config("dsb2018")
    make_targets(load_config(path), str(data), tmp_path)
    write_dsb_zip(data, 5, 8, shape=(48, 56))
    with pytest.raises(DataError, match=rf"something else.*\n.*data: was {data}, is {data} with other content"):
        make_targets(load_config(path, ["codec.name=mask_border"]), str(data), tmp_path)
    other = data.rename(data.with_name("other.zip"))
    with pytest.raises(DataError, match=rf"something else.*\n.*data: was {data}, is {other}$"):
        make_targets(load_config(path), str(other), tmp_path)


def test_targets_that_are_not_there_are_named_with_what_the_others_were_made_with(drawn_config, tmp_path):
    path, data, _ = drawn_config("dsb2018")
    make_targets(load_config(path), str(data), tmp_path)
    make_targets(load_config(path, ["codec.name=mask_border"]), str(data), tmp_path)
    wanted = load_config(path, ["codec.name=mask_border", "codec.border.radius_px=2"])
    match = rf"no targets for this config, which differs in codec.border.radius_px; to add them, run .* --data {data}"
    with pytest.raises(ConfigError, match=match):
        open_targets(wanted, Store.open(tmp_path))


def test_progress_counts_samples_and_then_targets(drawn, tmp_path):
    steps = []

    make_targets(*drawn, tmp_path, on_progress=lambda *step: steps.append(step))

    assert steps == [(what, done, 8) for what in ("samples", "targets") for done in range(1, 9)]


def test_the_round_trip_score_is_the_mean_score_of_the_decoded_targets(drawn, tmp_path):
    config, data = drawn
    blind = config.model_copy(update={"decode": config.decode.model_copy(update={"min_seed_px": 10**6})})

    assert make_targets(config, data, tmp_path / "seeing")["ceiling"] > 0.9
    assert make_targets(blind, data, tmp_path / "blind", allow=["doubtful masks"])["ceiling"] < 0.9


def test_stored_samples_are_divided_as_they_were_when_they_were_made(drawn, tmp_path):
    config, data = drawn
    make_targets(config, data, tmp_path)
    store = Store.open(tmp_path)

    rows = divide([measure_sample(store.read(id_)) for id_ in store.ids], config.folds)

    assert dict(zip(rows["id"], rows["fold"], strict=True)) == store.folds


def test_folds_by_kind_hold_out_a_whole_type_each():
    kinds = ["gray-dark"] * 9 + ["colour"] * 3 + ["gray-bright"]
    blank = np.zeros((8, 8), np.uint8)
    samples = [Sample(f"id{number}", blank, blank.astype(np.int32), kind=kind) for number, kind in enumerate(kinds)]

    rows = divide([measure_sample(sample) for sample in samples], FoldSettings(n=3, group="kind"))

    assert rows.groupby("fold")["kind"].unique().map(list).tolist() == [["gray-dark"], ["colour"], ["gray-bright"]]
    with pytest.raises(ConfigError, match=r"folds.group kind: 3 kinds of images can't be divided into 4 folds"):
        divide([measure_sample(sample) for sample in samples], FoldSettings(n=4, group="kind"))


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_ids(workers):
    ids = [f"id{number}" for number in np.random.default_rng(0).permutation(64)]

    assert list(map_samples(str.upper, ids, workers)) == [id_.upper() for id_ in ids]


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_exported_files_hold_what_the_store_holds(drawn_config, tmp_path, suffix):
    path, data, _ = drawn_config("dsb2018")
    words = ("--data", data, "--store", tmp_path / "store", "--export", suffix, tmp_path / "out")
    answer = call("make-targets", path, *words)
    assert answer.code == 0, answer.err

    store, targets = Store.open(tmp_path / "store"), open_targets(load_config(path), Store.open(tmp_path / "store"))
    about = json.loads((tmp_path / "out" / "export.json").read_text())
    assert about["planes"] == ["interior", "border", "background"]
    scales = {"png": (255, 1000, 0.5), "tiff": (1, 1, 0)}
    high, one, rounded = scales[suffix]
    assert about["weight_of_1"] == one
    for id_ in store.ids:

        def read(kind, id_=id_):
            file = tmp_path / "out" / kind / f"{id_}.{suffix}"
            return np.asarray(Image.open(file)) if suffix == "png" else tifffile.imread(file)

        sample, (planes, weights) = store.read(id_), targets.read(id_)
        np.testing.assert_array_equal(read("images"), sample.image)
        np.testing.assert_array_equal(read("labels"), sample.labels)
        np.testing.assert_allclose(read("weights"), weights * one, rtol=0, atol=rounded)
        for name, plane in zip(about["planes"], planes, strict=True):
            np.testing.assert_array_equal(read(f"planes/{name}"), plane * high)
    assert read("weights").dtype == {"png": np.uint16, "tiff": np.float32}[suffix]
    assert not list((tmp_path / "out").rglob(".*"))


def test_an_export_that_16_bits_cannot_hold_names_the_format_that_can(drawn_config, tmp_path):
    path, data, _ = drawn_config("dsb2018")
    heavy = ("--set", "weights.classes.border=80", "--set", "weights.cap=100")
    words = ("make-targets", path, "--data", data, "--store", tmp_path / "store", *heavy, "--export")
    answer = call(*words, "png", tmp_path / "out")
    assert (answer.code, "take --export tiff" in answer.err) == (2, True)
    assert call(*words, "tiff", tmp_path / "out").code == 0
    answer = call(*words, "jpg", tmp_path / "out")
    assert (answer.code, "expected png or tiff" in answer.err) == (2, True)


def test_images_of_two_channels_are_refused_until_one_or_both_are_chosen(tmp_path):
    image, labels = np.random.default_rng(0).integers(0, 999, (2, 32, 32), np.uint16), np.zeros((32, 32), np.uint16)
    labels[4:12, 4:12], labels[16:28, 16:28] = 1, 2
    for name in "abcd":
        for folder, pixels in (("images", image), ("masks", labels)):
            (tmp_path / "cells" / folder).mkdir(parents=True, exist_ok=True)
            options = {"metadata": {"axes": "CYX"}} if folder == "images" else {}
            tifffile.imwrite(tmp_path / "cells" / folder / f"{name}.tif", pixels, photometric="minisblack", **options)
    config = tmp_path / "two.yaml"
    config.write_text("competition: {name: folder}\nfolds: {n: 2}\n")
    words = ["make-targets", config, "--data", tmp_path / "cells", "--store", tmp_path / "store", "--workers", 1]
    answer = call(*words)
    assert answer.code == 3
    assert "sample 'd' has 2 channels; choose with input.channels from channel0, channel1" in answer.err
    assert call(*words, "--set", "input.channels=[channel1, channel0]").code == 0
    words[5] = tmp_path / "one"
    assert call(*words, "--set", "competition.channel=1").code == 0
    np.testing.assert_array_equal(Store.open(tmp_path / "one").read("a").image, image[1])
