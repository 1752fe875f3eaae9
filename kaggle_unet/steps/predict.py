"""`predict`: images and checkpoints in, planes of probabilities out."""

from collections.abc import Callable, Sequence
from pathlib import Path

from kaggle_unet.competitions.competition import read_shapes
from kaggle_unet.config import Config, plain
from kaggle_unet.errors import ConfigError
from kaggle_unet.steps.build import (
    Ensemble,
    load_ensemble,
    open_images,
    predict_samples,
    without_weights,
)
from kaggle_unet.steps.parallel import OnProgress
from kaggle_unet.steps.run import (
    find_checkpoints,
    validation_ids,
)
from kaggle_unet.store import Store
from kaggle_unet.store.planes import planes_folder, write_planes
from kaggle_unet.types import Sample, Shard


def predict_data(
    config: Config,
    checkpoints: Sequence[Path],
    data: str,
    folder: Path,
    *,
    shard: Shard | None = None,
    on_progress: OnProgress,
) -> Path:
    """Predict planes of any images, or of a share of them."""
    ensemble = load_ensemble(checkpoints, config)
    source = open_images(config, data)
    sizes = read_shapes(source.ids, source.shape)
    _predict(ensemble, sizes, source.load, folder, source.fingerprint(), on_progress, shard)
    return folder


def predict_out_of_fold(
    config: Config, checkpoints: Sequence[Path], store_folder: Path, *, on_progress: OnProgress
) -> list[Path]:
    """Predict planes of the samples that each checkpoint was not trained on."""
    store = Store.open(store_folder)
    folders = []
    for file in find_checkpoints(checkpoints):
        if file.parent / "planes" in folders:
            msg = f"--oof: two checkpoints of {file.parent} would write the same planes; name one of them"
            raise ConfigError(msg)
        if not file.parent.name.removeprefix("fold").isdigit():
            msg = f"{file}: --oof needs a checkpoint that lies in its run, RUN/fold<N>, not in {file.parent.name}"
            raise ConfigError(msg)
        ids = validation_ids(file.parent.parent, int(file.parent.name.removeprefix("fold")))
        folders.append(predict_stored(config, file, store, ids, on_progress=on_progress))
    return folders


def predict_stored(
    config: Config, checkpoint: Path, store: Store, ids: Sequence[str], *, on_progress: OnProgress
) -> Path:
    """Predict planes of stored samples with one checkpoint."""
    ensemble = load_ensemble([checkpoint], without_weights(config))
    samples: dict[str, Sample] = {id_: store.read(id_) for id_ in ids}
    sizes = {id_: (sample.image.shape[0], sample.image.shape[1]) for id_, sample in samples.items()}
    folder = checkpoint.parent / "planes"
    _predict(ensemble, sizes, samples.__getitem__, folder, store.manifest["identity_sha256"], on_progress)
    return folder


def _predict(
    ensemble: Ensemble,
    sizes: dict[str, tuple[int, int]],
    load: Callable[[str], Sample],
    folder: Path,
    data: str,
    on_progress: OnProgress,
    shard: Shard | None = None,
) -> None:
    """Predict what an interrupted call has left undone; a batch is predicted whole if any of its planes is missing."""
    settings = plain(ensemble.config)
    about = {
        "checkpoints": [checkpoint["sha256"] for checkpoint in ensemble.checkpoints.values()],
        **{name: settings[name] for name in ("inference", "input", "codec", "decode", "postprocess")},
        "device": ensemble.device_config.record,
        "data": data,
    }
    with planes_folder(folder, about, sizes, shard=shard) as done:
        total = len(sizes) if shard is None else -(-len(sizes) // shard.of)
        predicted = predict_samples(ensemble, sizes, load, ensemble.config.inference, done=done, shard=shard)
        for n, (sample, planes) in enumerate(predicted, 1):
            write_planes(folder, sample.id, planes)
            on_progress("images", min(n + len(done), total), total)
