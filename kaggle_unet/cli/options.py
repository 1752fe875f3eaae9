"""Options of the command line, each defined once."""

import re
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from kaggle_unet.errors import ConfigError


def parse_time(text: str) -> float:
    """Parse a duration, and return it in seconds.

    >>> parse_time("9h"), parse_time("1.5m")
    (32400.0, 90.0)
    """
    if not (found := re.fullmatch(r"(\d+(?:\.\d+)?)([hms])", text)):
        raise ConfigError(f"--time-budget {text}: expected a time such as 9h, 90m or 45s")
    return float(found[1]) * {"h": 3600, "m": 60, "s": 1}[found[2]]


def parse_shard(text: str) -> Any:
    """Parse a share of the images, without importing numpy and pydantic for `--help`."""
    from kaggle_unet.types import Shard

    return Shard.parse(text)


def _option(words: str, text: str, **more: Any) -> Any:
    """Describe an option by its names, followed by the placeholder for its value."""
    names = [word for word in words.split() if word.startswith("-")]
    return Option(*names, metavar=" ".join(words.split()[len(names) :]) or None, help=text, **more)


def _argument(name: str, text: str) -> Any:
    return Argument(metavar=name, help=text)


# What a verb works on.
ConfigPath = Annotated[Path, _argument("CONFIG", "The experiment's YAML file.")]
RunOrConfig = Annotated[Path, _argument("RUN_OR_CONFIG", "A run's folder, or its experiment's YAML file.")]
RunsOrModel = Annotated[list[Path], _argument("RUN...", "Runs to average, or a file written by export.")]
OtherRunOrConfig = Annotated[Path, _argument("OTHER", "The run or config to compare it with.")]
RunConfigOrModel = Annotated[Path, _argument("RUN_OR_CONFIG", "A run, its YAML file, or a file written by export.")]
Predicted = Annotated[
    Path | None, _argument("CSV_OR_LABELS_OR_RUN", "A CSV, labels in any format, or a run to score out-of-fold.")
]
ScoreTable = Annotated[Path | None, _option("--table CSV", "Write image scores and <name>_objects.csv. Default: no.")]
CsvPath = Annotated[Path, _argument("CSV", "A submission.")]
Overrides = Annotated[
    list[str] | None, _option("--set KEY=VALUE", "Override a key: --set training.epochs=5. Repeatable.")
]

# Data.
Data = Annotated[str, _option("--data DATA", "A zip, a folder, or a place in a zip: x.zip:dsb2018/train.")]
DataToPredict = Annotated[str | None, _option("--data DATA", "Images to predict. Default: none.")]
PredictedData = Annotated[str | None, _option("--data DATA", "The images of --csv. Default: none.")]
Truth = Annotated[str | None, _option("--truth DATA", "Data, a CSV, or labels in any format. Default: the run's own.")]
Competition = Annotated[str, _option("--competition NAME", "dsb2018, tgs, or folder (with DSB2018's rules).")]
CompetitionOnKaggle = Annotated[str, _option("--competition NAME", "dsb2018 or tgs.")]
Metric = Annotated[str | None, _option("--competition NAME", "Competition whose metric is used. Default: folder.")]
Images = Annotated[str, _option("--images", "Subfolder of the images (folder only).")]
Masks = Annotated[str, _option("--masks", "Subfolder of the masks (folder only).")]
LabelsIn = Annotated[str, _argument("IN", "A folder or zip of masks, with or without images, or a file of labels.")]
LabelsOut = Annotated[Path, _argument("OUT", "The output folder; for coco and rle, a file.")]
ToFormat = Annotated[str, _option("--to FORMAT", "tiff, png, ome-tiff, geojson, coco, imagej or rle.")]
MasksAre = Annotated[
    str | None,
    _option(
        "--masks-are KIND", "labels, binary, colours, classes, files, coco, geojson, rois or rle. Default: guessed."
    ),
]
AcceptMasks = Annotated[bool, _option("--accept-masks", "Go on even if the masks look wrong, such as full of specks.")]
InitFolder = Annotated[Path, _argument("DIR", "The folder for the new config.yaml.")]
OverridesOfInit = Annotated[
    list[str] | None, _option("--set KEY=VALUE", "Set a key of competition: competition.masks=dots. Repeatable.")
]
SkipBad = Annotated[bool, _option("--skip-bad", "Leave out faulty samples.")]

ImagePlaces = Annotated[list[str], _argument("IMAGES...", "Files, folders, globs or zips of images.")]

# Stores, runs and checkpoints.
Store = Annotated[
    Path | None,
    _option(
        "--store DIR",
        "The store. Default: the run's; else store/ plus the config's path in configs/ (nuclei/config.yaml: nuclei).",
    ),
]
MovedStore = Annotated[Path | None, _option("--store DIR", "The run's store. Default: where it was made.")]
PseudoStore = Annotated[Path | None, _option("--store DIR", "Output store. Default: the usual name plus _pseudo.")]
AddedStores = Annotated[list[Path] | None, _option("--add-store DIR", "A store to train on in every fold. Repeatable.")]
Run = Annotated[
    Path | None,
    _option(
        "--run DIR",
        "The run. Default: RUN; else runs/ plus the config's path in configs/ (nuclei/config.yaml: nuclei).",
    ),
]
ScoredRun = Annotated[Path | None, _option("--run DIR", "The run's folder (older spelling). Default: RUN.")]
OtherRuns = Annotated[
    list[Path] | None, _option("--with DIR", "A run to average with; tune searches its weight. Repeatable.")
]
Checkpoints = Annotated[
    list[Path] | None,
    _option(
        "--checkpoint PATH",
        "A file, or a fold's folder for its best one. Repeatable. Default: the best one of each of the run's folds.",
    ),
]
TrustCode = Annotated[bool, _option("--trust-code", "Let model.name python:module:factory run that module's code.")]

# Training.
Folds = Annotated[
    str, _option("--fold N", "The fold to hold out: one, several (0,2), all in turn, or full for none. Default: none.")
]
DryRun = Annotated[bool, _option("--dry-run", "Check everything, estimate time and disk space, and write nothing.")]
Resume = Annotated[bool, _option("--resume", "Continue after the last complete epoch.")]
Track = Annotated[bool, _option("--track", "Also log to TensorBoard (extra: track).")]
Devices = Annotated[int | None, _option("--devices", "Devices on this machine. Default: torchrun's, or 1.", min=1)]
Nodes = Annotated[int | None, _option("--nodes", "Machines with that many devices. Default: torchrun's, or 1.", min=1)]
ShowBatch = Annotated[
    Path | None, _option("--show-batch PNG", "Draw the first batch instead of training. Default: train.")
]
Steps = Annotated[int, _option("--steps", "Steps per loop and round.", min=1)]
Rounds = Annotated[int, _option("--repeat", "Rounds; the medians are printed.", min=1)]

# Prediction, decoding, choices.
OutOfFold = Annotated[bool, _option("--oof", "Predict each fold's own validation samples instead.")]
PlanesFolder = Annotated[
    Path | None, _option("--planes DIR", "Folder for planes of --data; other planes are deleted. Default: none.")
]
Decode = Annotated[str | None, _option("--decode FILE", "A file from tune, or the word config. Default: the run's.")]
MaybeRunOrConfig = Annotated[Path | None, _argument("[RUN_OR_CONFIG]", "A run, its YAML file, or a store.")]
ReportedCsv = Annotated[Path | None, _option("--csv FILE", "A submission for the images of --data. Default: a run.")]
Against = Annotated[
    str | None,
    _option(
        "--against RUN2|FILE",
        "Compare with another run, or with other decode parameters (a file, or the word config). Default: none.",
    ),
]
SecondLevel = Annotated[
    str | None, _option("--second-level DIR", "A folder from second-level, or the word none. Default: the run's.")
]
TrainingImages = Annotated[bool, _option("--train", "Also predict and score each fold's training images.")]
Trials = Annotated[int, _option("--trials", "Trials per search; those of an earlier call are not repeated.", min=1)]
Confidence = Annotated[float, _option("--confidence", "Least share of certain pixels in a kept image.", min=0, max=1)]
PixelConfidence = Annotated[
    float, _option("--pixel-confidence", "Pixels are certain if max(p, 1 - p) is above this.", min=0, max=1)
]
IgnoreUnsure = Annotated[bool, _option("--ignore-unsure", "Exclude the other pixels of kept images from the loss.")]
Csvs = Annotated[list[Path], _option("--csv CSV", "A submission. Repeatable; at least two.")]
Weights = Annotated[
    list[float] | None, _option("--weight NUMBER", "The weight of each --csv, in order. Default: 1. Repeatable.")
]
TimeBudget = Annotated[
    float | None,
    _option(
        "--time-budget TIME",
        "Finish in this time, such as 9h or 90m: if the measured speed is too low, use fewer views, then fewer "
        "networks. Default: no limit.",
        parser=parse_time,
    ),
]
KaggleImage = Annotated[Path | None, _option("--image TXT", "Kaggle's python -V; pip freeze. Default: a rough list.")]
KaggleOwner = Annotated[str, _option("--owner NAME", "Your user name on Kaggle, as in its URLs.")]

SkipBadImages = Annotated[
    bool, Option("--skip-bad", help="Set aside images that can't be read, with the reason, and go on.")
]

# Many machines.
Shard = Annotated[
    Any,
    _option(
        "--shard K/N",
        "Do the K-th of N shares of the images; the same command without --shard then finishes. Default: all.",
        parser=parse_shard,
    ),
]
PlanPath = Annotated[Path, _argument("PLAN", "The plan's YAML file.")]
Executor = Annotated[str, _option("--executor NAME", "local, ray or slurm.")]
LaunchFolder = Annotated[Path | None, _option("--folder DIR", "Folder of records and logs. Default: launches/<plan>.")]
LocalWorkers = Annotated[int | None, _option("--workers", "local: tasks at a time. Default: as CPUs allow.", min=1)]
RayAddress = Annotated[str | None, _option("--address HOST", "ray: the cluster's address. Default: this machine.")]
ShowStatus = Annotated[bool, _option("--status", "Show the plan's progress, from its files alone.")]
OneTask = Annotated[str | None, _option("--task NAME", "Run one task, as the executors do. Default: all.")]
PlannedOnly = Annotated[bool, _option("--dry-run", "Show what would be done, without doing it.")]

# Output.
OutputCsv = Annotated[Path, _option("--output -o CSV", "The submission to write.")]
OutputPage = Annotated[Path | None, _option("--output -o", "Page to write. Default: report.html in the run or store.")]
SegmentReport = Annotated[bool, _option("--report", "Also write report.html, to browse images and objects.")]
LabelsFolder = Annotated[Path | None, _option("--labels DIR", "Also write one label TIFF per image. Default: none.")]
OutputModel = Annotated[Path, _option("--output -o ONNX", "The file to write.")]
OutputFolder = Annotated[Path, _option("--output -o DIR", "The folder of the results.")]
LabelFormats = Annotated[
    list[str] | None,
    _option("--format NAME", "Also write geojson, coco, imagej, ome-tiff, png or rle, into DIR/NAME. Repeatable."),
]
PixelSize = Annotated[float | None, _option("--pixel-size µm", "A pixel's side in µm. Default: each file's.")]
DemoFolder = Annotated[Path, _option("--folder DIR", "Output folder.")]
Export = Annotated[
    tuple[str, Path] | None,
    _option("--export png|tiff DIR", "Also write planes and weight maps as image files. Default: none."),
]
Preview = Annotated[int, _option("--preview", "Draw the first N samples with their targets.", min=0)]
Json = Annotated[bool, _option("--json", "Print the result as one JSON document, and nothing else.")]
Workers = Annotated[int, _option("--workers", "Number of processes; 0 means one per core.", min=0)]
Debug = Annotated[bool, _option("--debug", "Show tracebacks.")]
Quiet = Annotated[bool, _option("--quiet -q", "Show only results, warnings and errors.")]
