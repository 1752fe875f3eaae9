"""`second-level`: learn from out-of-fold planes which candidate decoding to keep, and use that in `submit`."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from kaggle_unet.config import Config, plain
from kaggle_unet.errors import ConfigError, DataError, reading
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.selection.search import Scores, held_out_gain
from kaggle_unet.selection.second_level import (
    SEED_THRESHOLDS,
    Candidates,
    Precisions,
    Regressor,
    choose,
    feature_names,
    find_candidates,
    import_lightgbm,
    refuse_without_seeds,
    true_precisions,
)
from kaggle_unet.steps.parallel import OnProgress, map_samples
from kaggle_unet.steps.run import (
    ENSEMBLE,
    OF_CONFIG,
    check_decode_params,
    checkpoint_run,
    choose_decode_params,
    name_decode_params,
)
from kaggle_unet.steps.score import checkpoint_hashes, open_run_to_decode
from kaggle_unet.steps.tune import average_planes, list_images, refuse_beside
from kaggle_unet.store import Store, atomic_write, hash_plain, lock, read_record, sha256, write_record
from kaggle_unet.store.planes import read_planes
from kaggle_unet.targets.codecs import get_codec
from kaggle_unet.types import HalfPlanes, Image, Labels, Planes, Result

FOLDER = "second_level"
NONE = "none"  # instead of a folder: no second level


class _Known(NamedTuple):
    id: str
    group: str
    part: str
    image: Image
    truth: Labels
    candidates: Candidates
    precisions: Precisions


class SecondLevelResult(Result):
    """The result of a second level: mean scores before and (held-out) after, and what it was learnt from."""

    folder: str
    images: int
    objects: int
    decoding: str
    true_per_found: float
    before: float
    held_out: Annotated[float, Field(serialization_alias="honest")]
    gain: float
    interval: list[float]
    is_used: bool
    identity: str
    shares: list[float]  # of the runs in the mean, in ascending order
    checkpoints: list[str]
    per_image: dict[str, list[float]]


def learn_second_level(
    run: Path,
    store_folder: Path | None = None,
    *,
    others: Sequence[Path] = (),
    decode: str | None = None,
    workers: int = 1,
    on_progress: OnProgress = lambda *_: None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> SecondLevelResult:
    """Learn from the out-of-fold planes of a run, or their mean over several, and measure the gain on held-out images.

    The images are divided as by `tune`: each fold, or each part of a single fold, is scored with a regressor learnt
    from the others; the final regressor learns from all images. All candidates are held in memory, about 20 bytes for
    each pixel of all images.
    """
    import_lightgbm()
    config, store, file = open_run_to_decode(run, store_folder, decode, on_warning, others)
    refuse_without_seeds(config.decoder)
    for other in others:
        refuse_beside(config, config, run, other)
    if (folder := _place([run, *others], file)) is None:
        words = " ".join(map(str, (run, *(f"--with {other}" for other in others))))
        msg = f"second-level {words}: needs the weights and thresholds of these runs together; run kaggle-unet tune "
        raise ConfigError(msg + words)
    images = {row["id"]: row for row in list_images(run, others).to_dict("records")}
    work = partial(_read_image, config, store, images)
    with lock(folder):
        known = list(map_samples(work, list(images), workers, "images", on_progress))
        before = np.array([_score(config, image, image.candidates.levels[0].astype(np.int32)) for image in known])
        held_out = _score_held_out(config, known, on_progress)
        regressor, true_per_found = _fit(config, known)
        result = SecondLevelResult(
            folder=str(folder),
            images=len(known),
            objects=sum(len(image.precisions) for image in known),
            decoding=str(file or OF_CONFIG),
            true_per_found=true_per_found,
            identity=_identity(config),
            shares=_count_shares([run, *others], config.inference.weights if others else None),
            checkpoints=checkpoint_hashes(planes for row in images.values() for planes in row["folders"]),
            per_image=dict(zip(images, np.column_stack([before, held_out]).tolist(), strict=True)),
            **held_out_gain(before, held_out, [image.group for image in known]),
        )
        atomic_write(folder / "model.txt", regressor.text)
        write_record(folder / "result.json", result.to_json())
    return result


def _score_held_out(config: Config, known: Sequence[_Known], on_progress: OnProgress) -> Scores:
    """Score each part's images with a regressor learnt from the other parts."""
    scores, parts = np.zeros(len(known)), sorted({image.part for image in known})
    for number, part in enumerate(parts, 1):
        regressor, true_per_found = _fit(config, [image for image in known if image.part != part])
        for index, image in enumerate(known):
            if image.part == part:
                expected = regressor.predict(image.candidates.objects)
                scores[index] = _score(config, image, choose(image.candidates, expected, true_per_found))
        on_progress("parts", number, len(parts))
    return scores


def _fit(config: Config, known: Sequence[_Known]) -> tuple[Regressor, float]:
    """Fit a regressor to images, and compute how many true objects they have for each one that the decoding finds."""
    features = np.concatenate([image.candidates.objects for image in known])
    precisions = np.concatenate([image.precisions for image in known])
    names = feature_names(get_codec(config.codec))
    regressor = Regressor.fit(features, precisions, names, seed=config.training.seed)
    n_found = sum(image.candidates.split(image.precisions)[0].sum() for image in known)
    n_true = sum(int(image.truth.max(initial=0)) for image in known)
    return regressor, float(n_true / n_found) if n_found else 0.0


def _score(config: Config, image: _Known, labels: Labels) -> float:
    """Score an image as `submit` would write it."""
    return config.metric(image.truth, config.decoder.apply_rules(labels, image.image)).mean


@dataclass(frozen=True, eq=False)
class SecondLevel:
    """A decoder with a second level, called like a `Decoder`."""

    regressor: Regressor
    true_per_found: float
    decoder: Decoder
    folder: Path

    def __call__(self, planes: Planes | HalfPlanes, image: Image) -> Labels:
        """Return the labels of an image, which is left to the first level if it is decoded in stripes."""
        if planes[0].size > self.decoder.stripe_above_px:
            return self.decoder(planes, image)
        candidates = find_candidates(self.decoder, planes)
        chosen = choose(candidates, self.regressor.predict(candidates.objects), self.true_per_found)
        return self.decoder.apply_rules(chosen, image)


def _place(runs: Collection[Path], file: Path | None) -> Path | None:
    """Return the folder of a run's second level; that of several runs is beside the parameters found for them."""
    if len(runs) == 1:
        return min(runs) / FOLDER
    return file.parent / FOLDER if file and file.absolute().parent.parent.name == ENSEMBLE else None


def _count_shares(runs: Iterable[Path], weights: Iterable[float] | None) -> list[float]:
    """Return how much each run counts in the mean of checkpoints of these runs, in ascending order."""
    totals: defaultdict[Path, float] = defaultdict(float)
    for run, weight in zip(runs, weights or repeat(1.0)):  # noqa: B905
        totals[run] += weight
    return sorted(round(total / sum(totals.values()), 6) for total in totals.values())


def choose_second_level(
    config: Config, checkpoints: Mapping[Path, str], file: Path | None, *, chosen: str | None
) -> tuple[SecondLevel | None, list[str]]:
    """Return the second level to decode with, if any, and remarks; the file is that of the decode parameters."""
    if chosen is not None:
        return (None if chosen == NONE else read_second_level(config, Path(chosen))), []
    runs = [checkpoint_run(checkpoint) for checkpoint in checkpoints]
    folder = _place({*runs}, file)
    if folder is None or not (folder / "result.json").is_file():
        return None, []
    result = _read_result(folder)
    if not result["is_used"]:
        return None, []
    if (result["identity"], result["shares"]) != (_identity(config), _count_shares(runs, config.inference.weights)):
        other = "another decoding"
    elif not set(checkpoints.values()) <= set(result["checkpoints"]):
        other = "other checkpoints"
    else:
        return read_second_level(config, folder), []
    return None, [
        f"{name_decode_params(folder)} was trained for {other} and is not used; run kaggle-unet second-level again"
    ]


class ChosenDecoder(NamedTuple):
    """What an ensemble's planes are decoded with, its names, and remarks for the user."""

    config: Config
    decode: Callable[[Planes | HalfPlanes, Image], Labels]
    names: dict[str, str | None]
    second_level_hash: str | None
    remarks: list[str]


def choose_decoder(
    config: Config,
    hashes: Mapping[Path, str],
    *,
    decode: str | None = None,
    second_level: str | None = None,
    overrides: Sequence[str] = (),
) -> ChosenDecoder:
    """Choose decode parameters and a second level for checkpoints with these hashes: those named, else the run's."""
    config, file = choose_decode_params(config, list(map(checkpoint_run, hashes)), chosen=decode, overrides=overrides)
    second, remarks = choose_second_level(config, hashes, file, chosen=second_level)
    names = {
        "decoding": name_decode_params(file),
        "second_level": name_decode_params(second.folder) if second else None,
    }
    remarks = [*check_decode_params(file, hashes.values(), config), *remarks]
    second_level_hash = sha256(second.folder / "model.txt") if second else None
    return ChosenDecoder(config, second or config.decoder, names, second_level_hash, remarks)


def read_second_level(config: Config, folder: Path) -> SecondLevel:
    """Read a second level from its folder."""
    result = _read_result(folder)
    if result["identity"] != _identity(config):
        msg = f"--second-level {folder}: was trained for another codec or decoding; run kaggle-unet second-level again"
        raise ConfigError(msg)
    try:
        text = (folder / "model.txt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{folder / 'model.txt'} can't be read ({error}); run kaggle-unet second-level again"
        raise ConfigError(msg) from error
    return SecondLevel(Regressor(text), float(result["true_per_found"]), config.decoder, folder)


def _read_result(folder: Path) -> dict[str, Any]:
    path, cure = folder / "result.json", "run kaggle-unet second-level"
    if not path.is_file():
        raise ConfigError(f"{folder}: has no second level; {cure}")
    result = {"shares": [1.0], **read_record(path, cure)}  # an earlier version learnt for one run alone
    with reading(path, cure):
        return {key: result[key] for key in ("identity", "shares", "true_per_found", "is_used", "checkpoints")}


def _identity(config: Config) -> str:
    """Hash everything that a regressor's features depend on, besides the networks and their weights."""
    names = feature_names(get_codec(config.codec))
    return hash_plain([config.codec.name, *plain(config, "decode", "postprocess").values(), SEED_THRESHOLDS, names])


def _read_image(config: Config, store: Store, images: Mapping[str, Mapping[Any, Any]], id_: str) -> _Known:
    row, sample = images[id_], store.read(id_)
    members = [read_planes(folder, id_) for folder in row["folders"]]
    planes = members[0] if len(members) == 1 else average_planes(config, members, config.inference.weights or ())
    if sample.labels is None:
        raise DataError(f"{store.folder}: sample {id_!r} has no labels to learn from")
    candidates = find_candidates(config.decoder, planes)
    precisions = true_precisions(candidates, sample.labels)
    return _Known(id_, row["group"], row["part"], sample.image, sample.labels, candidates, precisions)
