"""Functions of the public API that combine several packages.

The other names in `kaggle_unet.__all__` each come from a single package. Modules that need torch are imported inside
the functions that use them.
"""

import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kaggle_unet.competitions.memory import MemorySource, convert_array
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import Config, load_config, validate_config
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.models.custom import trust_code as trusting
from kaggle_unet.steps.check import competition_settings
from kaggle_unet.types import HalfPlanes, Image, Labels, Planes, Sample

if TYPE_CHECKING:
    from kaggle_unet.steps.build import Ensemble


@dataclass(frozen=True)
class Model:
    """Networks whose planes are averaged, and the decoder that turns the mean into labels; returned by `load`.

    Attributes
    ----------
    config : Config
        The config of the first checkpoint, with the decode parameters that `tune` found.

    Examples
    --------
    >>> import kaggle_unet as ku
    >>> samples = [ku.Sample(str(i), *ku.draw_nuclei(np.random.default_rng(i), (64, 64))) for i in range(4)]
    >>> config = {"folds": {"n": 2}, "model": {"name": "plain_unet", "depth": 2}, "training": {"epochs": 1}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model = ku.load(ku.train(config, samples, folder=folder))
    >>> labels = model.segment(samples[0].image)
    >>> labels.shape, labels.dtype.name, model.predict(samples[0].image).shape, model.planes
    ((64, 64), 'int32', (3, 64, 64), ('interior', 'border', 'background'))
    """

    config: Config
    _ensemble: "Ensemble" = field(repr=False)
    _decoder: Callable[[Planes | HalfPlanes, Image], Labels] = field(repr=False)

    @property
    def planes(self) -> tuple[str, ...]:
        """Names of the planes that `predict` returns, in order."""
        return self.config.decoder.codec.planes

    def segment(self, image: NDArray[Any], *, depth: float | None = None) -> Labels:
        """Find the objects in an image.

        Parameters
        ----------
        image : uint8, uint16 or floating array, shape (H, W) or (H, W, C)
            Gray or RGB, of any size and range; alpha is dropped. If the config has ``input.normalize: range``,
            floats must lie between 0 and 1. Networks that take ``channel0``, ``channel1``, … need all channels.
        depth : float, optional
            The tile's depth, for networks trained with the channel `depth` (TGS).

        Returns
        -------
        int32 array, shape (H, W)
            Instances 1…n, 0 is background: the labels that ``kaggle-unet submit`` writes for the same image.

        Raises
        ------
        DataError
            If the image's channels are not those that the networks take, or a value is not finite.
        ConfigError
            If the networks need a depth and none, or none that is finite, is given.
        """
        sample, planes = self._predict(image, depth)
        return self._decoder(planes, sample.image)

    def predict(self, image: NDArray[Any], *, depth: float | None = None) -> Planes:
        """Predict the planes of an image.

        Parameters
        ----------
        image, depth : array and float
            As in `segment`.

        Returns
        -------
        float32 array, shape (C, H, W)
            Probabilities, averaged over checkpoints, flips and scales, in the order of `planes`: those that
            ``kaggle-unet predict`` writes for the same image.
        """
        return self._predict(image, depth)[1].astype(np.float32)

    def _predict(self, pixels: NDArray[Any], depth: float | None) -> tuple[Sample, Planes | HalfPlanes]:
        from kaggle_unet.steps.build import predict_samples

        image = convert_array(pixels, keep_channels=bool(self.config.input.numbers))
        sample = Sample("image", image, numbers={} if depth is None else {"depth": depth})
        sizes = {sample.id: (image.shape[0], image.shape[1])}
        (predicted,) = predict_samples(self._ensemble, sizes, {sample.id: sample}.__getitem__, self.config.inference)
        return predicted


def load(path: str | Path, *, trust_code: bool = False) -> Model:
    """Load trained networks.

    Parameters
    ----------
    path : str or Path
        A run, such as ``runs/dsb2018/final``, for the best checkpoints of all its folds; a fold of a run; a checkpoint;
        or a file written by ``kaggle-unet export``.
    trust_code : bool, default: False
        Whether a custom network, ``model.name: python:module:factory``, may run the code of its module.

    Returns
    -------
    Model
        With the decode parameters that `tune` stored in the run and the run's second level, if any; a warning is
        issued if they were found with other checkpoints.

    Raises
    ------
    DataError
        If there is no checkpoint, or it is damaged.
    ConfigError
        If the folds of a run can't be averaged, or a network needs `trust_code`.

    Examples
    --------
    >>> import kaggle_unet as ku
    >>> ku.load("runs/none")
    Traceback (most recent call last):
        ...
    kaggle_unet.errors.DataError: runs/none: no such ...
    """
    from kaggle_unet.steps.build import load_ensemble
    from kaggle_unet.steps.second_level import choose_decoder

    with trusting(trust_code):
        ensemble = load_ensemble([Path(path)])
    chosen = choose_decoder(ensemble.config, ensemble.hashes)
    for remark in chosen.remarks:
        warnings.warn(remark, stacklevel=2)
    return Model(chosen.config, ensemble, chosen.decode)


def train(
    config: Config | Mapping[str, Any] | str | Path,
    samples: Iterable[Sample],
    fold: int = 0,
    *,
    folder: str | Path | None = None,
    resume: bool = False,
    accept_masks: bool = False,
    trust_code: bool = False,
) -> Path:
    """Train one fold on samples with labels.

    Parameters
    ----------
    config : Config, mapping, str or Path
        An experiment: settings, a mapping of sections, or the path of a YAML file. A mapping may leave out
        `competition`, which is then `folder`, your own images.
    samples : iterable of Sample
        All samples of all folds; each needs labels. Images that are not uint8 are converted as in `Model.segment`.
    fold : int, default: 0
        The fold to validate on, one of ``folds.n``; the others are used for training.
    folder : str or Path, optional
        Receives the prepared samples (``store/``) and the run (``run/``); use the same folder for every fold.
        Without it, a temporary folder is created and kept.
    resume : bool, default: False
        Whether to continue an interrupted fold in `folder` after its last complete epoch.
    accept_masks : bool, default: False
        Whether to go on even if the masks look wrong, for instance if the objects are specks.
    trust_code : bool, default: False
        Whether a custom network, ``model.name: python:module:factory``, may run the code of its module.

    Returns
    -------
    Path
        The run, for `load`, `tune` and the command line.

    Raises
    ------
    ConfigError
        If the config is faulty, a fold has no samples, or the fold was begun before and `resume` is False.
    DataError
        If a sample has no labels, an id occurs twice, no object counts, or masks look wrong without `accept_masks`.
    TrainingFailure
        If the loss is not finite or grows without bounds.

    Examples
    --------
    >>> import kaggle_unet as ku
    >>> samples = [ku.Sample(str(i), *ku.draw_nuclei(np.random.default_rng(i), (64, 64))) for i in range(4)]
    >>> config = {"folds": {"n": 2}, "model": {"name": "plain_unet", "depth": 2}, "training": {"epochs": 1}}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = ku.train(config, samples, fold=1, folder=folder)
    ...     run.name, (run / "fold1" / "best.safetensors").exists()
    ('run', True)
    """
    from kaggle_unet.steps.make_targets import make_targets
    from kaggle_unet.steps.train import train_fold

    config = _to_config(config)
    if fold not in range(10**9 if config.competition.folds else config.folds.n):
        raise ConfigError(f"fold is {fold!r}; expected one from 0 to {config.folds.n - 1}, or of competition.folds")
    home = Path(tempfile.mkdtemp(prefix="kaggle-unet-") if folder is None else folder)
    classes = config.codec.name == "classes"
    source = MemorySource.of(samples, keep_channels=bool(config.input.numbers), classes=classes)
    make_targets(config, source, home / "store", allow=["doubtful masks"] if accept_masks else ())
    with trusting(trust_code):
        train_fold(config, home / "store", home / "run", fold, resume=resume)
    return home / "run"


def tune(run: str | Path, *, trials: int = 200, workers: int = 1) -> dict[str, Any]:
    """Search decode parameters on a run's out-of-fold planes, and store them in the run, where `load` finds them.

    Parameters
    ----------
    run : str or Path
        The folder that `train` returned, or one of ``kaggle-unet train``.
    trials : int, default: 200
        Trials per search; a later call with a larger number reuses the scores of the first and goes on.
    workers : int, default: 1
        Number of processes. More than one requires a notebook, or ``if __name__ == "__main__":`` in a script.

    Returns
    -------
    dict
        What ``kaggle-unet tune --json`` prints: ``before``, the mean score with the config's parameters; ``honest``,
        the held-out score, to be expected on new images with the parameters found; and ``point``, the parameters.

    Raises
    ------
    DataError
        If there is no run, or no fold of it has out-of-fold planes.
    LockedError
        If the run is already being tuned.

    Examples
    --------
    >>> import kaggle_unet as ku
    >>> ku.tune("runs/none")
    Traceback (most recent call last):
        ...
    kaggle_unet.errors.DataError: runs/none: no run here ...
    """
    from kaggle_unet.steps.run import open_run
    from kaggle_unet.steps.tune import tune as search

    config, _ = open_run(Path(run))
    return search(config, Path(run), None, n_trials=trials, workers=workers).to_json()


def read_folder(path: str | Path, *, images: str = "images", masks: str = "masks") -> list[Sample]:
    """Read your own images, with their masks if there are any.

    Parameters
    ----------
    path : str or Path
        A folder, a zip, or a place in a zip (``ZIP:place``), as ``kaggle-unet make-targets --data`` takes it.
    images : str, default: "images"
        Its subfolder of images (PNG, TIFF, JPEG, BMP, GIF or WebP); ``"."`` is the folder itself.
    masks : str, default: "masks"
        Its subfolder of label images, or of binary masks whose connected components become the instances. Image and
        mask have the same name, except for the suffix. If there is no folder of the default name, labels are None.

    Returns
    -------
    list of Sample
        Sorted by id, the file's name without its suffix.

    Raises
    ------
    DataError
        If files are missing or damaged, or contradict each other; the error names all of them.

    Examples
    --------
    >>> import tempfile
    >>> import kaggle_unet as ku
    >>> from kaggle_unet.synthetic.files import write_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_folder(Path(folder), seed=0, n=2, shape=(64, 80))
    ...     samples = ku.read_folder(folder)
    >>> [(sample.id, sample.image.shape) for sample in samples]
    [('nuclei_000', (64, 80)), ('nuclei_001', (64, 80))]
    """
    return read_competition("folder", path, images=images, masks=masks)


def read_competition(name: str, data: str | Path, **places: str) -> list[Sample]:
    """Read the files that Kaggle serves, or your own.

    Parameters
    ----------
    name : {"dsb2018", "tgs", "folder"}
        The competition that the files belong to.
    data : str or Path
        A zip, a folder, or a place in a zip (``ZIP:place``), as ``kaggle-unet make-targets --data`` takes it.
    **places : str
        For ``"folder"`` only: the subfolders `images` and `masks`, as in `read_folder`.

    Returns
    -------
    list of Sample
        Sorted by id; labels are None if the data has no masks.

    Raises
    ------
    DataError
        If files are missing or damaged, or contradict each other; the error names all of them.
    ConfigError
        If the competition is unknown.

    Examples
    --------
    >>> import tempfile
    >>> import kaggle_unet as ku
    >>> from kaggle_unet.synthetic.files import write_tgs_zip
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = write_tgs_zip(Path(folder) / "train.zip", seed=0, n=3)
    ...     samples = ku.read_competition("tgs", Path(folder) / "train.zip")
    >>> len(samples), samples[0].image.shape, sorted(samples[0].numbers)
    (3, (101, 101), ['depth'])
    """
    settings = competition_settings(name, **places)
    with_masks = True if settings.masks != "masks" else None  # a folder named by the caller must exist
    source = get_competition(name).read(str(data), settings, with_masks=with_masks)
    samples, problems = [], []
    for id_ in source.ids:
        try:
            samples.append(source.load(id_))
        except DataError as error:
            problems.append(str(error))
    if problems:
        raise DataError(f"{data}: {len(problems)} of {len(source.ids)} samples are faulty; fix them", problems)
    return samples


def _to_config(config: Config | Mapping[str, Any] | str | Path) -> Config:
    if isinstance(config, Config):
        return config
    if isinstance(config, Mapping):
        return validate_config({"competition": {"name": "folder"}, **config})
    return load_config(Path(config))
