"""Options of the command line, each defined once."""

import re
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from kaggle_unet.errors import ConfigError


def parse_time(text: str) -> float:
    """Parse a length of time, in seconds.

    >>> parse_time("9h"), parse_time("1.5m")
    (32400.0, 90.0)
    """
    if not (found := re.fullmatch(r"(\d+(?:\.\d+)?)([hms])", text)):
        raise ConfigError(f"--time-budget {text}: expected a time such as 9h, 90m or 45s")
    return float(found[1]) * {"h": 3600, "m": 60, "s": 1}[found[2]]


def parse_shard(text: str) -> Any:
    """Parse a share of the images; numpy and pydantic are not imported for a help."""
    from kaggle_unet.types import Shard

    return Shard.parse(text)


_dir = partial(Option, metavar="DIR")

# What a verb works on.
ConfigPath = Annotated[Path, Argument(metavar="CONFIG", help="The experiment's YAML file.")]
RunOrConfig = Annotated[Path, Argument(metavar="RUN_OR_CONFIG", help="A run's folder, or its experiment's YAML file.")]
RunsOrModel = Annotated[list[Path], Argument(metavar="RUN...", help="Runs to average, or a file that export wrote.")]
OtherRunOrConfig = Annotated[Path, Argument(metavar="OTHER", help="The run's folder or config to compare it with.")]
RunConfigOrModel = Annotated[Path, Argument(metavar="RUN_OR_CONFIG", help="A run, its YAML file, or a file of export.")]
Predicted = Annotated[
    Path | None,
    Argument(metavar="CSV_OR_LABELS_OR_RUN", help="A CSV, labels in any format, or a run, to score out-of-fold."),
]
ScoreTable = Annotated[
    Path | None, Option("--table", metavar="CSV", help="Write rows of images, and <name>_objects.csv. Default: no.")
]
CsvPath = Annotated[Path, Argument(metavar="CSV", help="A submission.")]
Overrides = Annotated[
    list[str] | None, Option("--set", metavar="KEY=VALUE", help="Override a key: --set training.epochs=5. Repeatable.")
]

# Data.
Data = Annotated[
    str, Option("--data", metavar="DATA", help="A zip, a folder, or a place in a zip: x.zip:dsb2018/train.")
]
DataToPredict = Annotated[str | None, Option("--data", metavar="DATA", help="Images to predict. Default: none.")]
Truth = Annotated[
    str | None, Option("--truth", metavar="DATA", help="Data, a CSV, or labels of any format. Default: a run's.")
]
Competition = Annotated[
    str, Option("--competition", metavar="NAME", help="dsb2018, tgs or folder (by DSB2018's rules).")
]
Metric = Annotated[str | None, Option("--competition", metavar="NAME", help="Whose metric is used. Default: folder.")]
Images = Annotated[str, Option("--images", help="Subfolder of the images (folder only).")]
Masks = Annotated[str, Option("--masks", help="Subfolder of the masks (folder only).")]
LabelsIn = Annotated[
    str, Argument(metavar="IN", help="A folder or zip of masks, with or without images, or a file of labels.")
]
LabelsOut = Annotated[Path, Argument(metavar="OUT", help="The folder; for coco and rle the file.")]
ToFormat = Annotated[str, Option("--to", metavar="FORMAT", help="tiff, png, ome-tiff, geojson, coco, imagej or rle.")]
MasksAre = Annotated[
    str | None,
    Option(
        "--masks-are",
        metavar="KIND",
        help="labels, binary, colours, classes, files, coco, geojson, rois or rle. Default: guessed.",
    ),
]
AcceptMasks = Annotated[bool, Option("--accept-masks", help="Go on although the masks look wrong, full of specks.")]
InitFolder = Annotated[Path, Argument(metavar="DIR", help="The folder of the new config.yaml.")]
OverridesOfInit = Annotated[
    list[str] | None,
    Option("--set", metavar="KEY=VALUE", help="A key of competition: competition.masks=dots. Repeatable."),
]
SkipBad = Annotated[bool, Option("--skip-bad", help="Leave out faulty samples.")]

ImagePlaces = Annotated[list[str], Argument(metavar="IMAGES...", help="Files, folders, globs or zips of images.")]

# Stores, runs and checkpoints.
Store = Annotated[
    Path | None,
    _dir(
        "--store",
        help="The store. Default: the run's; else store/ and the config's path below configs/, or its last two parts.",
    ),
]
MovedStore = Annotated[Path | None, _dir("--store", help="The run's store. Default: where it was made.")]
PseudoStore = Annotated[Path | None, _dir("--store", help="Output store. Default: the usual one and _pseudo.")]
AddedStores = Annotated[list[Path] | None, _dir("--add-store", help="Samples to train on in every fold. Repeatable.")]
Run = Annotated[
    Path | None,
    _dir(
        "--run", help="The run. Default: RUN; else runs/ and the config's path below configs/, or its last two parts."
    ),
]
ScoredRun = Annotated[Path | None, _dir("--run", help="The run's folder; older spelling. Default: RUN.")]
OtherRuns = Annotated[
    list[Path] | None, _dir("--with", help="A run to average with, by a searched weight. Repeatable.")
]
Checkpoints = Annotated[
    list[Path] | None,
    Option(
        "--checkpoint",
        metavar="PATH",
        help="A file or a fold's folder (its best). Repeatable. Default: the best of each of the run's folds.",
    ),
]
TrustCode = Annotated[bool, Option("--trust-code", help="Let model.name python:module:factory run that module's code.")]

# Training.
Folds = Annotated[
    str, Option("--fold", metavar="N", help="What to hold out: a fold, several (0,2), or all. Default: none.")
]
DryRun = Annotated[bool, Option("--dry-run", help="Check everything, and estimate minutes and disk; write nothing.")]
Resume = Annotated[bool, Option("--resume", help="Continue after the last complete epoch.")]
Track = Annotated[bool, Option("--track", help="Also log to TensorBoard (extra: track).")]
Devices = Annotated[int | None, Option("--devices", min=1, help="Devices of this machine. Default: torchrun's, or 1.")]
Nodes = Annotated[int | None, Option("--nodes", min=1, help="Machines of as many devices. Default: torchrun's, or 1.")]
ShowBatch = Annotated[Path | None, Option("--show-batch", metavar="PNG", help="Draw the first batch. Default: train.")]
Steps = Annotated[int, Option("--steps", min=1, help="Steps per loop and round.")]
Rounds = Annotated[int, Option("--repeat", min=1, help="Rounds; the medians are printed.")]

# Prediction, decoding, choices.
OutOfFold = Annotated[bool, Option("--oof", help="Predict each fold's own validation samples instead.")]
PlanesFolder = Annotated[Path | None, _dir("--planes", help="Folder for planes of --data. Default: none.")]
Decode = Annotated[
    str | None, Option("--decode", metavar="FILE", help="A file of tune, or the word config. Default: the run's.")
]
MaybeRunOrConfig = Annotated[Path | None, Argument(metavar="[RUN_OR_CONFIG]", help="A run, its YAML file, or a store.")]
ReportedCsv = Annotated[
    Path | None, Option("--csv", metavar="FILE", help="A submission on the images of --data. Default: a run.")
]
Against = Annotated[
    str | None,
    Option(
        "--against",
        metavar="RUN2|FILE",
        help="Compare with another run, or with other decode parameters (a file, or config). Default: none.",
    ),
]
SecondLevel = Annotated[
    str | None, _dir("--second-level", help="A folder of second-level, or none. Default: the run's.")
]
TrainingImages = Annotated[bool, Option("--train", help="Also predict and score each fold's training images.")]
Trials = Annotated[int, Option("--trials", min=1, help="Trials per search; those of earlier calls count.")]
Confidence = Annotated[
    float, Option("--confidence", min=0, max=1, help="Keep images with this fraction of certain pixels.")
]
PixelConfidence = Annotated[
    float, Option("--pixel-confidence", min=0, max=1, help="Pixels are certain if max(p, 1 - p) is above this.")
]
IgnoreUnsure = Annotated[bool, Option("--ignore-unsure", help="Exclude the other pixels of kept images from the loss.")]
Csvs = Annotated[list[Path], Option("--csv", metavar="CSV", help="A submission. Repeatable; at least two.")]
Weights = Annotated[
    list[float] | None,
    Option("--weight", metavar="NUMBER", help="Weights of the --csv, in order. Default: 1. Repeatable."),
]
TimeBudget = Annotated[
    float | None,
    Option(
        "--time-budget",
        metavar="TIME",
        parser=parse_time,
        help="Be done in this time, such as 9h or 90m: if the measured speed is too low, with fewer views, then fewer "
        "networks. Default: no limit.",
    ),
]
KaggleImage = Annotated[
    Path | None, Option("--image", metavar="TXT", help="python -V; pip freeze of Kaggle. Default: a rough list.")
]
KaggleOwner = Annotated[str, Option("--owner", metavar="NAME", help="Your name on Kaggle, as in its addresses.")]

SkipBadImages = Annotated[
    bool, Option("--skip-bad", help="Set aside images that can't be read, with the reason, and go on.")
]

# Many machines.
Shard = Annotated[
    Any,
    Option(
        "--shard",
        metavar="K/N",
        parser=parse_shard,
        help="Do the K-th of N shares of the images; the same command without it ends the work. Default: all.",
    ),
]
PlanPath = Annotated[Path, Argument(metavar="PLAN", help="The plan's YAML file.")]
Executor = Annotated[str, Option("--executor", metavar="NAME", help="local, ray or slurm.")]
LaunchFolder = Annotated[Path | None, _dir("--folder", help="Records and logs. Default: launches/<plan>.")]
LocalWorkers = Annotated[
    int | None, Option("--workers", min=1, help="local: tasks at a time. Default: by CPUs asked for.")
]
RayAddress = Annotated[str | None, Option("--address", metavar="HOST", help="ray: the cluster. Default: this machine.")]
ShowStatus = Annotated[bool, Option("--status", help="Say how far the plan is, from its files alone.")]
OneTask = Annotated[str | None, Option("--task", metavar="NAME", help="Run one task, as executors do. Default: all.")]
PlannedOnly = Annotated[bool, Option("--dry-run", help="Show what would be done, and do nothing.")]

# Output.
OutputCsv = Annotated[Path, Option("--output", "-o", metavar="CSV", help="The submission to write.")]
OutputPage = Annotated[
    Path | None, Option("--output", "-o", help="The page. Default: report.html in the run or store.")
]
SegmentReport = Annotated[bool, Option("--report", help="Also write report.html, to browse images and objects.")]
LabelsFolder = Annotated[Path | None, _dir("--labels", help="Also write one label TIFF per image. Default: none.")]
OutputModel = Annotated[Path, Option("--output", "-o", metavar="ONNX", help="The file to write.")]
OutputFolder = Annotated[Path, Option("--output", "-o", metavar="DIR", help="The folder of the results.")]
LabelFormats = Annotated[
    list[str] | None,
    Option(
        "--format",
        metavar="NAME",
        help="Also write geojson, coco, imagej, ome-tiff, png or rle, into DIR/NAME. Repeatable.",
    ),
]
PixelSize = Annotated[
    float | None, Option("--pixel-size", metavar="µm", help="A pixel's side in µm. Default: each file's.")
]
DemoFolder = Annotated[Path, _dir("--folder", help="Output folder.")]
Export = Annotated[
    tuple[str, Path] | None,
    Option("--export", metavar="png|tiff DIR", help="Also write planes and weight maps as image files. Default: none."),
]
Preview = Annotated[int, Option("--preview", min=0, help="Draw the first N samples with their targets.")]
Json = Annotated[bool, Option("--json", help="Print the result as one JSON document, and nothing else.")]
Workers = Annotated[int, Option("--workers", min=0, help="Number of processes; 0 means one per core.")]
Debug = Annotated[bool, Option("--debug", help="Show tracebacks.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Show only results and errors.")]
