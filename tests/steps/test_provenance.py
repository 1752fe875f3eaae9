"""What a run and a manifest record: how it was made, and nothing of where files lie on one machine."""

import json

from kaggle_unet.models.checkpoint import load_checkpoint, save_checkpoint
from kaggle_unet.steps import provenance
from kaggle_unet.steps.provenance import claim_folder, describe_environment, name_place
from tests.steps.conftest import call


def test_a_record_does_not_say_where_files_lie_on_this_machine(monkeypatch):
    words = ["/usr/bin/kaggle-unet", "submit", "configs/a.yaml", "--data=/home/me/x.zip", "-o", "../out/x.csv"]
    monkeypatch.setattr("sys.argv", words)
    assert describe_environment()["command"] == [
        "kaggle-unet",
        "submit",
        "configs/a.yaml",
        "--data=x.zip",
        "-o",
        "x.csv",
    ]


def test_a_record_keeps_what_tells_two_places_apart(monkeypatch, tmp_path):
    (tmp_path / "all.zip").touch()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "own.zip").touch()
    best = "best.safetensors"
    for given, kept in (
        (f"{tmp_path}/all.zip:dsb2018/test", "all.zip:dsb2018/test"),
        (f"{tmp_path}/here/own.zip", "own.zip"),
        ("own.zip:a/b", "own.zip:a/b"),
        ("/home/me/runs/final/fold1", "final/fold1"),
        (f"/home/me/runs/final/fold1/{best}", f"final/fold1/{best}"),
        ("runs/dsb2018/final/fold1", "runs/dsb2018/final/fold1"),
        ("training.epochs=3", "training.epochs=3"),
    ):
        assert name_place(given) == kept


def test_the_manifest_names_the_config_that_the_checkpoints_were_trained_with(trained, tmp_path):
    words = ["--data", trained.test, *trained.checkpoints, "-o", tmp_path / "x.csv", "--set", "training.epochs=10"]
    answer = call("submit", trained.config, *words, "--set", "postprocess.min_area_px=7")
    assert answer.code == 0, answer.err
    manifest = json.loads((tmp_path / "x.json").read_text())
    run = json.loads((trained.run / "run.json").read_text())
    assert manifest["config"]["training"]["epochs"] == 2
    assert manifest["config_hash"] == run["config_hash"]
    assert manifest["prediction"]["postprocess"]["min_area_px"] == 7
    assert all("config_differences" not in one for one in manifest["checkpoints"])
    checkpoint = load_checkpoint(trained.run / "fold1" / "best.safetensors")
    checkpoint["config"]["training"]["seed"] = 99
    save_checkpoint(tmp_path / "run" / "fold1" / "best.safetensors", checkpoint)
    words = ["--checkpoint", trained.run / "fold0", "--checkpoint", tmp_path / "run" / "fold1"]
    assert call("submit", trained.run, "--data", trained.test, *words, "-o", tmp_path / "y.csv").code == 0
    first, second = json.loads((tmp_path / "y.json").read_text())["checkpoints"]
    assert ("config_differences" in first, second["config_differences"]) == (False, {"training.seed": 99})


def test_doctor_says_how_to_fix_what_is_missing(monkeypatch):
    monkeypatch.setattr(provenance, "REMEDIES", {"no_such_package": "install it"})
    monkeypatch.setattr(provenance, "EXTRAS", {"track": ("train --track", "no_such_package")})
    monkeypatch.setattr(provenance, "LEAST_FREE", {"disk": (1 << 60, "delete old runs")})
    answer = call("doctor")
    assert answer.code == 2
    assert "  track: missing, for train --track: .venv/bin/pip install -e '.[track]'\n" in answer.out
    assert "GiB of disk are free; delete old runs\n" in answer.out
    assert answer.out.endswith("verdict: not ready; extras missing: 1\n")
    assert "no_such_package cannot be imported" in answer.err
    document = json.loads(call("doctor", "--json").out)
    assert len(document["to fix"]) == 2
    assert document["exit_code"] == 2


def test_memory_is_what_the_container_may_still_have(monkeypatch):
    files = {
        "/proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:   4000 kB\n",
        "/sys/fs/cgroup/memory.max": "3000000",
        "/sys/fs/cgroup/memory.current": "1000000",
    }
    monkeypatch.setattr(provenance.Path, "read_text", lambda path: files[str(path)])
    assert provenance._free_memory() == 2_000_000
    files["/sys/fs/cgroup/memory.max"] = "max"
    assert provenance._free_memory() == 4000 * 1024


def test_a_shard_is_not_refused_where_another_has_just_begun(tmp_path):
    def files():
        claim_folder(tmp_path, "predict", [])
        (tmp_path / "a.npz").touch()
        yield tmp_path / "a.npz"

    claim_folder(tmp_path, "predict", files())
