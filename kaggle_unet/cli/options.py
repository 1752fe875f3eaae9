"""Options of the command line, each defined once."""

import re
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from kaggle_unet.errors import ConfigError
from kaggle_unet.types import Shard as ImageShard


def parse_time(text: str) -> float:
    """Parse a length of time, in seconds.

    >>> parse_time("9h"), parse_time("1.5m")
    (32400.0, 90.0)
    """
    if not (found := re.fullmatch(r"(\d+(?:\.\d+)?)([hms])", text)):
        raise ConfigError(f"--time-budget {text}: expected a time such as 9h, 90m or 45s")
    return float(found[1]) * {"h": 3600, "m": 60, "s": 1}[found[2]]


# What a verb works on.
ConfigPath = Annotated[Path, Argument(metavar="CONFIG", help="The experiment's YAML file.")]
RunOrConfig = Annotated[
    Path, Argument(metavar="RUN_OR_CONFIG", help="A run's folder, or the YAML file of its experiment.")
]
RunsOrModel = Annotated[list[Path], Argument(metavar="RUN...", help="Runs to average, or a file that export wrote.")]
OtherRunOrConfig = Annotated[Path, Argument(metavar="OTHER", help="The run's folder or config to compare it with.")]
RunConfigOrModel = Annotated[
    Path,
    Argument(
        metavar="RUN_OR_CONFIG", help="A run's folder, the YAML file of its experiment, or a file that export wrote."
    ),
]
Predicted = Annotated[
    Path | None,
    Argument(
        metavar="CSV_OR_LABELS_OR_RUN",
        help="A submission, or labels in any format, or a run's folder for its out-of-fold score.",
    ),
]
ScoreTable = Annotated[
    Path | None,
    Option(
        "--table", metavar="CSV", help="Write a row per image, and <name>_objects.csv with one per object. Default: no."
    ),
]
CsvPath = Annotated[Path, Argument(metavar="CSV", help="A submission.")]
Overrides = Annotated[
    list[str] | None,
    Option("--set", metavar="KEY=VALUE", help="Override a key of the config: --set training.epochs=5. Repeatable."),
]

# Data.
Data = Annotated[
    str, Option("--data", metavar="DATA", help="A zip, a folder, or a path inside a zip: x.zip:dsb2018/train.")
]
DataToPredict = Annotated[str | None, Option("--data", metavar="DATA", help="Images to predict. Default: none.")]
Truth = Annotated[
    str | None,
    Option(
        "--truth",
        metavar="DATA",
        help="What --data takes, a CSV, or labels in any format. Default: none; a run has its own.",
    ),
]
Competition = Annotated[
    str, Option("--competition", metavar="NAME", help="dsb2018, tgs or folder (with the rules of DSB2018).")
]
Metric = Annotated[
    str | None, Option("--competition", metavar="NAME", help="The competition whose metric is used. Default: folder.")
]
Images = Annotated[str, Option("--images", help="Subfolder of the images (folder only).")]
Masks = Annotated[str, Option("--masks", help="Subfolder of the masks (folder only).")]
LabelsIn = Annotated[
    str, Argument(metavar="IN", help="Labels: a folder or zip of masks, with images or without, or one file of them.")
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
AcceptMasks = Annotated[
    bool, Option("--accept-masks", help="Go on although the masks look wrong, such as with specks for objects.")
]
InitFolder = Annotated[Path, Argument(metavar="DIR", help="The folder of the new config.yaml.")]
OverridesOfInit = Annotated[
    list[str] | None,
    Option("--set", metavar="KEY=VALUE", help="A key of competition, such as competition.masks=dots. Repeatable."),
]
SkipBad = Annotated[bool, Option("--skip-bad", help="Leave out faulty samples.")]

ImagePlaces = Annotated[
    list[str], Argument(metavar="IMAGES...", help="Files, folders, globs or zips of images, without any masks.")
]

# Stores, runs and checkpoints.
Store = Annotated[
    Path | None,
    Option(
        "--store",
        metavar="DIR",
        help="The store. Default: the run's; else store/ and the config's path below configs/, or its last two parts.",
    ),
]
MovedStore = Annotated[
    Path | None, Option("--store", metavar="DIR", help="The run's store. Default: where it was made.")
]
PseudoStore = Annotated[
    Path | None,
    Option("--store", metavar="DIR", help="Output store. Default: as --store of make-targets, with _pseudo."),
]
AddedStores = Annotated[
    list[Path] | None,
    Option("--add-store", metavar="DIR", help="More samples to train on in every fold; never validated. Repeatable."),
]
Run = Annotated[
    Path | None,
    Option(
        "--run",
        metavar="DIR",
        help="The run. Default: RUN; else runs/ and the config's path below configs/, or its last two parts.",
    ),
]
ScoredRun = Annotated[
    Path | None, Option("--run", metavar="DIR", help="The run's folder; older spelling. Default: RUN.")
]
OtherRuns = Annotated[
    list[Path] | None,
    Option("--with", metavar="DIR", help="Another run to average with; its weight is searched, too. Repeatable."),
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
    str,
    Option(
        "--fold", metavar="N", help="The fold to hold out: a number, several as 0,2, or all. Default: none, say which."
    ),
]
DryRun = Annotated[bool, Option("--dry-run", help="Check everything, and estimate minutes and disk; write nothing.")]
Resume = Annotated[bool, Option("--resume", help="Continue after the last complete epoch.")]
Track = Annotated[bool, Option("--track", help="Also log to TensorBoard (extra: track).")]
Devices = Annotated[
    int | None, Option("--devices", min=1, help="Devices on this machine, with DDP. Default: torchrun's, or 1.")
]
Nodes = Annotated[
    int | None, Option("--nodes", min=1, help="Machines with as many devices. Default: torchrun's, or 1.")
]
ShowBatch = Annotated[
    Path | None, Option("--show-batch", metavar="PNG", help="Draw the first batch, and stop. Default: train.")
]
Steps = Annotated[int, Option("--steps", min=1, help="Steps per loop and round.")]
Rounds = Annotated[int, Option("--repeat", min=1, help="Rounds; the medians are printed.")]

# Prediction, decoding, choices.
OutOfFold = Annotated[bool, Option("--oof", help="Predict each fold's own validation samples instead.")]
PlanesFolder = Annotated[
    Path | None, Option("--planes", metavar="DIR", help="Output folder for the planes of --data. Default: none.")
]
Decode = Annotated[
    str | None,
    Option("--decode", metavar="FILE", help="A file that tune wrote, or config for the config's. Default: the run's."),
]
MaybeRunOrConfig = Annotated[
    Path | None,
    Argument(
        metavar="[RUN_OR_CONFIG]", help="A run's folder, or the YAML file of its experiment; or a store's folder."
    ),
]
ReportedCsv = Annotated[
    Path | None, Option("--csv", metavar="FILE", help="A submission to show on the images of --data. Default: a run.")
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
    str | None,
    Option("--second-level", metavar="DIR", help="A folder that second-level wrote, or none. Default: the run's."),
]
TrainingImages = Annotated[
    bool, Option("--train", help="Also predict and score the images that each fold was trained on.")
]
Trials = Annotated[int, Option("--trials", min=1, help="Trials per search; those of earlier calls count.")]
Confidence = Annotated[
    float, Option("--confidence", min=0, max=1, help="Keep images with at least this fraction of certain pixels.")
]
PixelConfidence = Annotated[
    float, Option("--pixel-confidence", min=0, max=1, help="A pixel is certain if max(p, 1 - p) is above this.")
]
IgnoreUnsure = Annotated[bool, Option("--ignore-unsure", help="Exclude the other pixels of kept images from the loss.")]
Csvs = Annotated[list[Path], Option("--csv", metavar="CSV", help="A submission. Repeatable; at least two.")]
Weights = Annotated[
    list[float] | None,
    Option("--weight", metavar="NUMBER", help="Weight of each --csv, in order; 1 by default. Repeatable."),
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
    Path | None,
    Option("--image", metavar="TXT", help="What python -V; pip freeze print on Kaggle. Default: an approximate list."),
]
KaggleOwner = Annotated[str, Option("--owner", metavar="NAME", help="Your name on Kaggle, as in its addresses.")]

# Many machines.
Shard = Annotated[
    ImageShard | None,
    Option(
        "--shard",
        metavar="K/N",
        parser=ImageShard.parse,
        help="Do the K-th of N shares of the images; the same command without it ends the work. Default: all.",
    ),
]
PlanPath = Annotated[Path, Argument(metavar="PLAN", help="The plan's YAML file.")]
Executor = Annotated[str, Option("--executor", metavar="NAME", help="local, ray or slurm.")]
LaunchFolder = Annotated[
    Path | None, Option("--folder", metavar="DIR", help="Records and logs of the tasks. Default: launches/<plan>.")
]
LocalWorkers = Annotated[
    int | None, Option("--workers", min=1, help="local: tasks at a time. Default: one per CPU they ask for.")
]
RayAddress = Annotated[
    str | None, Option("--address", metavar="HOST:PORT", help="ray: the cluster. Default: this machine.")
]
ShowStatus = Annotated[bool, Option("--status", help="Say how far the plan is, from its files alone.")]
OneTask = Annotated[
    str | None, Option("--task", metavar="NAME", help="Run one task, as the executors do. Default: all.")
]
PlannedOnly = Annotated[bool, Option("--dry-run", help="Show what would be done, and do nothing.")]

# Output.
OutputCsv = Annotated[Path, Option("--output", "-o", metavar="CSV", help="The submission to write.")]
OutputPage = Annotated[
    Path | None, Option("--output", "-o", help="The page to write. Default: report.html in the run or store.")
]
SegmentReport = Annotated[
    bool, Option("--report", help="Also write report.html, a page to browse the images and their objects.")
]
LabelsFolder = Annotated[
    Path | None, Option("--labels", metavar="DIR", help="Also write one label TIFF per image. Default: none.")
]
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
    float | None,
    Option("--pixel-size", metavar="µm", help="Side of a pixel in micrometres. Default: what each file says."),
]
DemoFolder = Annotated[Path, Option("--folder", metavar="DIR", help="Output folder.")]
Export = Annotated[
    tuple[str, Path] | None,
    Option("--export", metavar="png|tiff DIR", help="Also write planes and weight maps as image files. Default: none."),
]
Preview = Annotated[int, Option("--preview", min=0, help="Draw the first N samples with their targets.")]
Json = Annotated[bool, Option("--json", help="Print the result as one JSON document, and nothing else.")]
Workers = Annotated[int, Option("--workers", min=0, help="Number of processes; 0 means one per core.")]
Debug = Annotated[bool, Option("--debug", help="Show tracebacks.")]
Quiet = Annotated[bool, Option("--quiet", "-q", help="Show only results and errors.")]
