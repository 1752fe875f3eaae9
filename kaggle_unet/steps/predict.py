"""`predict`: images and checkpoints in, planes of probabilities out; or an estimate of what that would take."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kaggle_unet.competitions.competition import read_shapes
from kaggle_unet.config import Config, plain, without_weights
from kaggle_unet.errors import ConfigError
from kaggle_unet.inference.flips import FLIP_SETS
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.io.tables import format_rows
from kaggle_unet.steps.build import Ensemble, group_samples, load_ensemble, open_images, predict_samples
from kaggle_unet.steps.parallel import OnProgress
from kaggle_unet.steps.provenance import claim_folder, refuse_in_run
from kaggle_unet.steps.run import find_checkpoints, open_run, validation_ids
from kaggle_unet.store import Store, atomic_write, sample_file
from kaggle_unet.store.planes import ABOUT, encode_planes, planes_folder, write_planes
from kaggle_unet.types import HalfPlanes, Planes, Result, Sample, Shape, Shard

SET_ASIDE = "set_aside.csv"


class Estimate(Result):
    """What a call would take, estimated from the speed and sizes measured on a part of its work."""

    work: str
    minutes: float
    disk_bytes: float
    measured: str


def count_views(settings: InferenceSettings) -> int:
    """Count the views of an image over which a prediction is averaged."""
    return len(FLIP_SETS[settings.flips]) * len(settings.scales)


def estimate_prediction(
    ensemble: Ensemble,
    sizes: dict[str, Shape],
    load: Callable[[str], Sample],
    settings: InferenceSettings,
    count_bytes: Callable[[Sample, Planes | HalfPlanes], int] = lambda _, planes: len(encode_planes(planes)),
) -> Estimate:
    """Predict one batch twice, and scale the second time, when kernels are compiled, to the pixels of all images."""
    work = f"{len(sizes)} images (views: {count_views(settings)}, networks: {len(ensemble.models)})"
    batches = group_samples(ensemble, sizes, settings)
    if not batches:
        return Estimate(work=work, minutes=0, disk_bytes=0, measured="no image, as none can be read")
    part = {id_: sizes[id_] for id_ in batches[len(batches) // 2]}
    for _ in range(2):
        start = time.perf_counter()
        predicted = predict_samples(ensemble, part, load, settings, set_aside={})  # an estimate doesn't need all
        n_bytes = sum(count_bytes(sample, planes) for sample, planes in predicted)
        seconds = time.perf_counter() - start
    factor = sum(map(math.prod, sizes.values())) / sum(map(math.prod, part.values()))
    return Estimate(
        work=work, minutes=seconds * factor / 60, disk_bytes=n_bytes * factor, measured=f"{len(part)} of the images"
    )


def write_set_aside(folder: Path, reasons: Mapping[str, str]) -> None:
    """Write which images can't be read, and why, or remove the file that an earlier call has written."""
    path, columns = folder / SET_ASIDE, ("image", "reason")
    if reasons:
        atomic_write(path, format_rows(columns, sorted(reasons.items())))
    elif path.is_file() and path.read_text(errors="replace").startswith(",".join(columns)):  # else it is not ours
        path.unlink()


def predict_data(  # noqa: PLR0913  the options of a verb
    config: Config,
    checkpoints: Sequence[Path],
    data: str,
    folder: Path,
    *,
    set_aside: dict[str, str] | None = None,
    shard: Shard | None = None,
    on_progress: OnProgress,
    dry_run: bool,
) -> Path | Estimate:
    """Predict planes of any images, or of a share of them; put those that can't be read into `set_aside`, if given."""
    refuse_in_run(folder)
    ensemble = load_ensemble(checkpoints, config)
    source = open_images(config, data, skip_bad=set_aside is not None)
    sizes = read_shapes(source.ids, source.shape, set_aside)
    if dry_run:
        return estimate_prediction(ensemble, sizes, source.load, config.inference)
    data_hash = source.fingerprint()
    if not folder.is_symlink():  # a link is refused below, and nothing is written where it leads
        claim_folder(folder, "predict", [folder / ABOUT, *(sample_file(folder, id_) for id_ in sizes)])
    return _predict(ensemble, sizes, source.load, folder, data_hash, on_progress, shard=shard, set_aside=set_aside)


def predict_out_of_fold(
    config: Config, checkpoints: Sequence[Path], store_folder: Path, *, on_progress: OnProgress, dry_run: bool
) -> list[Path | Estimate]:
    """Predict planes of the samples that each checkpoint was not trained on."""
    folders: list[Path | Estimate] = []
    for file in find_checkpoints(checkpoints):
        if file.parent / "planes" in folders:
            raise ConfigError(f"--oof: two checkpoints of {file.parent} would write the same planes; name one of them")
        if not file.parent.name.removeprefix("fold").isdigit():
            msg = f"{file}: --oof needs a checkpoint that lies in its run, RUN/fold<N>, not in {file.parent.name}"
            raise ConfigError(msg)
        run, fold = file.parent.parent, int(file.parent.name.removeprefix("fold"))
        ids, (_, store) = validation_ids(run, fold), open_run(run, store_folder)
        folders.append(predict_stored(config, file, store, ids, dry_run=dry_run, on_progress=on_progress))
    return folders


def predict_stored(
    config: Config, checkpoint: Path, store: Store, ids: Sequence[str], *, on_progress: OnProgress, dry_run: bool
) -> Path | Estimate:
    """Predict planes of stored samples with one checkpoint."""
    ensemble = load_ensemble([checkpoint], without_weights(config))
    samples: dict[str, Sample] = {id_: store.read(id_) for id_ in ids}
    sizes = {id_: (sample.image.shape[0], sample.image.shape[1]) for id_, sample in samples.items()}
    if dry_run:
        return estimate_prediction(ensemble, sizes, samples.__getitem__, ensemble.config.inference)
    folder, data = checkpoint.parent / "planes", store.manifest["identity_sha256"]
    return _predict(ensemble, sizes, samples.__getitem__, folder, data, on_progress)


def _predict(  # noqa: PLR0913  what its two callers differ in
    ensemble: Ensemble,
    sizes: dict[str, Shape],
    load: Callable[[str], Sample],
    folder: Path,
    data: str,
    on_progress: OnProgress,
    *,
    shard: Shard | None = None,
    set_aside: dict[str, str] | None = None,
) -> Path:
    """Predict what an interrupted call has left undone; a batch is predicted whole if any of its planes are missing."""
    about = {
        "checkpoints": list(ensemble.hashes.values()),
        **plain(ensemble.config, "inference", "input", "codec", "decode", "postprocess"),
        "device": ensemble.device_config.record,
        "data": data,
    }
    with planes_folder(folder, about, sizes, shard=shard) as done:
        total = len(sizes) if shard is None else -(-len(sizes) // shard.of)
        predicted = predict_samples(
            ensemble, sizes, load, ensemble.config.inference, done=done, shard=shard, set_aside=set_aside
        )
        for n, (sample, planes) in enumerate(predicted, 1):
            write_planes(folder, sample.id, planes)
            on_progress("images", min(n + len(done), total), total)
        if shard is None:
            write_set_aside(folder, set_aside or {})
    return folder
