"""Verbs that train and time networks, one or many: train, bench-train, launch."""

import shlex
import shutil
from functools import partial
from pathlib import Path

from kaggle_unet.cli import options
from kaggle_unet.cli.base import console, open_run, runs_networks


@runs_networks
def train(
    config: options.ConfigPath,
    fold: options.Folds = "",
    store: options.Store = None,
    add_store: options.AddedStores = None,
    run: options.Run = None,
    resume: options.Resume = False,
    track: options.Track = False,
    devices: options.Devices = None,
    nodes: options.Nodes = None,
    show: options.ShowBatch = None,
    dry_run: options.DryRun = False,
    overrides: options.Overrides = None,
) -> None:
    """Train one or more folds, and write checkpoints, metrics, curves, out-of-fold planes and score."""
    from kaggle_unet.config import load_config
    from kaggle_unet.steps.run import count_folds, experiment_name, fold_folder, parse_folds, run_folder, store_folder
    from kaggle_unet.steps.train import estimate_training, show_batch, train_fold
    from kaggle_unet.training.distributed import init_distributed
    from kaggle_unet.training.settings import BEST
    from kaggle_unet.types import FULL

    settings = load_config(config, overrides or ())
    run_path, store_path = run_folder(config, run), store_folder(config, store)
    folds = parse_folds(fold or ("0" if show else ""), count_folds(settings, store_path))
    if show is not None:
        console.wrote(batch=show_batch(settings, store_path, folds[0], show, add=add_store or ()))
        return
    if dry_run:
        console.estimate([estimate_training(settings, store_path, run_path, folds, add=add_store or ())])
        return
    distributed = init_distributed(settings.training, devices, nodes)
    if not distributed.is_rank_zero:
        console.silence()
    fit = partial(train_fold, settings, store_path, run_path, add=add_store or (), resume=resume, track=track)
    results = []
    for number in folds:
        with console.training(number, settings.training) as on_event:
            results.append(fit(number, on_event=on_event, on_warning=console.warn, distributed=distributed))
        console.fold_result(results[-1])
    console.result({"folds": [result.to_json() for result in results]})
    is_beside = FULL in folds and any(run_path.glob(f"fold*/{BEST}"))  # named, else only the folds' networks are used
    named = ("--checkpoint", run_path, "--checkpoint", fold_folder(run_path, FULL)) if is_beside else ()
    if settings.competition.name == "folder" and not settings.codec.classes:
        console.next(
            "kaggle-unet", "segment", run_path, "IMAGES", *named, "-o", Path("results") / experiment_name(config)
        )
    else:
        output = Path("results") / experiment_name(config).with_suffix(".csv")
        test = ("FOLDER", "--labels", "labels") if settings.codec.classes else ("TEST.zip",)
        console.next("kaggle-unet", "submit", run_path, "--data", *test, *named, "-o", output)


@runs_networks
def bench_train(
    experiment: options.RunOrConfig,
    store: options.Store = None,
    steps: options.Steps = 12,
    repeat: options.Rounds = 5,
    overrides: options.Overrides = None,
) -> None:
    """Measure images/s of the training loop, of the bare step on one batch, and of a plain fp32 loop."""
    from kaggle_unet.steps.bench_train import bench_train as measure

    opened = open_run(experiment, overrides, store=store)
    with console.progress() as on_progress:
        result = measure(opened.config, opened.store, steps=steps, repeat=repeat, on_progress=on_progress)
    console.result(result, console.training_speed)


def launch(
    plan: options.PlanPath,
    executor: options.Executor = "local",
    folder: options.LaunchFolder = None,
    workers: options.LocalWorkers = None,
    address: options.RayAddress = None,
    task: options.OneTask = None,
    status: options.ShowStatus = False,
    dry_run: options.PlannedOnly = False,
) -> None:
    """Run a plan of many commands (configs, folds, shards of the images) on this machine, on Ray or with SLURM."""
    from kaggle_unet.errors import ConfigError, KitError
    from kaggle_unet.steps import executors
    from kaggle_unet.steps.launch import Launch, read_plan

    opened = Launch(plan, read_plan(plan), folder or Path("launches") / plan.stem)
    if task is not None and task not in opened.tasks:
        raise ConfigError(f"--task {task}: {plan} has no such task; --dry-run lists them")
    if executor not in {"local", "ray", "slurm"}:
        raise ConfigError(f"--executor {executor}: expected local, ray or slurm")
    if task is not None:
        console.wrote(state=executors.run_in_slurm(opened, task))
        return
    if dry_run:
        console.wrote(commands=[shlex.join(("kaggle-unet", *one.words)) for one in opened.tasks.values()])
        estimates, unknown = executors.estimate_trainings(opened) if "train" in opened.plan.verbs else ([], [])
        console.estimate(estimates)
        if unknown:
            console.note(f"the time of training {', '.join(unknown)} can be measured once make-targets is done")
        n_bytes, free = executors.max_disk_bytes(opened), shutil.disk_usage(Path()).free
        console.wrote(disk=f"at most {n_bytes / 1e9:.2f} GB before compression; {free / 1e9:.2f} GB are free")
        console.warn("the disk may be too small for all results" if n_bytes > free else "")
    elif not status and executor == "slurm":
        console.wrote(jobs=" ".join(executors.submit_to_slurm(opened)))
        console.next("kaggle-unet", "launch", plan, "--status")
    elif not status:
        if (before := executors.describe_launch(opened))["states"] != {"done": before["tasks"]}:
            console.launch(before)
        run = partial(executors.run_here, workers=workers)
        run = partial(executors.run_on_ray, address=address) if executor == "ray" else run
        run(opened, on_task=lambda one, state: console.note(f"{one.name}: {state}"))
    found = executors.describe_launch(opened)
    console.result(found, console.launch)
    if not (status or dry_run or executor == "slurm") and found["states"] != {"done": found["tasks"]}:
        raise KitError(f"not all tasks are done; each has its log in {opened.folder}")
