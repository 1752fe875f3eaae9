"""`launch`: a plan of commands (configs × verbs × folds × shards of the images), run by processes, Ray or SLURM.

A task is a command of the kit that anybody could type. Its folder, below the plan's, holds all that is known about it::

    FOLDER/<config>/<verb>[-<fold>][-<K-of-N>]/task.json   its key, state and attempts
                                               log.txt     what it printed

The key hashes the command, its config and data, and the keys of the tasks it needs: a task whose key is recorded as
done is not run again. Every verb goes on where an interrupted call stopped, so a task that was killed is simply run
again. There is no other state, whatever runs the tasks.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from kaggle_unet.config import Config, load_config, parse_yaml, plain
from kaggle_unet.errors import ConfigError, DataError, suggest_path
from kaggle_unet.io.archive import expand_glob, split_location
from kaggle_unet.io.slides import is_slide
from kaggle_unet.steps.run import count_folds, experiment_name, find_checkpoints, fold_folder
from kaggle_unet.store import hash_plain, lock, read_record, write_record
from kaggle_unet.training.settings import LAST
from kaggle_unet.types import Settings, Shard, describe_validation_error

Verb = Literal["make-targets", "train", "predict", "tune", "submit", "segment"]
State = Literal["waiting", "running", "done", "stopped", "failed"]
_SHARDED = ("make-targets", "predict", "submit", "segment")
_OF_TEST_IMAGES = ("predict", "submit", "segment")
_ON_DEVICE = ("train", *_OF_TEST_IMAGES)
_HOPELESS = ([2], [3])  # exit codes with which the same command would end again


class PlannedConfig(Settings):
    """A config with its data."""

    config: Path
    """The YAML file."""
    data: str
    """What `make-targets --data` takes."""
    test: tuple[str, ...] | str | None = None
    """The images of `predict`, `submit` and `segment`."""
    set: tuple[str, ...] = ()
    """Overrides of keys, as `--set` takes them."""
    name: str = Field("", pattern=r"^(\w[\w.-]*(/\w[\w.-]*)*)?$")
    """The name of the store, the run and the results, below `store`, `runs` and `results`; by default, it follows from
    the config's path."""


class Plan(Settings):
    """A plan for `launch`."""

    configs: Annotated[tuple[PlannedConfig, ...], Field(min_length=1)]
    """The configs."""
    verbs: tuple[Verb, ...] = ("make-targets", "train", "tune", "submit")
    """The verbs that are run for each config, in this order."""
    folds: tuple[Annotated[int, Field(ge=0)], ...] | Literal["all"] = "all"
    """The folds to train."""
    shards: Annotated[int, Field(ge=1, le=100_000)] = 1
    """The number of tasks into which the images are divided."""
    skip_bad: bool = False
    """Leave out what can't be read, and say why, instead of stopping; a submission has an empty row for it."""
    retries: Annotated[int, Field(ge=0)] = 2
    """How often to run a task again that was killed, lost its machine, or failed for a reason that may pass."""
    cpus: Annotated[int, Field(ge=1)] = 1
    """Cores for each task."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs for each task that trains or predicts."""
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Memory for each task, in GiB."""
    slurm: tuple[str, ...] = ()
    """Options of `sbatch` for every task, such as `--partition=gpu` and `--time=4:00:00`."""


@dataclass(frozen=True)
class Task:
    """A command, and what it needs and makes."""

    name: str
    words: tuple[str, ...]
    stage: int
    needs: tuple[str, ...]
    output: Path | None  # the file that is written last; None for a shard
    key: str
    gpus: int = 0
    began: Path | None = None  # if it exists, the command goes on with --resume


def read_plan(path: Path) -> Plan:
    """Read a plan's YAML file."""
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no plan {path}{suggest_path(path, list(path.parent.glob('*.y*ml')))}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read ({error}); expected a YAML file with configs and verbs") from error
    try:
        return Plan.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(describe_validation_error(error, Plan, str(path))) from None


def plan_tasks(plan: Plan) -> dict[str, Task]:
    """Return the tasks of a plan by name, each after those it needs."""
    names = [config_name(one) for one in plan.configs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"configs: {', '.join(sorted(twice))} comes twice; give each a name of its own")
    tasks: dict[str, Task] = {}
    first_stage: dict[str, int] = {}
    for one, start in _order(plan):
        first = first_stage[config_name(one)] = first_stage[start] + 2 * len(plan.verbs) if start else 0
        needs: tuple[Task, ...] = ()
        for stage, verb in enumerate(plan.verbs):
            shards, whole = _tasks_of(plan, one, verb, first + 2 * stage, needs, tasks)
            tasks |= {task.name: task for task in (*shards, *whole)}
            needs = whole
    return tasks


def _order(plan: Plan) -> list[tuple[PlannedConfig, str]]:
    """List the configs, each after the planned one that `training.start_from` names, and that one's name, if any."""
    planned = {config_name(one): one for one in plan.configs}
    starts = {name: Command(plan, one, "train").start[0] for name, one in planned.items()}
    needs = {name: (start,) if start else () for name, start in starts.items()}
    try:
        return [(planned[name], starts[name]) for name in TopologicalSorter(needs).static_order()]
    except CycleError as error:
        msg = f"configs: training.start_from leads from {' to '.join(error.args[1])}; let one of them start afresh"
        raise ConfigError(msg) from None


def config_name(one: PlannedConfig) -> str:
    """Return the name of a config's store, run and results."""
    return one.name or experiment_name(one.config).as_posix()


def _tasks_of(
    plan: Plan, one: PlannedConfig, verb: Verb, stage: int, needs: Sequence[Task], before: Mapping[str, Task]
) -> tuple[tuple[Task, ...], tuple[Task, ...]]:
    """Return the tasks of one verb: those of its shards, then the unsharded one or those of the folds."""
    command = Command(plan, one, verb)
    if verb == "train":
        starts = {fold: before.get(command.name_start(fold)) for fold in command.folds}
        return (), tuple(
            command.task(stage + 1, (*needs, *([start] if start else [])), fold=fold) for fold, start in starts.items()
        )
    shards: tuple[Task, ...] = ()
    if verb in _SHARDED and plan.shards > 1:
        parts = [Shard(number, plan.shards) for number in range(1, plan.shards + 1)]
        shards = tuple(command.task(stage, needs, shard=shard) for shard in parts)
    return shards, (command.task(stage + 1, (*needs, *shards)),)


@dataclass(frozen=True)
class Command:
    """One verb of one config."""

    plan: Plan
    one: PlannedConfig
    verb: Verb

    @cached_property
    def config(self) -> Config:
        """The config with its overrides."""
        return load_config(self.one.config, self.one.set)

    @cached_property
    def folds(self) -> Sequence[int]:
        """The folds to train."""
        if self.plan.folds != "all":
            return self.plan.folds
        try:
            return range(count_folds(self.config, self.place("store")))
        except DataError as error:
            msg = f"{self.one.config} takes its folds from {self.config.competition.folds}: name them, as in folds: [0]"
            raise ConfigError(msg) from error

    @cached_property
    def stamp(self) -> str:
        """A hash of the names, sizes and modification times of the data's files and of those that the config names."""
        config, weights = self.config, getattr(self.config.model, "encoder_weights", None)
        named = [str(self.one.config.parent / config.competition.folds)] if config.competition.folds else []
        with suppress(DataError):  # no checkpoint yet; those of this plan count as needs
            start = config.training.start_from
            named += map(str, find_checkpoints([Path(start)]) if start and not self.start[0] else ())
        return hash_plain([_stamp(place) for place in (*self.places(), *named, *([weights] if weights else []))])

    def task(self, stage: int, needs: Sequence[Task], *, fold: int | None = None, shard: Shard | None = None) -> Task:
        """Return a task with its key."""
        words, output = self._words(fold), None if shard else self.output(fold)
        words = (*words, "--shard", f"{shard.number}/{shard.of}") if shard else words
        parts = (self.verb, *(() if fold is None else (f"fold{fold}",)), *((str(shard),) if shard else ()))
        made_of = {"words": words, "config": plain(self.config), "data": self.stamp, "version": version("kaggle-unet")}
        key = hash_plain({**made_of, "needs": [task.key for task in needs]})
        gpus = self.plan.gpus if self.verb in _ON_DEVICE else 0
        began = None if fold is None else fold_folder(self.place("runs"), fold) / LAST
        names = tuple(task.name for task in needs)
        return Task(f"{config_name(self.one)}/{'-'.join(parts)}", words, stage, names, output, key, gpus, began)

    @cached_property
    def start(self) -> tuple[str, str]:
        """The planned config whose run `training.start_from` is or lies in, and the folder there; empty if none."""
        given, names = self.config.training.start_from, map(config_name, self.plan.configs)
        runs = {name: Path("runs", name).absolute() for name in names if given and "train" in self.plan.verbs}
        place = Path(given or "").absolute()
        name = max((name for name, run in runs.items() if place.is_relative_to(run)), key=len, default="")
        return name, "".join(place.relative_to(runs[name]).parts[:1]) if name else ""

    def name_start(self, fold: int) -> str:
        """Return the name of the training task that a fold starts from, if it is in the plan."""
        name, folder = self.start
        return f"{name}/train-{folder or f'fold{fold}'}"

    def place(self, kind: str) -> Path:
        """Return the folder of a config's store, run or results."""
        return Path(kind) / config_name(self.one)

    def places(self) -> Sequence[str]:
        """Return the places of the data that the verb reads."""
        if self.verb not in _OF_TEST_IMAGES:
            return (self.one.data,)
        test = (self.one.test,) if isinstance(self.one.test, str) else self.one.test
        if not test:
            raise ConfigError(f"configs: {config_name(self.one)} has no test, the images that {self.verb} needs")
        if len(test) > 1 and self.verb != "segment":
            raise ConfigError(f"configs: {config_name(self.one)} has a test of several places; {self.verb} takes one")
        return test

    def _words(self, fold: int | None) -> tuple[str, ...]:
        config, store, run = str(self.one.config), str(self.place("store")), str(self.place("runs"))
        overrides = tuple(word for override in self.one.set for word in ("--set", override))
        skip, out = ("--skip-bad",) if self.plan.skip_bad else (), self.output(None)
        match self.verb:
            case "make-targets":
                places = ("--data", self.one.data, "--store", store, "--workers", str(self.plan.cpus))
                return ("make-targets", config, *places, *skip, *overrides)
            case "train":
                return ("train", config, "--fold", str(fold), "--store", store, "--run", run, *overrides)
            case "tune":
                return ("tune", run)
            case "predict":
                return ("predict", run, "--data", *self.places(), "--planes", str(out.parent), *skip)
            case "submit":
                return ("submit", run, "--data", *self.places(), "-o", str(out), *skip)
            case "segment":
                if skip and any(map(is_slide, self.places())):  # slides have nothing to skip
                    skip = ()
                return ("segment", run, *self.places(), "-o", str(out.parent), *skip)

    def output(self, fold: int | None) -> Path:
        """Return the file that is written last."""
        results = self.place("results")
        return {
            "make-targets": self.place("store") / "manifest.json",
            "train": fold_folder(self.place("runs"), fold or 0) / "result.json",
            "tune": self.place("runs") / "decode.yaml",
            "predict": results / "planes" / "planes.json",
            "submit": results.with_name(f"{results.name}.csv"),
            "segment": results / "measurements.csv",
        }[self.verb]


def _stamp(place: str) -> list[Any]:
    """Return names, sizes and times, which show whether files may have changed; the verbs look at their contents."""
    found = expand_glob(place)
    with suppress(DataError):  # a place that is not there yet
        found = found if len(found) > 1 else [split_location(found[0])[0]]
    files = [file for path in found for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files if file.is_file()]


@dataclass(frozen=True)
class Launch:
    """A plan's tasks, and the folder with their records."""

    path: Path
    plan: Plan
    folder: Path
    stop: Event = field(default_factory=Event)  # when it is set, commands that run here are told to end

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """All tasks, each after those it needs."""
        return plan_tasks(self.plan)

    def read(self, task: Task) -> dict[str, Any]:
        """Return a task's record, or a new one if the old one has another key or its output is gone."""
        path = self.folder / task.name / "task.json"
        new = {"key": task.key, "state": "waiting", "attempts": [], "reason": ""}
        if not path.exists():
            return new
        record = read_record(path, "delete it")
        is_lost = record["state"] == "done" and task.output is not None and not task.output.exists()
        return new if is_lost or record["key"] != task.key else record

    def is_done(self, task: Task) -> bool:
        """Return whether a task has been done and its output still exists."""
        return bool(self.read(task)["state"] == "done")

    def can_retry(self, task: Task) -> bool:
        """Return whether a task was stopped, or failed in a way that may not recur, and not too often."""
        record = self.read(task)
        codes = [attempt["code"] for attempt in record["attempts"]]
        n_failed = sum(code not in _STOPPED for code in codes)
        may_help = n_failed <= self.plan.retries and codes[-1:] not in _HOPELESS
        return bool(codes) and (record["state"] == "stopped" or may_help)

    def run(self, name: str, *, environment: Mapping[str, str] | None = None) -> State:
        """Run a task if it is not done, in a process of its own, and record how it ended."""
        task = self.tasks[name]
        folder = self.folder / task.name
        with lock(folder):
            if self.is_done(task):
                return "done"
            record = self.read(task)
            if missing := [needed for needed in task.needs if not self.is_done(self.tasks[needed])]:
                return self._record(task, record, "waiting", f"needs {missing[0]}, which is not done")
            begin = time.time()
            attempt = {"host": socket.gethostname(), "pid": os.getpid(), "begin": round(begin, 1), "code": None}
            record["attempts"].append(attempt)
            self._record(task, record, "running", "")
            log, code = folder / "log.txt", 143
            try:
                environment = {"OMP_NUM_THREADS": str(self.plan.cpus), **(environment or {})}
                code = _run_command(task, log, environment, self.stop)
            finally:  # also if this process is told to end
                attempt |= {"code": code, "seconds": round(time.time() - begin, 1)}
                state: State = "done" if code == 0 else "stopped" if code in _STOPPED else "failed"
                self._record(task, record, state, "" if code == 0 else _last_words(log))
            return state

    def _record(self, task: Task, record: dict[str, Any], state: State, reason: str) -> State:
        record |= {"state": state, "reason": reason}
        write_record(self.folder / task.name / "task.json", record)
        return state


_STOPPED = (130, 143, -signal.SIGINT, -signal.SIGTERM)


def _run_command(task: Task, log: Path, environment: Mapping[str, str], stop: Event) -> int:
    """Run a task's command to its end; if this process is told to end, so is the command, which keeps its results."""
    resume = ("--resume",) if task.began is not None and task.began.exists() else ()
    words = [sys.executable, "-m", "kaggle_unet", *task.words, *resume]
    with log.open("ab") as file:
        env = {**os.environ, **environment, "KAGGLE_UNET_PARENT": str(os.getpid())}
        child = subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT, env=env)
        try:
            while child.poll() is None and not stop.wait(0.05):
                pass
        finally:
            child.terminate()
            child.wait()
        return child.returncode


def _last_words(log: Path) -> str:
    """Return the last error that a command has printed, or else its last line."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [number for number, line in enumerate(lines) if line.startswith("error ")]
    return " ".join(lines[errors[-1] :][:3] if errors else lines[-1:])[:500]
