"""Executors of a plan's tasks: processes on this machine, a Ray cluster, or SLURM; also a plan's cost and progress.

Every executor calls `Launch.run` somewhere, with the plan's folder on a disk that all machines share; which one it is
makes no difference to any file. On this machine and on Ray, `_drive` hands out tasks whose needs are done; SLURM is
given one job array for each stage, dependent on the stage before it, and requeues what it preempts.
"""

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from graphlib import TopologicalSorter
from itertools import groupby
from pathlib import Path
from queue import Queue
from shlex import join, quote
from types import FrameType
from typing import Any, Never

from kaggle_unet.competitions.competition import read_shapes
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.errors import ConfigError, KitError, ResourceError, import_extra
from kaggle_unet.steps.launch import Command, Launch, State, Task, config_name, read_plan
from kaggle_unet.store import atomic_write
from kaggle_unet.targets.codecs import get_codec

OnTask = Callable[[Task, str], None]
_WARN_S = 120  # SLURM warns a task this long before its time is up


def run_here(launch: Launch, *, workers: int | None = None, on_task: OnTask = lambda *_: None) -> None:
    """Run a plan in processes on this machine: as many as there are cores for, each with its own GPUs."""
    plan = launch.plan
    n_workers = workers or max(1, (os.cpu_count() or 1) // plan.cpus)
    gpus: Queue[str] = Queue()
    for devices in _divide_gpus(plan.gpus):
        gpus.put(devices)

    def run(task: Task) -> State:
        if not task.gpus:
            return launch.run(task.name)
        devices = gpus.get()
        try:
            return launch.run(task.name, environment={"CUDA_VISIBLE_DEVICES": devices})
        finally:
            gpus.put(devices)

    with ThreadPoolExecutor(n_workers) as pool:
        try:
            _drive(launch, lambda task: pool.submit(run, task), n_workers, on_task)
        except BaseException:  # threads aren't told that this process must end
            launch.stop.set()
            raise


def _divide_gpus(n_each: int) -> list[str]:
    """Return the names of the GPUs that each task may see, out of those that this process sees."""
    if not n_each:
        return []
    import torch

    n_all = torch.cuda.device_count()
    if n_all < n_each:
        raise ConfigError(f"gpus: {n_each} for each task, but this machine has {n_all}; lower it, or leave it out")
    seen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = seen.split(",") if seen else [str(number) for number in range(n_all)]
    return [",".join(names[first : first + n_each]) for first in range(0, n_all - n_each + 1, n_each)]


def run_on_ray(launch: Launch, address: str | None = None, *, on_task: OnTask = lambda *_: None) -> None:
    """Run a plan on a Ray cluster, whose machines share this folder."""
    ray, plan = import_extra("ray", "ray"), launch.plan
    ray.init(address=address, log_to_driver=False)
    memory = {} if plan.memory_gb is None else {"memory": plan.memory_gb * 2**30}
    try:
        remote = ray.remote(_run_named)

        def submit(task: Task) -> Future[State]:
            asks = {"num_cpus": plan.cpus, "num_gpus": task.gpus, "max_retries": 0, **memory}
            where = [str(place) for place in (Path.cwd(), launch.path, launch.folder)]
            future: Future[State] = remote.options(**asks).remote(*where, task.name).future()
            return future

        _drive(launch, submit, 2 * max(1, int(ray.cluster_resources().get("CPU", 1)) // plan.cpus), on_task)
    finally:
        ray.shutdown()


def _run_named(home: str, plan: str, folder: str, name: str) -> State:
    """Run a task in a process that has not read the plan yet."""
    os.chdir(home)
    return Launch(Path(plan), read_plan(Path(plan)), Path(folder)).run(name)


def _drive(launch: Launch, submit: Callable[[Task], Future[State]], most: int, on_task: OnTask) -> None:
    """Hand out each task as soon as the tasks it needs are done, and again if it was killed."""
    waiting = TopologicalSorter({name: task.needs for name, task in launch.tasks.items()})
    waiting.prepare()
    ready: list[str] = []
    running: dict[Future[State], Task] = {}
    while True:
        ready += waiting.get_ready()
        while ready and len(running) < most:
            task = launch.tasks[ready.pop(0)]
            if launch.is_done(task):
                waiting.done(task.name)
                ready += waiting.get_ready()
            else:
                on_task(task, "running")
                running[submit(task)] = task
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            task = running.pop(future)
            try:
                state: str = future.result()
            except KitError as error:  # another process is at it
                on_task(task, str(error))
                continue
            except Exception as error:  # noqa: BLE001  Ray's own, when a worker or a node dies
                state = f"lost ({type(error).__name__})"
            on_task(task, state)
            if state == "done":
                waiting.done(task.name)
            elif launch.can_retry(task):
                ready.append(task.name)


def submit_to_slurm(launch: Launch) -> list[str]:
    """Submit a plan to SLURM as one job array for each stage, and return the ids of the jobs."""
    folder, jobs = launch.folder / "slurm", list[str]()
    todo = sorted((task for task in launch.tasks.values() if not launch.is_done(task)), key=lambda task: task.stage)
    for stage, found in groupby(todo, key=lambda task: task.stage):
        tasks = list(found)
        listing = folder / f"stage{stage}.txt"
        atomic_write(listing, "".join(f"{task.name}\n" for task in tasks))
        behind = [f"--dependency=afterany:{jobs[-1]}"] if jobs else []
        options = [f"--array=0-{len(tasks) - 1}", f"--job-name=stage{stage}", *behind, *_asks(launch, tasks[0])]
        jobs.append(_sbatch([*options, f"--output={folder}/stage{stage}-%a.txt"], _script(launch, listing)))
    return jobs


def _asks(launch: Launch, task: Task) -> list[str]:
    plan = launch.plan
    asks = [f"--cpus-per-task={plan.cpus}", "--requeue", "--open-mode=append", f"--signal=B:USR1@{_WARN_S}"]
    asks += [f"--gres=gpu:{task.gpus}"] if task.gpus else []
    asks += [f"--mem={int(plan.memory_gb * 1024)}M"] if plan.memory_gb else []
    return [*asks, *plan.slurm]


def _script(launch: Launch, listing: Path) -> str:
    """Return the script of an array's jobs, each of which runs the task on one line of the listing."""
    words = [sys.executable, "-m", "kaggle_unet", "launch", str(launch.path), "--folder", str(launch.folder)]
    line = f"sed -n $((SLURM_ARRAY_TASK_ID + 1))p {quote(str(listing))}"
    return f'#!/bin/sh\ncd {quote(str(Path.cwd()))}\nexec {join(words)} --task "$({line})"\n'


def _sbatch(options: list[str], script: str) -> str:
    try:
        words = ["sbatch", "--parsable", *options]
        found = subprocess.run(words, input=script, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise ConfigError("there is no sbatch here; run this on a machine that submits to SLURM") from error
    except subprocess.CalledProcessError as error:
        raise ResourceError(f"sbatch refuses the jobs: {error.stderr.strip()}") from error
    return found.stdout.strip().partition(";")[0]


def estimate_trainings(launch: Launch) -> tuple[list[Any], list[str]]:
    """Estimate the training that is left, and name the configs that have no store to measure on."""
    from kaggle_unet.steps.train import estimate_training

    found, unknown = [], []
    for one in launch.plan.configs:
        command = Command(launch.plan, one, "train")
        store, run = command.place("store"), command.place("runs")
        left = [fold for fold in command.folds if not command.output(fold).exists()]
        if (store / "manifest.json").exists() and left:
            config, start = command.config, launch.tasks.get(command.name_start(left[0]))
            if start and not launch.is_done(start):  # where it starts from doesn't affect the speed
                config = config.model_copy(update={"training": config.training.model_copy(update={"start_from": None})})
            found.append(estimate_training(config, store, run, left))
        elif left:
            unknown.append(config_name(one))
    return found, unknown


def max_disk_bytes(launch: Launch) -> float:
    """Bound the bytes of the stores, planes and checkpoints still to be written, as if nothing were compressed."""
    plan = launch.plan
    return sum(_bound_bytes(Command(plan, one, verb)) for one in plan.configs for verb in plan.verbs)


def _bound_bytes(command: Command) -> float:
    from kaggle_unet.steps.train import max_checkpoint_bytes

    config, verb = command.config, command.verb
    folds = command.folds if verb == "train" else (None,)
    if verb in {"tune", "submit", "segment"} or all(command.output(one).exists() for one in folds):
        return 0
    kind, (data,) = get_competition(config.competition.name), command.places()
    source = kind.read(data, config.competition, with_masks=False, skip_bad=True)
    image, n_planes = source.load(source.ids[0]).image, len(get_codec(config.codec).planes)
    stored = max(3, image.nbytes / math.prod(image.shape[:2])) + 9 + n_planes / 8  # labels, weights, ignored pixels
    n_px = sum(map(math.prod, read_shapes(source.ids, source.shape, {}).values()))
    n_bytes = n_px * (stored if verb == "make-targets" else 2 * n_planes)
    n_bytes += 2 * 4096 * len(source.ids)  # a file's last block may be empty
    return n_bytes + (len(folds) * max_checkpoint_bytes(config) if verb == "train" else 0)


class _TimeIsUp(BaseException):
    """SLURM has warned that a job's time ends soon."""


def run_in_slurm(launch: Launch, name: str) -> State:
    """Run one task of a job array, and requeue it if its time ran out, or if it was killed.

    SLURM itself requeues a job that it preempts, and a job that somebody cancels must not come back: both get SIGTERM.
    """

    def stop(_number: int, _frame: FrameType | None) -> Never:
        raise _TimeIsUp

    signal.signal(signal.SIGUSR1, stop)
    state: State = "stopped"
    with suppress(_TimeIsUp):
        state = launch.run(name)
    if launch.can_retry(launch.tasks[name]) and state != "done" and (job := os.environ.get("SLURM_JOB_ID")):
        subprocess.run(["scontrol", "requeue", job], check=False)
    return state


def describe_launch(launch: Launch) -> dict[str, Any]:
    """Describe a plan's progress, from its files alone: tasks by state, what runs where, what failed, the time left."""
    records = {name: launch.read(task) for name, task in launch.tasks.items()}
    states: dict[str, list[str]] = {}
    for name, record in records.items():
        states.setdefault(record["state"], []).append(name)
    outputs = [launch.tasks[name].output for name in states.get("done", ())]
    return {
        "tasks": len(records),
        "states": {state: len(names) for state, names in states.items()},
        "running": [_where(name, records[name]) for name in states.get("running", [])],
        "failed": {name: records[name]["reason"] for name in states.get("failed", [])},
        "hours_left": _hours_left(launch, records),
        "results": [str(path) for path in outputs if path],
    }


def _where(name: str, record: Mapping[str, Any]) -> dict[str, Any]:
    attempt = record["attempts"][-1]
    minutes = round((time.time() - attempt["begin"]) / 60, 1)
    return {"task": name, "host": attempt["host"], "minutes": minutes, "attempt": len(record["attempts"])}


def _hours_left(launch: Launch, records: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Estimate the hours of all tasks left, one after the other, from the finished tasks of the same kind."""
    took: dict[int, list[float]] = {}
    kind_of = {name: task.stage % (2 * len(launch.plan.verbs)) for name, task in launch.tasks.items()}
    for name, record in records.items():
        if record["state"] == "done":
            took.setdefault(kind_of[name], []).append(record["attempts"][-1]["seconds"])
    left = [kind_of[name] for name, record in records.items() if record["state"] != "done"]
    seconds = [sum(took[stage]) / len(took[stage]) for stage in left if stage in took]
    return round(sum(seconds) / 3600, 2) if len(seconds) == len(left) else None
