"""The two ways through the package, counted: from a zip's labels to the loss, and from an image to its CSV rows.

Run by `scripts/walk`. A function counts once, at the step that calls it first. Lambdas and comprehensions don't count,
and what a compiled kernel calls isn't seen. Before the first way, everything has run once (compiling, caches), and the
store is named; before the second, data is opened and the networks are loaded.
"""

import argparse
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import kaggle_unet
from tests.golden import CONFIGS

PACKAGE = Path(kaggle_unet.__file__).parent
PAGE = Path(__file__).parents[1] / "docs/architecture.md"
BEGIN, END = "<!-- scripts/walk: begin -->\n", "<!-- scripts/walk: end -->\n"


@dataclass(frozen=True)
class Walk:
    """Functions in the order of their first call, as (file, name), by step."""

    title: str
    steps: dict[str, dict[tuple[str, str], None]] = field(default_factory=lambda: defaultdict(dict))

    @property
    def n(self) -> int:
        """How many functions are passed."""
        return sum(map(len, self.steps.values()))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what is called inside, in this thread and in those that are started."""
        seen = {function for functions in self.steps.values() for function in functions}

        def hook(frame: FrameType, event: str, _: object) -> None:
            code = frame.f_code
            path = Path(code.co_filename)
            if event == "call" and not code.co_name.startswith("<") and path.is_relative_to(PACKAGE):
                function = path.relative_to(PACKAGE).as_posix(), code.co_qualname
                if function not in seen:
                    self.steps[name].setdefault(function)

        sys.setprofile(hook)
        threading.setprofile(hook)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)


def measure(home: Path) -> tuple[Walk, Walk]:
    """Draw nuclei, train on them for an epoch, and count both ways."""
    from kaggle_unet.config import load_config
    from kaggle_unet.steps.make_targets import make_targets
    from kaggle_unet.steps.submit import submit
    from kaggle_unet.steps.train import train_fold
    from kaggle_unet.synthetic.files import write_dsb_zip

    (home / "config.yaml").write_text(CONFIGS["mask_border"].replace("epochs: 3", "epochs: 1"))
    config = load_config(home / "config.yaml")
    train, test = home / "train.zip", home / "test.zip"
    write_dsb_zip(train, 1, 4)
    write_dsb_zip(test, 2, 1, with_masks=False)
    make_targets(config, str(train), home / "store")
    train_fold(config, home / "store", home / "run", 0)
    submit(config, str(test), [home / "run" / "fold0"], home / "warm.csv")
    return _walk_to_loss(config, train, home), _walk_to_rows(config, test, home)


def _walk_to_loss(config, train: Path, home: Path) -> Walk:
    from kaggle_unet.competitions.registry import get_competition
    from kaggle_unet.data.batch import collate
    from kaggle_unet.data.dataset import TrainingSet
    from kaggle_unet.steps.build import _pad_spec, build_loss, build_model
    from kaggle_unet.steps.make_targets import Preparation, prepare_sample, resolve_weights
    from kaggle_unet.store import Store

    walk = Walk("From a zip's labels to the loss")
    weights = resolve_weights(config.weights, Store.open(home / "store").report)
    store = Store.create(home / "store_of_one", {"made": "by hand"}, {})
    model, loss = build_model(config), build_loss(config)
    with walk.step("open the zip"):
        source = get_competition("dsb2018").read(str(train), config.competition, with_masks=True)
    preparation = Preparation(config, weights, store, source)
    targets = preparation.targets  # named once for all samples, as the store is
    with walk.step("read, encode, store and decode a sample"):
        prepare_sample(preparation, source.ids[0])
    with walk.step("read it back"):
        sample = store.read(source.ids[0])
        targets.read(source.ids[0])
    with walk.step("augment and encode a crop"):
        crops = TrainingSet(
            [sample],
            inputs=config.input,
            codec=config.codec,
            weights=weights,
            augmentation=config.augmentation,
            pad_spec=_pad_spec(config),
            seed=0,
        )
        item = crops[(1, 0)]
    with walk.step("collate a batch"):
        batch = collate([item])
    with walk.step("forward"):
        outputs = model(batch.inputs)
    with walk.step("loss"):
        loss(outputs, batch.planes, batch.weights)
    return walk


def _walk_to_rows(config, test: Path, home: Path) -> Walk:
    from kaggle_unet.competitions.registry import get_competition
    from kaggle_unet.competitions.submission import write_submission
    from kaggle_unet.steps.build import load_ensemble, predict_samples

    walk = Walk("From an image to its rows in the CSV")
    competition = get_competition("dsb2018")
    source = competition.read(str(test), config.competition, with_masks=False)
    ensemble = load_ensemble([home / "run" / "fold0"], config)
    decoder = config.decoder
    with walk.step("size from the header"):
        sizes = {id_: source.shape(id_) for id_ in source.ids}
    with walk.step("read and predict"):
        ((sample, planes),) = predict_samples(ensemble, sizes, source.load, config.inference)
    with walk.step("decode"):
        labels = decoder(planes, sample.image)
    with walk.step("write rows"):
        write_submission(home / "x.csv", {sample.id: labels}, competition.name)
    return walk


def describe(walk: Walk) -> str:
    """List the functions of a way by step and file."""
    lines = [f"{walk.title}: {walk.n} functions"]
    for step, functions in walk.steps.items():
        lines.append(f"  {step}: {len(functions)}")
        lines += [f"    {file}: {', '.join(names)}" for file, names in _by_file(functions).items()]
    return "\n".join(lines)


def _by_file(functions: Mapping[tuple[str, str], None]) -> dict[str, list[str]]:
    files = defaultdict(list)
    for file, name in functions:
        files[file].append(name)
    return files


def _packages(functions: Mapping[tuple[str, str], None]) -> list[str]:
    return list(dict.fromkeys(Path(file).parts[0] for file, _ in functions))


def draw(walks: tuple[Walk, ...]) -> str:
    """Write the part of the page that is made of the count."""
    parts = []
    for walk in walks:
        nodes = [
            f'    s{i}["{step}: {len(functions)}<br>{", ".join(_packages(functions))}"]'
            for i, (step, functions) in enumerate(walk.steps.items())
        ]
        chain = "    " + " --> ".join(f"s{i}" for i in range(len(walk.steps)))
        diagram = "\n".join(["```mermaid", "flowchart TD", *nodes, chain, "```"])
        rows = ["| step | file | functions |", "|---|---|---|"]
        for step, functions in walk.steps.items():
            for i, (file, names) in enumerate(_by_file(functions).items()):
                rows.append(f"| {'' if i else step} | `{file}` | {', '.join(f'`{name}`' for name in names)} |")
        parts.append(f"### {walk.title}: {walk.n} functions\n\n{diagram}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def page(walks: tuple[Walk, ...]) -> str:
    """Return docs/architecture.md with its part that is made of the count."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n{draw(walks)}\n{END}{rest.partition(END)[2]}"


def main() -> None:
    """Print both ways, write them into the page, or end with 1 if the page shows others."""
    parser = argparse.ArgumentParser(prog="scripts/walk", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/architecture.md")
    parser.add_argument("--check", action="store_true", help="end with 1 if docs/architecture.md is stale")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        walks = measure(Path(home))
    print("\n\n".join(map(describe, walks)))
    if arguments.write:
        PAGE.write_text(page(walks), encoding="utf-8")
    if arguments.check and PAGE.read_text(encoding="utf-8") != page(walks):
        sys.exit(f"{PAGE.name} is stale; run scripts/walk --write")


if __name__ == "__main__":
    main()
