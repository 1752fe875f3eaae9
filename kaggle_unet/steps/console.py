"""Console output: progress bars in a terminal, plain lines elsewhere, or one JSON document.

With `--json`, standard output has nothing but the document, which is written when the verb is done. The console is
never silent for long: a thread repeats the last line of progress when nothing has been printed for some seconds.
"""

import json
import re
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Never

from rich.console import Console as RichConsole
from rich.markup import escape as escape_markup
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from kaggle_unet.errors import KitError, shorten_list
from kaggle_unet.steps.progress import Stage, TrainingStage, clock, name_fold

if TYPE_CHECKING:
    from kaggle_unet.steps.bench_train import TrainingSpeed
    from kaggle_unet.steps.check import Submission
    from kaggle_unet.steps.convert import Converted
    from kaggle_unet.steps.data_report import DataReport
    from kaggle_unet.steps.parallel import OnProgress
    from kaggle_unet.steps.score import Scores
    from kaggle_unet.steps.second_level import SecondLevelResult
    from kaggle_unet.steps.segment import Segmented
    from kaggle_unet.steps.slide import SegmentedSlides
    from kaggle_unet.steps.train import FoldResult
    from kaggle_unet.steps.tune import TuneResult
    from kaggle_unet.training.settings import TrainingSettings

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
OF_CONFIG = "config"  # the name of decode parameters that come from no file


def escape(text: str) -> str:
    r"""Return text without markup, and without what a file's name could do to a terminal.

    >>> escape("a\x1b[31m.png")
    'a\\x1b[31m.png'
    """
    return escape_markup(_CONTROL.sub(lambda match: repr(match.group())[1:-1], text))


_SILENT_S = 8.0  # after which the last line of progress is printed again


class Console:
    """Results on standard output, progress and errors on standard error."""

    def __init__(self) -> None:
        self.debug = self.quiet = self.as_json = False
        self._out = RichConsole(highlight=False, soft_wrap=True)
        if not self._out.is_terminal:  # rich assumes 80 columns, and would cut tables in a pipe
            self._out = RichConsole(highlight=False, soft_wrap=True, width=200)
        self._err = RichConsole(stderr=True, highlight=False, soft_wrap=True)
        self._document: dict[str, Any] = {}
        self._stage: Stage | None = None
        self._has_bar = False
        self._spoke = time.monotonic()

    @contextmanager
    def answering(self, *, debug: bool, quiet: bool, as_json: bool) -> Iterator[None]:
        """Report on a verb: never be silent for long, and write its document at the end."""
        self.debug, self.quiet, self.as_json = self.debug or debug, self.quiet or quiet, self.as_json or as_json
        self._document, self._spoke, begun = {}, time.monotonic(), time.monotonic()
        ended = Event()

        def say_what_goes_on() -> None:
            while not ended.wait(_SILENT_S / 8):
                stage = self._stage
                if time.monotonic() - self._spoke >= _SILENT_S and not (self._has_bar and stage):
                    at_work = f"at work, {clock(time.monotonic() - begun)} elapsed"
                    self.note(f"{stage.what}: {stage}" if stage else at_work)

        def show_warning(message: Any, category: Any, filename: str, *rest: Any, **more: Any) -> None:
            is_ours = category is UserWarning and Path(__file__).parents[1] in Path(filename).parents
            self.warn(str(message)) if is_ours else shown(message, category, filename, *rest, **more)

        thread = Thread(target=say_what_goes_on, daemon=True)
        thread.start()
        shown, warnings.showwarning = warnings.showwarning, show_warning
        try:
            yield
        finally:
            warnings.showwarning = shown
            ended.set()
            thread.join()
        self._write_document(self._document)

    def _write_document(self, document: Mapping[str, Any]) -> None:
        if self.as_json and not self._out.quiet:
            print(json.dumps(document, indent=2, default=str))  # noqa: T201

    def silence(self) -> None:
        """Show nothing from now on: of several processes that do the same work, one speaks for all."""
        self._out.quiet = self._err.quiet = True

    def say(self, text: str) -> None:
        """Print a line of a result, unless a document will hold the result itself."""
        if not self.as_json:
            self._spoke = time.monotonic()
            self._out.print(escape(text))

    def wrote(self, **found: object) -> None:
        """Print where results are, one line for each, after a name."""
        self._document |= found
        for name, places in found.items():
            for place in places if isinstance(places, Sequence) and not isinstance(places, str) else [places]:
                self.say(f"{name:8} {place}")

    def error(self, text: str) -> None:
        """Print what went wrong."""
        self._err.print(f"[bold red]error[/] {escape(text)}")

    def fail(self, error: BaseException, code: int) -> Never:
        """Print an error and end the process, or raise it if tracebacks are wanted."""
        problems = getattr(error, "problems", ())
        self._write_document(self._document | {"error": str(error), "exit_code": code, "problems": problems})
        if self.debug:
            raise error
        is_ours = code == 1 and not isinstance(error, KitError)
        hint = "\nThis is a bug in kaggle-unet; add --debug to see where."
        self.error(f"{type(error).__name__}: {error}{hint}" if is_ours else str(error))
        sys.exit(code)

    def result(self, found: Any, show: Callable[[Any], None] = lambda _: None) -> None:
        """Add a result to the document, and print it for people."""
        self._document |= found if isinstance(found, dict) else found.to_json()
        show(found)

    def note(self, line: str) -> None:
        """Print a line of progress."""
        if not self.quiet:
            self._spoke = time.monotonic()
            self._err.print(escape(line))

    def warn(self, text: str) -> None:
        """Print a warning of what is allowed but should be known."""
        if text:
            self._err.print(f"[yellow]warning[/] {escape(text)}")

    def warn_of(self, texts: Sequence[str]) -> None:
        """Print a few warnings, and how many more there are."""
        for text in shorten_list(texts):
            self.warn(text)

    def next(self, *words: object) -> None:
        """Print the command that usually follows, so that it can be pasted."""
        self._document["next"] = [str(word) for word in words]
        if not self.quiet and not self.as_json:
            self._out.print(f"[dim]next[/]     {escape(shlex.join(map(str, words)))}")

    @contextmanager
    def progress(self) -> "Iterator[OnProgress]":
        """Show the progress of a step."""
        with self._bar() as bar:
            yield partial(self._show, bar, {})

    def _show(self, bar: Progress, stages: dict[str, tuple[Stage, TaskID]], what: str, done: int, total: int) -> None:
        if what not in stages:
            stage = Stage(what, total, first=done)
            stages[what] = stage, bar.add_task(what, total=total, stage=stage)
        self._stage, task = stages[what]
        if is_news := self._stage.note == "begin" or self._stage.done < total:
            self._stage.update(done)
        bar.update(task, completed=done)
        if is_news and done == total and not self._has_bar:
            self.note(f"{what}: {self._stage}")

    @contextmanager
    def training(self, fold: int, settings: "TrainingSettings") -> Iterator[Callable[[Any], None]]:
        """Show a fold's training: a bar, and a line per epoch."""
        with self._bar() as bar:
            others: dict[str, tuple[Stage, TaskID]] = {}
            self._stage = stage = TrainingStage(fold, settings)
            task = bar.add_task(stage.what, total=settings.epochs, stage=stage)

            def on_event(event: Any) -> None:
                if after := getattr(event, "after", ""):
                    self._show(bar, others, f"{stage.what}, {after}", event.done, event.total)
                    return
                if line := stage.take(event):
                    self.note(f"{stage.what}: {line}")
                self.warn(getattr(event, "warning", ""))
                bar.update(task, completed=stage.done)

            yield on_event

    def fold_result(self, result: "FoldResult") -> None:
        """Print the result of a fold."""
        ended = f"best epoch {result.best_epoch} of {result.epochs} ({result.stopped_by})"
        how = ("", "") if result.views == 1 else (" (one view of each image)", f" (the mean of {result.views} views)")
        oof = "on images of its own training"
        if result.oof_score is not None:
            oof = f"out-of-fold {result.oof_score:.4f}{how[1]} on {result.samples} samples"
        self.say(f"{name_fold(result.fold)}   {ended}, validation {result.best_score:.4f}{how[0]}; {oof}")
        self.say(f"         {result.folder}")
        if result.other_checkpoints:
            others = (f"{name} {score:.4f}" for name, score in result.other_checkpoints.items())
            self.say(f"         other checkpoints: {', '.join(others)}")

    def estimate(self, found: Sequence[Any]) -> None:
        """Print what a call would take."""
        self._document["estimates"] = [one.to_json() for one in found]
        for one in found:
            self.say(f"would    {one.work}")
            self.say(f"time     about {one.minutes:.1f} minutes, as measured now on {one.measured}")
            self.say(f"disk     at most about {one.disk_bytes / 1e6:.1f} MB")

    def training_speed(self, result: "TrainingSpeed") -> None:
        """Print how fast training is."""
        self.say(f"data     {result.data}, batches of {result.batch}, inputs {result.inputs}")
        self.say(f"device   {result.device['text']}")
        rows = [[name, *(f"{speed:.1f}" for speed in loop.values())] for name, loop in result.loops.items()]
        self.table(("images/s", f"median of {result.rounds}", "lowest", "highest"), rows)
        for name, ratio in result.ratios.items():
            self.say(f"{name}: {ratio:.2f}")
        for name, best in result.roofline.items():
            self.say(f"{name}: {best['measured']:.3g} {best['unit']}; the bare step reaches {best['share']:.1%} of it")

    def data_report(self, report: "DataReport") -> None:
        """Print what `make-targets` found."""
        if classes := report.get("classes"):
            self.say(f"{report['samples']} samples, {len(classes)} classes")
            total = max(1, sum(classes.values()))
            self.table(("class", "pixels", "share"), [(name, n, n / total) for name, n in classes.items()])
        else:
            counts = f"{report['instances']} instances, {report['without_instances']} empty samples"
            self.say(f"{report['samples']} samples, {counts}")
        for name in () if classes else ("instances_per_sample", "area_px", "object_px"):
            self.say(f"{name}: " + ", ".join(f"{key} {value:g}" for key, value in report[name].items()))
        for kind in ("kinds", "sizes"):
            self.say(f"{kind}: " + ", ".join(f"{key} {count}" for key, count in report[kind].items()))
        if report["oddities"]:
            columns = ("what", "samples", "count", "done", "example")
            self.table(columns, [[row[name] for name in columns] for row in report["oddities"]])
        self.say(f"round-trip score: {report['ceiling']:.4f}, what a perfect network gets with this codec and decoding")
        for line in report["folds"]["lines"]:
            self.say(line)
        self.warn_of([f"left out: {fault}" for fault in report["faulty"]])
        if sure := report.get("confidence"):
            self.say(f"decoding {sure.get('decoding', 'config')}, second level {sure.get('second_level') or 'none'}")
            self.say("confidence: " + ", ".join(f"p{mark} {value:.4f}" for mark, value in sure["quantiles"]))
            self.say("kept at confidence: " + ", ".join(f"{bound:g} {count}" for bound, count in sure["kept_at"]))
            self.say("kept     {kept} of {images} images; {constant} constant images are left out".format(**sure))

    def converted(self, result: "Converted") -> None:
        """Print what was converted, and what was found and lost."""
        self.say(f"labels   {result.output}: {result.images} images, {result.objects} objects")
        if result.leaves_out:
            self.say(f"         this format does not hold {result.leaves_out}")
        if result.found:
            self.table(("what", "count", "done"), result.found)

    def submission(self, written: "Submission") -> None:
        """Print where a submission is and how to hand it in."""
        counts = f"{written.images} ids, {written.objects} objects, {written.blank} blank"
        self.say(f"csv      {written.path}: {counts}")
        self.say(written.how)
        self.say(f"manifest {written.path.with_suffix('.json')}")
        self.warn_of(written.warnings)
        if written.slug:
            self.next("kaggle", "competitions", "submit", written.slug, "-f", written.path, "-m", "kaggle-unet")

    def segmented(self, found: "Segmented") -> None:
        """Print where the results of `segment` are."""
        done = f", {found.done_before} of them done before" if found.done_before else ""
        self.say(f"images   {found.images}{done}; {found.objects} objects")
        for place in ("labels", "overlays", *found.formats, "measurements.csv"):
            self.say(f"wrote    {found.folder / place}")
        self.warn_of(found.warnings)

    def segmented_slides(self, found: "SegmentedSlides") -> None:
        """Print where the results of slides are."""
        self.wrote(slides=found.folders)
        self.say(f"objects  {found.objects}")
        self.warn_of(found.warnings)

    def scores(self, result: "Scores") -> None:
        """Print scores."""
        low, high = result.interval
        self.say(f"score    {result.score:.4f}  (95 % of resampled sets of images: {low:.4f} to {high:.4f})")
        objects = f", objects {result.true_objects}, predicted {result.predicted_objects}"
        self.say(f"images   {result.images}{'' if result.per_iou is None else objects}")
        if result.decoding not in {None, OF_CONFIG}:
            self.say(f"decoding {result.decoding}; if it was searched on these images, the score is optimistic")
        for name, parts in result.parts.items():
            rows = [
                (key, part["score"], "{:.4f} to {:.4f}".format(*part["interval"]), part["images"])
                for key, part in parts.items()
            ]
            self.table((name, "score", "interval", "images"), rows)
        self.say("pixels   " + ", ".join(f"{name} {value:.4f}" for name, value in result.pixels.items()))
        tables = (result.per_class, result.per_iou, result.per_area, result.oracle_fixes)
        for table in (table for table in tables if table is not None):
            self.table(table.columns, table.itertuples(index=False))
        if trained_on := result.trained_on:
            sets = {"trained on": trained_on, "out-of-fold": result}
            compared = [(name, one.score, one.images, *one.pixels.values()) for name, one in sets.items()]
            self.table(("samples", "score", "images", *result.pixels), compared)

    def tuned(self, result: "TuneResult") -> None:
        """Print the result of a search."""
        folder = Path(result.folder)
        if result.alone is not None:
            self.say(f"alone    {result.alone:.4f} for the first run with the config's decoding")
        self._gain(result, f"on held-out parts, {result.trials} trials each")
        self.say(f"after    {result.after:.4f} in-sample, on the images searched")
        if not result.is_used:
            self.warn("no gain on held-out images: the config's values are kept")
        rows = []
        for name, value in result.params.items():
            effect = result.effects.get(name) if result.is_used else None
            shown = "{:+.4f} ({:+.4f} to {:+.4f})".format(*effect) if effect and any(effect) else "none"
            rows.append((name, str(value), shown if effect else "as before"))
        self.table(("parameter", "value", "in-sample effect"), rows)
        curve = dict(list(result.by_threshold.items())[1::2])
        self.table(("mask_threshold", *curve), [("in-sample score", *curve.values())])
        self.say(f"decode   {folder / 'decode.yaml'}; submit uses it")
        self.say(f"pictures {folder / 'tune' / 'landscape.png'}, {folder / 'tune' / 'thresholds.png'}")

    def second_level(self, result: "SecondLevelResult") -> None:
        """Print the result of a second level."""
        self._gain(result, f"on held-out parts, {result.objects} candidates")
        if not result.is_used:
            self.warn("no gain on held-out images: submit will not use it")
        self.say(f"decoding {result.decoding}")
        if result.true_per_found:  # else no object is found, or there is none
            self.say(f"missed   {result.true_per_found - 1:.2f} objects for each found, mean over IoU thresholds")
        self.say(f"model    {result.folder}{'; submit uses it' * result.is_used}")

    def launch(self, found: Mapping[str, Any]) -> None:
        """Print the progress of a plan."""
        states = ", ".join(f"{count} {state}" for state, count in found["states"].items())
        left = "" if not found["hours_left"] else f"; {found['hours_left']:.2f} hours of tasks are left"
        self.say(f"tasks    {states}{left}")
        for one in found["running"]:
            self.say("running  {task} on {host} for {minutes} minutes, attempt {attempt}".format(**one))
        for name, reason in found["failed"].items():
            self.say(f"failed   {name}: {reason}")
        for path in found["results"]:
            self.say(f"result   {path}")

    def stats(self, found: Mapping[str, Any]) -> None:
        """Print pairs of name and value."""
        for name, value in found.items():
            if isinstance(value, Mapping):
                self.say(f"{name}:")
                for inner, text in value.items():
                    self.say(f"  {inner}: {text}")
            else:
                is_list = isinstance(value, Sequence) and not isinstance(value, str)
                self.say(f"{name}: {('; '.join(value) or 'nothing') if is_list else value}")

    def table(self, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
        """Print a table, floats with four decimals."""
        table = Table(box=None, pad_edge=False, header_style="dim")
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*(f"{cell:.4f}" if isinstance(cell, float) else escape(str(cell)) for cell in row))
        if not self.as_json:
            self._out.print(table)

    def _gain(self, result: "TuneResult | SecondLevelResult", how: str) -> None:
        low, high = result.interval
        self.say(f"before   {result.before:.4f} on {result.images} images, out-of-fold")
        self.say(f"held-out {result.held_out:.4f} {how}")
        self.say(f"gain     {result.gain:+.4f}  (95 % of resampled sets of images: {low:+.4f} to {high:+.4f})")

    @contextmanager
    def _bar(self) -> Iterator[Progress]:
        columns = (TextColumn("{task.description}"), BarColumn(12), TextColumn("{task.fields[stage]}"))
        self._has_bar = self._err.is_terminal and not self.quiet
        try:
            with Progress(*columns, console=self._err, disable=not self._has_bar) as bar:
                yield bar
        finally:
            self._has_bar, self._stage = False, None
