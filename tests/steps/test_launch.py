"""Plans: which tasks they have, when one is run, and what becomes of those that are killed or fail."""

import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from kaggle_unet.config import load_config
from kaggle_unet.errors import ConfigError
from kaggle_unet.steps import executors, launch, train
from kaggle_unet.steps.build import build_model
from kaggle_unet.steps.launch import Launch, plan_tasks, read_plan
from kaggle_unet.steps.predict import Estimate
from kaggle_unet.synthetic.files import write_folder
from tests.steps.conftest import COMMON, CONFIGS, call

PLAN = """
configs:
  - {config: tiny.yaml, data: train, test: test, name: a}
  - {config: tiny.yaml, data: train, test: test, name: b, set: [training.seed=7]}
verbs: [make-targets, train, submit]
shards: 2
"""

TWO_MORE = PLAN.splitlines(keepends=True)[3]


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(CONFIGS["folder"] + COMMON)
    Path("plan.yaml").write_text(PLAN)
    Path("train").mkdir()
    Path("train/a.png").write_bytes(b"a")


def opened():
    return Launch(Path("plan.yaml"), read_plan(Path("plan.yaml")), Path("launches/plan"))


@pytest.fixture
def ran(monkeypatch):
    """The tasks whose commands were run; a task's codes, one for each attempt, may be set in `ran.codes`."""

    class Ran(list):
        """Names of tasks, in the order in which they ran."""

    done = Ran()

    def run(task, log, environment, stop):
        done.append(task.name)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("at work\nerror the disk is full\nfree some space\n")
        code = (done.codes.get(task.name) or [0]).pop(0)
        if code == 0 and task.output is not None:
            task.output.parent.mkdir(parents=True, exist_ok=True)
            task.output.touch()
        return code

    done.codes = {}
    monkeypatch.setattr(launch, "_run_command", run)
    return done


def test_tasks_are_commands_that_anybody_could_type():
    tasks = opened().tasks
    assert list(tasks)[:8] == [
        "a/make-targets-1-of-2", "a/make-targets-2-of-2", "a/make-targets", "a/train-fold0", "a/train-fold1",
        "a/submit-1-of-2", "a/submit-2-of-2", "a/submit",
    ]  # fmt: skip
    assert tasks["b/train-fold1"].words == (
        "train", "tiny.yaml", "--fold", "1", "--store", "store/b", "--run", "runs/b", "--set", "training.seed=7",
    )  # fmt: skip
    assert tasks["a/submit-2-of-2"].words[-2:] == ("--shard", "2/2")
    Path("plan.yaml").write_text(f"{PLAN}skip_bad: true\n")
    skipping = {name for name, task in opened().tasks.items() if "--skip-bad" in task.words}
    assert skipping == {name for name in tasks if "train" not in name}
    Path("test.ome.zarr").mkdir()  # a slide, of which there is nothing to skip
    Path("plan.yaml").write_text(
        f"{PLAN}skip_bad: true\n".replace("submit", "segment").replace("test: test", "test: test.ome.zarr")
    )
    assert {name for name, task in opened().tasks.items() if "--skip-bad" in task.words} == {
        n for n in tasks if "make" in n
    }
    assert tasks["a/submit"].needs == ("a/train-fold0", "a/train-fold1", "a/submit-1-of-2", "a/submit-2-of-2")


def test_a_training_waits_for_the_planned_one_that_it_starts_from():
    second = "{config: tiny.yaml, data: train, test: test, name: z/second, set: [training.start_from=runs/b]}"
    third = "{config: tiny.yaml, data: train, name: a/third, set: [training.start_from=runs/z/second/fold1]}"
    Path("plan.yaml").write_text(PLAN.replace("configs:\n", f"configs:\n  - {second}\n").replace("submit", "tune"))
    tasks = opened().tasks
    assert tasks["z/second/train-fold1"].needs == ("z/second/make-targets", "b/train-fold1")
    assert tasks["z/second/make-targets-1-of-2"].stage > tasks["b/tune"].stage
    Path("plan.yaml").write_text(Path("plan.yaml").read_text().replace("configs:\n", f"configs:\n  - {third}\n"))
    tasks = opened().tasks
    assert tasks["a/third/train-fold0"].needs == ("a/third/make-targets", "z/second/train-fold1")
    before = tasks["a/third/train-fold0"].key
    Path("plan.yaml").write_text(Path("plan.yaml").read_text().replace("seed=7", "seed=8"))
    assert opened().tasks["a/third/train-fold0"].key != before
    Path("plan.yaml").write_text(PLAN.replace("training.seed=7", "training.start_from=runs/b/fold0"))
    with pytest.raises(ConfigError, match=r"start_from leads from b to b; let one of them start afresh"):
        plan_tasks(opened().plan)


def test_tasks_run_behind_what_they_need_and_once(ran):
    executors.run_here(opened(), workers=2)
    assert sorted(ran) == sorted(opened().tasks)
    for name, task in opened().tasks.items():
        assert all(ran.index(needed) < ran.index(name) for needed in task.needs)
    executors.run_here(opened(), workers=2)
    assert len(ran) == len(opened().tasks)


def test_a_change_runs_again_what_depends_on_it_and_nothing_else(ran):
    executors.run_here(opened(), workers=1)
    ran.clear()
    Path("plan.yaml").write_text(PLAN.replace("seed=7", "seed=8"))
    executors.run_here(opened(), workers=1)
    assert set(ran) == {name for name in opened().tasks if name.startswith("b/")}
    ran.clear()
    Path("runs/a/fold0/result.json").unlink()
    executors.run_here(opened(), workers=1)
    assert ran == ["a/train-fold0"]
    ran.clear()
    Path("results/b.csv").unlink()
    status = executors.describe_launch(opened())
    assert (status["states"], "results/b.csv" in status["results"]) == ({"done": 15, "waiting": 1}, False)
    assert status["hours_left"] is not None
    executors.run_here(opened(), workers=1)
    assert ran == ["b/submit"]
    ran.clear()
    Path("train/b.png").write_bytes(b"b")
    executors.run_here(opened(), workers=1)
    assert set(ran) == {name for name in opened().tasks if "submit" not in name} | {
        name for name in opened().tasks if "submit" in name
    }


def test_a_file_that_the_config_names_is_seen_to_change(tmp_path):
    for name in ("configs", "earlier/fold0"):
        Path(name).mkdir(parents=True)
    Path("tiny.yaml").rename("configs/tiny.yaml")
    named = ("configs/folds.csv", "earlier/fold0/best.safetensors", "encoder.pth")
    keys = [
        "competition.folds=folds.csv",
        "training.start_from=earlier",
        "model={name: smp, encoder_weights: encoder.pth}",
    ]
    for key, file in zip(keys, map(Path, named), strict=True):
        one = f'{{config: configs/tiny.yaml, data: train, name: a, set: ["{key}"]}}'
        Path("plan.yaml").write_text(f"configs:\n  - {one}\nverbs: [make-targets, train]\nfolds: [0]\n")
        found = [{task.key for task in opened().tasks.values()}]
        for text in ("1", "12"):
            file.write_text(text)
            found.append({task.key for task in opened().tasks.values()})
        assert not found[0] & found[1] | found[1] & found[2], key
        Path("earlier/history.json").write_text("no weights")
        assert {task.key for task in opened().tasks.values()} == found[2]


def test_a_killed_task_runs_again_and_a_hopeless_one_does_not(ran):
    ran.codes = {"a/train-fold0": [-9, 143, 0], "a/train-fold1": [3], "b/train-fold0": [-9, -9, -9, 0]}
    executors.run_here(opened(), workers=2)
    assert [ran.count(f"{name}/train-fold{fold}") for name in "ab" for fold in (0, 1)] == [3, 1, 3, 1]
    assert not any("submit" in name for name in ran)
    found = executors.describe_launch(opened())
    assert found["states"] == {"done": 8, "waiting": 6, "failed": 2}
    assert found["failed"] == dict.fromkeys(
        ("a/train-fold1", "b/train-fold0"), "error the disk is full free some space"
    )
    executors.run_here(opened(), workers=2)  # its cause has been removed
    assert executors.describe_launch(opened())["states"] == {"done": 16}


def test_commands_end_when_the_launch_is_told_to(monkeypatch):
    Path("sleep").write_text("#!/bin/sh\nexec sleep 60\n")
    Path("sleep").chmod(0o755)
    monkeypatch.setattr(launch.sys, "executable", "./sleep")

    def interrupt(task, state):
        if task.name == "a/make-targets-2-of-2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executors.run_here(opened(), workers=2, on_task=interrupt)
    assert executors.describe_launch(opened())["states"] == {"stopped": 1, "waiting": 15}


def test_a_task_before_its_needs_says_what_it_waits_for(ran):
    assert opened().run("a/train-fold0") == "waiting"
    assert not ran
    assert opened().read(opened().tasks["a/train-fold0"])["reason"] == "needs a/make-targets, which is not done"
    assert not opened().can_retry(opened().tasks["a/train-fold0"])


def test_the_status_reads_files_only(ran):
    executors.run_here(opened(), workers=1)
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    answer = call("launch", "plan.yaml", "--status", "--json")
    assert json.loads(answer.out)["states"] == {"done": 16}
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before


def test_a_launch_with_a_failure_says_where_the_logs_are(ran):
    ran.codes = {"b/make-targets-2-of-2": [3]}
    answer = call("launch", "plan.yaml", "--workers", 1)
    assert answer.code == 1
    assert "b/make-targets-2-of-2: error the disk is full" in answer.out
    assert "not all tasks are done; each has its log in launches/plan" in answer.err


def test_the_commands_of_a_plan_are_shown_before_anything_is_done(ran):
    answer = call("launch", "plan.yaml", "--dry-run")
    assert "kaggle-unet train tiny.yaml --fold 1 --store store/a --run runs/a\n" in answer.out
    assert "the time of training a, b can be measured once make-targets is done" in answer.err
    assert not ran
    assert not Path("launches").exists()


def test_trainings_that_are_not_done_are_measured_by_a_dry_run(ran, monkeypatch):
    executors.run_here(opened(), workers=1)
    Path("runs/b/fold1/result.json").unlink()
    asked = []

    def estimate(config, store, run, folds):
        asked.append((config.training.seed, str(store), str(run), folds))
        return Estimate(work="folds: 1", minutes=3, disk_bytes=10**6, measured="some steps")

    monkeypatch.setattr(train, "estimate_training", estimate)
    answer = call("launch", "plan.yaml", "--dry-run")
    assert asked == [(7, "store/b", "runs/b", [1])]
    assert "about 3.0 minutes, as measured now on some steps" in answer.out


def test_a_second_stage_is_measured_and_timed_like_a_first_one(ran, monkeypatch):
    second = "{config: tiny.yaml, data: train, test: test, name: second, set: [training.start_from=runs/b]}"
    Path("plan.yaml").write_text(PLAN.replace("configs:\n", f"configs:\n  - {second}\n"))
    ran.codes = {name: [3] for name in ("b/train-fold1", "second/train-fold0")}
    executors.run_here(opened(), workers=1)
    status = json.loads(call("--json", "launch", "plan.yaml", "--status").out)
    assert status["failed"].keys() == ran.codes.keys()
    assert status["hours_left"] is not None  # b/submit and second/submit take as long as a/submit took
    asked = {}

    def estimate(config, store, run, folds):
        asked[str(run)] = config.training.start_from, folds
        return Estimate(work="folds: 1", minutes=3, disk_bytes=10**6, measured="some steps")

    monkeypatch.setattr(train, "estimate_training", estimate)
    monkeypatch.setattr(executors, "max_disk_bytes", lambda _: 0.0)
    assert call("launch", "plan.yaml", "--dry-run").code == 0
    assert asked == {"runs/b": (None, [1]), "runs/second": ("runs/b", [0, 1])}
    Path("runs/b/fold0/result.json").unlink()  # without its start a stage is measured from random weights
    assert call("launch", "plan.yaml", "--dry-run").code == 0
    assert asked["runs/second"] == (None, [0, 1])


def test_the_disk_is_bounded_by_the_sizes_of_the_images(ran, monkeypatch):
    write_folder(Path("data"), 1, 8, shape=(48, 56))
    plan = "{configs: [{config: tiny.yaml, data: data, test: data, name: a}], verbs: [%s]}"
    n_px, n_files = 8 * 48 * 56, 8 * 2
    network = sum(
        value.nbytes for value in build_model(load_config(Path("tiny.yaml")), load_encoder=False).state_dict().values()
    )
    for verbs, expected in {
        "make-targets": n_px * (3 + 4 + 4 + 1 + 2 / 8) + n_files * 4096,
        "make-targets, predict, tune": n_px * (12.25 + 2 * 2) + 2 * n_files * 4096,
        "train": n_px * 2 * 2 + n_files * 4096 + 2 * (2 + 4) * network,
    }.items():
        Path("plan.yaml").write_text(plan % verbs)
        assert executors.max_disk_bytes(opened()) == expected
    executors.run_here(opened(), workers=1)
    assert executors.max_disk_bytes(opened()) == 0
    Path("plan.yaml").write_text(plan % "make-targets")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    answer = call("launch", "plan.yaml", "--dry-run")
    assert "at most 0.00 GB before compression; 0.00 GB are free" in answer.out
    assert "the disk may be too small for all results" in answer.err
    Path("plan.yaml").write_text(PLAN)
    answer = call("launch", "plan.yaml", "--dry-run")
    assert answer.code == 3
    assert "train/a.png is no image" in answer.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name: b": "name: a"}, "a comes twice"),
        ({"test: test, ": ""}, "a has no test, the images that submit needs"),
        ({"test: test, ": "test: [x, y], "}, "a has a test of several places; submit takes one"),
        ({"shards": "shard"}, "shard is not a setting; did you mean shards"),
        ({"submit]": "hand-in]"}, "hand-in"),
        ({"name: b": "name: ../b"}, "name"),
        ({"tiny.yaml": "tinny.yaml"}, "tiny.yaml"),
        ({PLAN: "- 1"}, "expected a mapping"),
    ],
)
def test_a_plan_that_says_nothing_doable_is_refused(change, message):
    for old, new in change.items():
        Path("plan.yaml").write_text(PLAN.replace(old, new))
    answer = call("launch", "plan.yaml", "--dry-run")
    assert answer.code == 2
    assert message in answer.err


def test_data_in_a_zip_and_behind_a_glob_are_seen_to_change(tmp_path):
    tmp_path /= "data"
    tmp_path.mkdir()
    (tmp_path / "a.zip").write_bytes(b"1")
    places = (f"{tmp_path}/a.zip:top", f"{tmp_path}/*.zip", f"{tmp_path}/a.zip", str(tmp_path))
    before = [launch._stamp(place) for place in places]
    assert all(before)
    (tmp_path / "a.zip").write_bytes(b"12")
    after = [launch._stamp(place) for place in places]
    assert all(one != other for one, other in zip(before, after, strict=True))
    (tmp_path / "b.zip").write_bytes(b"1")
    assert [len(launch._stamp(place)) for place in places] == [1, 2, 1, 2]
    assert launch._stamp(f"{tmp_path}/none/*.zip") == launch._stamp("none.zip:top") == []


def test_gpus_are_shared_out_and_more_than_there_are_is_refused(monkeypatch):
    import torch

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 5)
    assert executors._divide_gpus(2) == ["0,1", "2,3"]
    with pytest.raises(ConfigError, match="this machine has 5"):
        executors._divide_gpus(6)


def test_shards_run_side_by_side_on_a_gpu_each_of_those_that_are_seen(monkeypatch, ran):
    import torch

    Path("plan.yaml").write_text(PLAN.replace("shards: 2", "shards: 3\ngpus: 1").replace(TWO_MORE, ""))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-ab,5")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    together, run, seen = threading.Barrier(3), launch._run_command, []

    def meet(task, log, environment, stop):
        if task.name.startswith("a/submit-"):
            together.wait(timeout=20)
            seen.append(environment["CUDA_VISIBLE_DEVICES"])
        return run(task, log, environment, stop)

    monkeypatch.setattr(launch, "_run_command", meet)
    executors.run_here(opened(), workers=3)
    assert sorted(seen) == ["2", "5", "GPU-ab"]
    assert "a/submit" in ran
