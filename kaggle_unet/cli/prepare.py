"""Verbs that come before training: demo, doctor, config, init, make-targets, convert."""

import os
from pathlib import Path
from typing import Any

from kaggle_unet.cli import options
from kaggle_unet.cli.base import console, open_run, repeat
from kaggle_unet.errors import ConfigError


def demo(folder: options.DemoFolder = Path("demo")) -> None:
    """Run the whole pipeline on drawn images: about two minutes on two CPU cores."""
    from kaggle_unet.steps.demo import demo as run_demo

    console.result(run_demo(folder, console))


def doctor() -> None:
    """Check this machine and the installed packages."""
    from kaggle_unet.steps.provenance import examine

    found = examine()
    console.result(found, console.stats)
    if found["verdict"].startswith("not"):
        raise ConfigError(f"{found['verdict']}: {found['to fix'][0]}")


def show_config(experiment: options.RunOrConfig, overrides: options.Overrides = None) -> None:
    """Print a config with all its keys, and the default beside each value that differs from it."""
    from kaggle_unet.config import plain
    from kaggle_unet.steps.init import list_changes
    from kaggle_unet.steps.init import show_config as show

    config = open_run(experiment, overrides).config
    changes = {key: {"value": value, "default": default} for key, (value, default) in list_changes(config).items()}
    console.result({"config": plain(config), "changes": changes}, lambda _: console.say(show(config).rstrip()))


def diff_configs(experiment: options.RunOrConfig, other: options.OtherRunOrConfig) -> None:
    """Print the keys in which two configs differ."""
    from kaggle_unet.config import plain
    from kaggle_unet.steps.init import to_flow
    from kaggle_unet.store import find_differences

    found = find_differences(*(plain(open_run(given).config) for given in (experiment, other)))
    console.result({"differences": {key: values for key, *values in found}})
    console.table(("key", str(experiment), str(other)), [(key, *map(to_flow, values)) for key, *values in found])


def config_schema() -> None:
    """Print the JSON Schema of a config, with which an editor completes and checks keys."""
    from kaggle_unet.steps.init import config_schema as describe

    console.as_json = True
    console.result(describe())


def init(
    folder: options.InitFolder,
    data: options.Data,
    skip_bad: options.SkipBad = False,
    overrides: options.OverridesOfInit = None,
) -> None:
    """Look at your own images and masks, and write a config for them, with a reason for each choice."""
    from kaggle_unet.steps.init import write_config

    config, found = write_config(folder, data, overrides or (), skip_bad=skip_bad)
    console.wrote(found=found, config=config)
    skip = ("--skip-bad",) if skip_bad else ()
    console.next("kaggle-unet", "make-targets", config, "--data", data, "--preview", 8, *skip)


def make_targets(
    config: options.ConfigPath,
    data: options.Data,
    store: options.Store = None,
    preview: options.Preview = 0,
    skip_bad: options.SkipBad = False,
    accept_masks: options.AcceptMasks = False,
    export: options.Export = None,
    workers: options.Workers = 0,
    shard: options.Shard = None,
    overrides: options.Overrides = None,
) -> None:
    """Prepare samples, target planes, weight maps and folds from a zip or a folder."""
    from kaggle_unet.config import load_config
    from kaggle_unet.steps.make_targets import export_targets
    from kaggle_unet.steps.make_targets import make_targets as prepare
    from kaggle_unet.steps.report import write_target_figures
    from kaggle_unet.steps.run import store_folder

    settings = load_config(config, overrides or ())
    folder = store_folder(config, store)
    fold_file = config.parent / settings.competition.folds if settings.competition.folds else None
    if export and export[0] not in {"png", "tiff"}:
        raise ConfigError(f"--export {export[0]}: expected png or tiff, and then a folder: --export png {export[1]}")
    with console.progress() as on_progress:
        allow = [*(["faulty samples"] if skip_bad else []), *(["doubtful masks"] if accept_masks else [])]
        how: dict[str, Any] = {"workers": workers or os.cpu_count() or 1, "on_progress": on_progress}
        report = prepare(settings, data, folder, fold_file=fold_file, allow=allow, shard=shard, **how)
        if shard is not None:
            console.wrote(shard=str(shard))
            return
        if export:
            export_targets(settings, folder, *export, **how)
    console.result(report, console.data_report)
    console.wrote(store=folder, export=export[1:] if export else [])
    console.wrote(preview=write_target_figures(settings, folder, preview))
    places = ("--store", store) if store else ()
    console.next("kaggle-unet", "train", config, "--fold", 0, *places, *repeat(overrides))


def convert(
    data: options.LabelsIn,
    output: options.LabelsOut,
    to: options.ToFormat,
    images: options.Images = "images",
    masks: options.Masks = "masks",
    masks_are: options.MasksAre = None,
    pixel_size: options.PixelSize = None,
) -> None:
    """Convert labels between formats, and count what is lost on the way."""
    from kaggle_unet.steps.check import competition_settings
    from kaggle_unet.steps.convert import convert as write

    settings = competition_settings("folder", images=images, masks=masks, masks_are=masks_are)
    with console.progress() as on_progress:
        result = write(data, output, to, settings, pixel_size=pixel_size, on_progress=on_progress)
    console.result(result, console.converted)
