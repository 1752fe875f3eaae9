"""`tune` on drawn competitions, and what `submit` takes from it."""

import json
import re
import shutil
import signal
import subprocess
import sys
from multiprocessing import active_children
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from kaggle_unet.config import parse_config
from kaggle_unet.errors import ConfigError, ResourceError
from kaggle_unet.steps.console import Console
from kaggle_unet.steps.run import checkpoint_run, choose_decode_params, ensemble_folder, open_run
from kaggle_unet.steps.tune import TuneResult, _evaluation, list_images
from kaggle_unet.store import Store, write_record
from kaggle_unet.store.planes import describe_planes, read_planes, write_planes
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import BorderSettings
from tests.steps.conftest import Trained, call


@pytest.fixture
def doubtful(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the run whose planes are the truth, but never above 0.6: a threshold of 0.75 finds nothing."""
    run = tmp_path / "run"
    shutil.copytree(trained.run, run)
    codec = CODECS[yaml.safe_load((run / "config.yaml").read_text())["codec"]["name"]]
    store = Store.open(trained.store)
    for folder in run.glob("fold*/planes"):
        for id_ in describe_planes(folder)["ids"]:
            planes = codec.encode(store.read(id_).labels, BorderSettings())
            write_planes(folder, id_, np.where(planes > 0, 0.6, 0.1).astype(np.float32))
    return run


def tune(trained, run, *words):
    words = ("--run", run, "--store", trained.store, "--trials", 25, *words)
    return call("tune", trained.config, *words, "--set", "decode.mask_threshold=0.75")


def test_a_threshold_that_finds_nothing_is_replaced_and_submit_takes_what_was_found(trained, doubtful, tmp_path):
    answer = tune(trained, doubtful)
    assert answer.code == 0, answer.err
    result = json.loads((doubtful / "tune" / "result.json").read_text())
    assert result["before"] <= 0.5 < result["honest"]
    assert result["gain"] == pytest.approx(result["honest"] - result["before"])
    assert result["interval"][0] <= result["gain"] <= result["interval"][1]
    assert set(result["points"]) == {"fold 0", "fold 1"}
    gain, low, high = result["effects"]["decode.mask_threshold"]
    assert low <= gain <= high
    assert gain > 0  # without it nothing is found
    assert f"{result['honest']:.4f}" in answer.out
    found = yaml.safe_load((doubtful / "decode.yaml").read_text())
    assert found["decode"]["mask_threshold"] == result["point"]["decode.mask_threshold"] < 0.75
    for picture in ("landscape.png", "thresholds.png"):
        assert (doubtful / "tune" / picture).read_bytes().startswith(b"\x89PNG")
    by_threshold = {float(key): score for key, score in result["by_threshold"].items()}
    assert sorted(by_threshold) == pytest.approx(np.arange(1, 20) / 20)
    assert max(by_threshold.values()) == pytest.approx(by_threshold[0.55])
    assert by_threshold[0.75] == by_threshold[0.95] <= 0.5 < by_threshold[0.55]  # no sum of planes is above 0.7

    output = tmp_path / "x.csv"
    words = ["--data", trained.test, "--checkpoint", doubtful / "fold0", "-o", output]
    for extra, wanted in (
        ([], found["decode"]),
        (["--decode", "config"], None),
        (["--set", "decode.min_seed_px=1"], None),
    ):
        answer = call("submit", trained.config, *words, *extra)
        assert answer.code == 0, answer.err
        manifest = json.loads(output.with_suffix(".json").read_text())
        assert (manifest["decoding"] == "run/decode.yaml") == (wanted is not None)
        if wanted is not None:
            assert manifest["prediction"]["decode"] == wanted


def test_a_second_call_tries_nothing_again_and_more_trials_go_on(trained, doubtful):
    assert tune(trained, doubtful).code == 0
    (kept,) = (doubtful / "tune").glob("*.jsonl")
    before, first = kept.read_text(), (doubtful / "tune" / "result.json").read_text()
    assert tune(trained, doubtful).code == 0
    assert (doubtful / "tune" / "result.json").read_text() == first
    assert kept.read_text() == before
    assert tune(trained, doubtful, "--trials", 27).code == 0
    assert kept.read_text().startswith(before)
    assert json.loads((doubtful / "tune" / "result.json").read_text())["trials"] == 27


def test_a_single_fold_is_divided_by_groups(trained, doubtful):
    shutil.rmtree(doubtful / "fold1" / "planes")
    assert tune(trained, doubtful).code == 0
    result = json.loads((doubtful / "tune" / "result.json").read_text())
    assert set(result["points"]) == {f"part {number}" for number in range(4)}
    assert len(result["per_image"]) == 4


def test_where_nothing_is_gained_the_configs_values_stay(trained, doubtful):
    words = ("--run", doubtful, "--store", trained.store, "--trials", 3)
    start = ["decode.mask_threshold=0.5", "decode.seed_threshold=0.5", "postprocess.min_area_px=0",
             "postprocess.fill_holes_px=0"]  # fmt: skip
    answer = call("tune", trained.config, *words, *(word for one in start for word in ("--set", one)))
    assert answer.code == 0, answer.err
    result = json.loads((doubtful / "tune" / "result.json").read_text())
    assert not result["is_used"]
    assert result["before"] == 1
    found = yaml.safe_load((doubtful / "decode.yaml").read_text())
    assert found["decode"]["mask_threshold"] == 0.5


def test_a_run_without_planes_or_of_another_codec_is_refused(trained, doubtful):
    other = "mask" if trained.name != "tgs" else "mask_border"
    answer = tune(trained, doubtful, "--set", f"codec.name={other}", "--set", "decode.single_object=false")
    assert answer.code == 2
    for folder in doubtful.glob("fold*/planes"):
        shutil.rmtree(folder)
    answer = tune(trained, doubtful)
    assert answer.code == 3
    assert "predict --oof" in answer.err


@pytest.fixture
def careless(doubtful, tmp_path) -> Path:
    """Another copy of the run, whose planes say the opposite of the truth."""
    run = tmp_path / "other"
    shutil.copytree(doubtful, run)
    for folder in run.glob("fold*/planes"):
        for id_ in describe_planes(folder)["ids"]:
            write_planes(folder, id_, 1 - read_planes(folder, id_))
    return run


def test_the_weight_of_another_run_is_searched_and_submit_takes_it(trained, doubtful, careless, tmp_path):
    words = ("--run", doubtful, "--store", trained.store, "--trials", 25, "--with", careless)
    seeds = () if trained.name == "tgs" else ("--set", "decode={seed_threshold: 0.4}")  # interiors of 0.6 − 0.1
    answer = call("tune", trained.config, *words, *seeds)
    assert answer.code == 0, answer.err
    (file,) = doubtful.glob("ensemble/*/decode.yaml")
    result = json.loads((file.parent / "tune" / "result.json").read_text())
    assert result["alone"] == 1
    weight = result["point"]["weight of ../other"]
    assert result["before"] <= 0.5 < result["honest"]  # as many votes against the truth as for it
    assert weight < 1
    assert "weight of ../other" in answer.out
    found = yaml.safe_load(file.read_text())
    assert found["ensemble"] == {".": 1.0, "../other": weight}
    assert not (doubtful / "decode.yaml").exists()  # that of the run alone

    output = tmp_path / "x.csv"
    mine = ["--checkpoint", doubtful / "fold0", "--checkpoint", doubtful / "fold1"]
    words = [trained.config, "--data", trained.test, "-o", output]
    for checkpoints, extra, wanted in (
        ([*mine, "--checkpoint", careless / "fold1"], [], [0.5, 0.5, weight]),
        (["--checkpoint", careless / "fold0", *mine], [], [weight, 0.5, 0.5]),
        ([*mine, "--checkpoint", careless / "fold1"], ["--set", "inference.weights=[1,2,3]"], [1, 2, 3]),
        ([*mine, "--checkpoint", careless / "fold1"], ["--decode", "config"], None),
        (mine, [], None),
    ):
        answer = call("submit", *words, *checkpoints, *extra)
        assert answer.code == 0, answer.err
        manifest = json.loads(output.with_suffix(".json").read_text())
        assert manifest["prediction"]["inference"]["weights"] == wanted
        is_ensembles = manifest["decoding"] == f"run/ensemble/{file.parent.name}/decode.yaml"
        assert is_ensembles == (wanted is not None and not extra)
    same = careless / "ensemble" / "x" / "decode.yaml"
    same.parent.mkdir(parents=True)
    same.write_text("ensemble: {.: 1.0, ../run: 0.5}")
    answer = call("submit", *words, *mine, "--checkpoint", careless / "fold0")
    assert answer.code == 2
    assert str(same) in answer.err
    assert str(file) in answer.err


def test_an_ensembles_decoding_is_of_its_runs_alone(trained, doubtful, careless, tmp_path):
    file = doubtful / "ensemble" / "other" / "decode.yaml"
    file.parent.mkdir(parents=True)
    words = ["submit", trained.config, "--data", trained.test, "-o", tmp_path / "x.csv", "--decode", file]
    words += ["--checkpoint", doubtful / "fold0"]
    file.write_text("ensemble: {.: 1, ../other: 0.5}")
    answer = call(*words)
    assert answer.code == 2
    assert str(careless) in answer.err
    assert call(*words, "--checkpoint", careless / "fold0").code == 0
    assert call("score", "--run", doubtful, "--store", trained.store, "--decode", file).code == 2
    for wrong in ("{1: 0.5}", "[1, 2]", "{.: 0, ../other: 0}", "{.: 1, ../other: -1}", "{.: 1, ../other: yes}"):
        file.write_text(f"ensemble: {wrong}")
        answer = call(*words, "--checkpoint", careless / "fold0")
        assert answer.code == 2
        assert str(file) in answer.err


def test_runs_that_cannot_be_averaged_are_refused(trained, doubtful, careless):
    for other, code, said in ((doubtful, 2, "twice"), (trained.store, 3, "run.json")):
        answer = tune(trained, doubtful, "--with", other)
        assert answer.code == code
        assert said in answer.err
    config, about = ((careless / name).read_text() for name in ("config.yaml", "run.json"))
    tree = yaml.safe_load(config)
    tree["input"]["normalize"] = "percentile" if tree["input"]["normalize"] == "range" else "range"
    (careless / "config.yaml").write_text(yaml.safe_dump(tree))
    write_record(careless / "run.json", {**json.loads(about), "data": "others"})
    answer = tune(trained, doubtful, "--with", careless)
    assert answer.code == 2
    assert "input and data" in answer.err
    (careless / "config.yaml").write_text(config)
    (careless / "run.json").write_text(about)
    shutil.rmtree(careless / "fold0" / "planes")
    shutil.rmtree(doubtful / "fold1" / "planes")
    answer = tune(trained, doubtful, "--with", careless)
    assert answer.code == 3
    assert "same image" in answer.err


def test_a_changed_value_that_changes_no_score_is_shown_without_effect(capsys):
    found = {"folder": "run", "images": 3, "alone": None, "trials": 2, "before": 0.5, "honest": 0.6, "after": 0.6}
    found |= {"gain": 0.1, "interval": [0.1, 0.1], "is_used": True, "point": {"a": 1, "b": 2, "c": 3}}
    found |= {"effects": {"a": [0.1, 0.0, 0.2], "b": [0.0, 0.0, 0.0]}, "points": {}, "per_image": {}}
    found |= {"by_threshold": {"0.05": 0.1, "0.10": 0.25, "0.15": 0.5, "0.20": 0.75}}
    Console().tuned(TuneResult.model_construct(held_out=0.6, params=found["point"], **found))
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["b", "2", "none"] in shown
    assert ["c", "3", "as", "before"] in shown
    assert shown[-4:-2] == [["mask_threshold", "0.10", "0.20"], ["in-sample", "score", "0.2500", "0.7500"]]
    assert ["a", "1", "+0.1000", "(+0.0000", "to", "+0.2000)"] in shown


TORCHLESS = """
import json, sys
sys.modules["torch"] = None
from kaggle_unet.cli import main
for words in json.loads(sys.argv[1]):
    try:
        main(words)
    except SystemExit as end:
        assert not end.code, words
"""


def test_tune_vote_check_and_score_need_no_torch(trained, doubtful, careless, tmp_path):
    output = tmp_path / "x.csv"
    words = ["--data", trained.test, "--checkpoint", doubtful / "fold0", "-o", output]
    assert call("submit", trained.config, *words).code == 0
    commands = [
        ["tune", trained.config, "--run", doubtful, "--store", trained.store, "--trials", 2, "--with", careless],
        ["vote", trained.config, "--csv", output, "--csv", output, "--data", trained.test, "-o", tmp_path / "vote.csv"],
        ["check", output, "--data", trained.test, "--competition", trained.name],
        ["score", "--run", doubtful, "--store", trained.store],
    ]
    done = subprocess.run(
        [sys.executable, "-c", TORCHLESS, json.dumps(commands, default=str)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def config_with(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    config = parse_config("competition: {name: dsb2018}\ndecode: {mask_threshold: 0.3}")
    return choose_decode_params(config, [], chosen=str(tmp_path / "mine.yaml"))


def test_a_file_of_decode_parameters_replaces_whole_sections(tmp_path):
    config, file = config_with(tmp_path, "decode: {seed_threshold: 0.9}")
    assert file == tmp_path / "mine.yaml"
    assert (config.decode.seed_threshold, config.decode.mask_threshold) == (0.9, 0.5)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "expected a mapping with the keys decode"),
        ("- 1", "expected a mapping with the keys decode"),
        ("training: {epochs: 3}", "training is not a setting"),
        ("decod: {mask_threshold: 0.4}", "did you mean decode"),
        ("decode: {thresh: 1}", "decode.thresh is not a setting"),
        ("{", "not YAML"),
        ("decode: {mask_threshold: 2}", "decode.mask_threshold is 2"),
    ],
)
def test_a_file_of_anything_else_is_refused(tmp_path, text, wanted):
    with pytest.raises(ConfigError, match=rf"mine\.yaml: .*{wanted}"):
        config_with(tmp_path, text)


def test_checkpoints_of_two_runs_take_the_configs_values(tmp_path):
    config = parse_config("competition: {name: dsb2018}")
    files = []
    for name in ("one", "two"):
        (tmp_path / name / "fold0").mkdir(parents=True)
        (tmp_path / name / "decode.yaml").write_text("decode: {mask_threshold: 0.25}")
        files.append(tmp_path / name / "fold0" / "best.safetensors")
    assert choose_decode_params(config, list(map(checkpoint_run, files)), chosen=None) == (config, None)
    chosen, file = choose_decode_params(config, [checkpoint_run(files[0])], chosen=None)
    assert (chosen.decode.mask_threshold, file) == (0.25, tmp_path / "one" / "decode.yaml")
    weighted = parse_config("competition: {name: dsb2018}\ninference: {weights: [1, 2]}")
    chosen, file = choose_decode_params(
        weighted, [checkpoint_run(files[0])] * 2, chosen=None, overrides=["inference.weights=[1,2]"]
    )
    assert (chosen.decode.mask_threshold, chosen.inference.weights) == (0.25, (1, 2))


def test_an_ensembles_folder_is_its_sets_however_runs_are_spelled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = {
        ensemble_folder(Path("one"), others)
        for others in ([Path("b"), tmp_path / "c"], [tmp_path / "b", Path("c")], [tmp_path / "c", tmp_path / "b"])
    }
    assert len(folders) == 1
    assert ensemble_folder(Path("one"), [Path("b")]) not in folders


def test_where_a_checkpoint_is_a_link_the_links_run_decides(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "fold0").mkdir(parents=True)
        (tmp_path / name / "decode.yaml").write_text(f"decode: {{mask_threshold: {0.25 if name == 'one' else 0.5}}}")
    (tmp_path / "one" / "fold0" / "best.safetensors").touch()
    (tmp_path / "two" / "fold0" / "best.safetensors").symlink_to(tmp_path / "one" / "fold0" / "best.safetensors")
    (tmp_path / "three").symlink_to(tmp_path / "one")
    config = parse_config("competition: {name: dsb2018}")
    for name, wanted in (("one", 0.25), ("two", 0.5), ("three", 0.25), ("three/fold0/../../two", 0.5)):
        chosen, _ = choose_decode_params(
            config, [checkpoint_run(tmp_path / name / "fold0" / "best.safetensors")], chosen=None
        )
        assert chosen.decode.mask_threshold == wanted


def test_weights_of_the_config_go_before_those_of_an_ensemble(tmp_path, monkeypatch):
    file = tmp_path / "one" / "ensemble" / "x" / "decode.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("decode: {mask_threshold: 0.25}\nensemble: {.: 1.0, ../two: 0.5}")
    files = [tmp_path / name / "fold0" / "best.safetensors" for name in ("one", "two")]
    config = parse_config("competition: {name: dsb2018}\ninference: {weights: [5, 1]}")
    assert choose_decode_params(config, list(map(checkpoint_run, files)), chosen=None) == (config, None)
    monkeypatch.chdir(file.parent)
    chosen, _ = choose_decode_params(config, list(map(checkpoint_run, files)), chosen="decode.yaml")
    assert (chosen.decode.mask_threshold, chosen.inference.weights) == (0.25, (5, 1))
    chosen, _ = choose_decode_params(
        parse_config("competition: {name: dsb2018}"), list(map(checkpoint_run, files)), chosen="decode.yaml"
    )
    assert chosen.inference.weights == (1, 0.5)


@pytest.mark.parametrize("workers", [1, 0, -1])
def test_without_workers_this_process_scores_all_images(workers, monkeypatch):
    monkeypatch.setattr("kaggle_unet.steps.tune._FEW", 0)
    monkeypatch.setattr("kaggle_unet.steps.tune._make_scorer", lambda *_: "this process")
    config, store = parse_config("competition: {name: dsb2018}"), SimpleNamespace(folder="")
    with _evaluation(config, store, [], (), workers) as found:
        assert found == "this process"


@pytest.mark.parametrize("trained", ["folder"], indirect=True)  # workers know nothing of competitions
def test_a_killed_worker_is_a_message_and_none_stays_when_the_search_ends(trained, monkeypatch):
    monkeypatch.setattr("kaggle_unet.steps.tune._FEW", 1)
    config, store = open_run(trained.run, trained.store)
    images = list_images(trained.run, ())
    before = set(active_children())
    with _evaluation(config, store, images, (), 2) as evaluate:
        assert len(evaluate({})) == 8
        workers = set(active_children()) - before
        assert len(workers) == 2
        for worker in workers:  # Ctrl-C is for their parent, even while they start
            blocked = re.search(r"SigBlk:\s*(\w+)", Path(f"/proc/{worker.pid}/status").read_text())[1]
            assert int(blocked, 16) >> signal.SIGINT - 1 & 1
        workers.pop().kill()
        with pytest.raises(ResourceError, match="a worker process was killed"):
            evaluate({})
    assert set(active_children()) <= before
