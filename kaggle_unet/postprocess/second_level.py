"""Which way of splitting to believe: candidates at several seed thresholds, judged by what they look like.

One seed threshold for a whole set parts some nuclei too often and others too rarely. Here every image is decoded at
several; each object of each decoding is described by its shape, its probabilities and its neighbours; a regressor
learns its IoU with the truth from images with masks. Of every component of the mask, the decoding with the highest
mean is kept, and objects that hardly can be right are dropped. So did the 1st place of the 2018 Data Science Bowl [1]_.

References
----------
.. [1] https://www.kaggle.com/competitions/data-science-bowl-2018/discussion/54741
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from skimage.measure import regionprops_table

from kaggle_unet.errors import ConfigError
from kaggle_unet.masks.labels import components, relabel
from kaggle_unet.metrics.mistakes import find_mistakes
from kaggle_unet.metrics.overlap import count_overlap
from kaggle_unet.postprocess.finish import labels_from_planes
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.targets.codecs import Codec
from kaggle_unet.targets.settings import DecodeSettings
from kaggle_unet.types import Labels, Planes

Features = NDArray[np.float32]
Ious = NDArray[np.float64]

# Tried beside the threshold in use.
SEED_THRESHOLDS = (0.3, 0.45, 0.6, 0.75, 0.9)

# Neighbours are counted within as many diameters.
_NEAR_DIAMETERS = 2.0
_N_NEIGHBOURS = 8

_SHAPE = {
    "area": "area_px", "area_bbox": "box_px", "axis_major_length": "major_px", "axis_minor_length": "minor_px",
    "eccentricity": "eccentricity", "solidity": "solidity", "extent": "extent", "perimeter": "perimeter_px",
    "equivalent_diameter_area": "diameter_px",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Candidates:
    """All decodings of one image, and what their objects look like.

    Attributes
    ----------
    levels : tuple of int32 array, shape (H, W)
        Instances 1…n; the first is the decoding in use.
    rows : tuple of int64 array, shape (n,)
        For each level the row of `features` of every instance.
    features : float32 array, shape (n_objects, n_features)
        Objects that several levels share have one row; `feature_names` names the columns.
    pieces : int32 array, shape (H, W)
        Components of all levels together, 1…n: each is decoded like one of the levels.
    """

    levels: tuple[Labels, ...]
    rows: tuple[NDArray[np.int64], ...]
    features: Features
    pieces: Labels


def feature_names(codec: Codec) -> list[str]:
    """Name what describes an object.

    Parameters
    ----------
    codec : Codec
        Whose planes are looked at.

    Returns
    -------
    list of str
        In the order of the columns.
    """
    probabilities = [f"{statistic} {plane}" for statistic in ("mean", "lowest", "highest") for plane in codec.planes]
    return [*_SHAPE.values(), "roundness", *probabilities, *_NEIGHBOURHOOD]


_NEIGHBOURHOOD = ("objects in image", "area over median", "nearest in diameters", "neighbours", "pieces of component")


def find_candidates(
    codec: Codec,
    planes: Planes,
    decode: DecodeSettings,
    postprocess: PostprocessSettings,
    seed_thresholds: Sequence[float] = SEED_THRESHOLDS,
) -> Candidates:
    """Decode an image at several seed thresholds and describe all objects.

    Parameters
    ----------
    codec : Codec
        What the planes mean.
    planes : float32 array, shape (n_planes, H, W)
        Probabilities.
    decode : DecodeSettings
        The decoding in use.
    postprocess : PostprocessSettings
        How labels are cleaned.
    seed_thresholds : sequence of float
        What is tried beside it.

    Returns
    -------
    Candidates
        Levels that are the same as one before are left out.

    Raises
    ------
    ConfigError
        If the codec has no seeds.
    """
    if decode.single_object or len(codec.planes) < 2:
        msg = (
            f"codec {codec.name} with decode.single_object {decode.single_object} knows no seeds, so there is nothing "
        )
        raise ConfigError(f"{msg}to choose from; train with codec mask_border or interior_border")
    levels: list[Labels] = []
    for threshold in (decode.seed_threshold, *seed_thresholds):
        labels = labels_from_planes(codec, planes, replace_threshold(decode, threshold), postprocess)
        if not any(np.array_equal(labels, other) for other in levels):
            levels.append(labels)
    pieces = components(np.any([labels > 0 for labels in levels], axis=0))
    known: dict[tuple[int, int, int], int] = {}
    rows, features = [], [np.empty((0, len(feature_names(codec))), np.float32)]
    for labels in levels:
        described, keys = _describe(labels, planes, pieces)
        is_new = np.array([key not in known for key in keys], dtype=bool)
        for key in keys:
            known.setdefault(key, len(known))
        features.append(described[is_new])
        rows.append(np.array([known[key] for key in keys], dtype=np.int64))
    return Candidates(tuple(levels), tuple(rows), np.concatenate(features), pieces)


def replace_threshold(decode: DecodeSettings, seed_threshold: float) -> DecodeSettings:
    """Change the seed threshold.

    Parameters
    ----------
    decode : DecodeSettings
        All others.
    seed_threshold : float
        The new one.

    Returns
    -------
    DecodeSettings
        Checked as any.
    """
    return DecodeSettings(**{**decode.model_dump(), "seed_threshold": seed_threshold})


def true_ious(candidates: Candidates, truth: Labels) -> Ious:
    """Find what the regressor learns: each object's highest IoU with a true one.

    Parameters
    ----------
    candidates : Candidates
        Of the image.
    truth : int32 array, shape (H, W)
        Its labels.

    Returns
    -------
    float64 array, shape (n_objects,)
        From 0 to 1.
    """
    ious = np.zeros(len(candidates.features))
    for labels, rows in zip(candidates.levels, candidates.rows, strict=True):
        ious[rows] = find_mistakes(count_overlap(labels, truth)).best_iou  # seen from the predicted side
    return ious


def choose(candidates: Candidates, ious: Ious, least_iou: float) -> Labels:
    """Keep the best decoding of every component of the mask, and drop what hardly can be right.

    Parameters
    ----------
    candidates : Candidates
        Of the image.
    ious : float64 array, shape (n_objects,)
        What the regressor expects of each.
    least_iou : float
        Objects of which less is expected are dropped.

    Returns
    -------
    int32 array, shape (H, W)
        Instances 1…n.

    Notes
    -----
    A component's decoding is judged by the mean over its objects. Of equals, the one in use wins.
    """
    n = int(candidates.pieces.max(initial=0)) + 1
    homes = [_home(labels, candidates.pieces) for labels in candidates.levels]
    means = [
        np.bincount(home, weights=ious[rows], minlength=n) / np.maximum(np.bincount(home, minlength=n), 1)
        for home, rows in zip(homes, candidates.rows, strict=True)
    ]
    best = np.argmax(means, axis=0)
    chosen = np.zeros_like(candidates.pieces)
    n_before = 0
    for level, (labels, home, rows) in enumerate(zip(candidates.levels, homes, candidates.rows, strict=True)):
        is_kept = (best[home] == level) & (ious[rows] >= least_iou)
        ids = np.append(0, np.where(is_kept, np.arange(1, len(rows) + 1) + n_before, 0)).astype(np.int32)
        np.maximum(chosen, ids[labels], out=chosen)
        n_before += len(rows)
    return relabel(chosen)


def _home(labels: Labels, pieces: Labels) -> NDArray[np.int32]:
    """Find the component in which each instance lies."""
    home = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.int32)
    home[labels] = pieces
    return home[1:]


def _describe(labels: Labels, planes: Planes, pieces: Labels) -> tuple[Features, list[tuple[int, int, int]]]:
    """Describe the objects of one decoding, and give what tells the same object in another one."""
    n = int(labels.max(initial=0))
    if n == 0:
        return np.empty((0, len(_SHAPE) + 1 + 3 * len(planes) + len(_NEIGHBOURHOOD)), np.float32), []
    table: dict[str, Any] = regionprops_table(
        labels,
        intensity_image=np.moveaxis(planes, 0, -1).astype(np.float32),
        properties=("centroid", *_SHAPE, "intensity_mean", "intensity_min", "intensity_max"),
    )
    shape = [table[name] for name in _SHAPE]
    roundness = 4 * np.pi * table["area"] / np.maximum(table["perimeter"], 1) ** 2
    probabilities = [table[f"{name}-{k}"] for name in _INTENSITIES for k in range(len(planes))]
    features = np.stack([*shape, roundness, *probabilities, *_neighbourhood(table, _home(labels, pieces))], axis=1)
    flat = labels.ravel()
    places = np.flatnonzero(flat)
    first = np.full(n + 1, flat.size)
    np.minimum.at(first, flat[places], places)
    sums = np.bincount(flat[places], weights=places, minlength=n + 1)  # exact up to 2⁵³
    keys = list(zip(first[1:].tolist(), table["area"].astype(int).tolist(), sums[1:].astype(int).tolist(), strict=True))
    return features.astype(np.float32), keys


_INTENSITIES = ("intensity_mean", "intensity_min", "intensity_max")


def _neighbourhood(table: dict[str, Any], home: NDArray[np.int32]) -> list[NDArray[Any]]:
    """Describe what is around each object, in the order of `_NEIGHBOURHOOD`."""
    n, area, diameter = len(home), table["area"], table["equivalent_diameter_area"]
    centres = np.stack([table["centroid-0"], table["centroid-1"]], axis=1)
    distances = cKDTree(centres).query(centres, k=min(_N_NEIGHBOURS + 1, n))[0].reshape(n, -1)[:, 1:]
    in_diameters = distances / diameter[:, None]
    nearest = in_diameters[:, 0] if n > 1 else np.full(n, np.inf)
    return [
        np.full(n, n),
        area / np.median(area),
        np.minimum(nearest, 100.0),
        (in_diameters < _NEAR_DIAMETERS).sum(axis=1),
        np.bincount(home)[home],
    ]


class Regressor:
    """What expects an object's IoU of its features: gradient-boosted trees.

    Parameters
    ----------
    text : str
        A LightGBM model, as `text` of another one gives it.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._booster = _import_lightgbm().Booster(model_str=text)

    @classmethod
    def fit(
        cls, features: Features, ious: Ious, names: Sequence[str], *, seed: int = 0, n_rounds: int = 200
    ) -> "Regressor":
        """Learn from objects whose IoU is known.

        Parameters
        ----------
        features : float32 array, shape (n_objects, n_features)
            Of all images.
        ious : float64 array, shape (n_objects,)
            As `true_ious` finds them.
        names : sequence of str
            The features'.
        seed : int
            Of everything random; the same seed gives the same trees.
        n_rounds : int
            Trees.

        Returns
        -------
        Regressor
            Trained on a single thread, so that it does not depend on their number.

        References
        ----------
        .. [1] LightGBM: A Highly Efficient Gradient Boosting Decision Tree, 2017.
           https://papers.nips.cc/paper/6907-lightgbm-a-highly-efficient-gradient-boosting-decision-tree
        """
        lightgbm = _import_lightgbm()
        data = lightgbm.Dataset(features, ious, feature_name=[name.replace(" ", "_") for name in names])
        settings = {
            "objective": "regression", "num_leaves": 31, "learning_rate": 0.05, "min_data_in_leaf": 20,
            "feature_fraction": 0.8, "bagging_fraction": 0.8, "bagging_freq": 1,
            "seed": seed, "deterministic": True, "num_threads": 1, "verbosity": -1,
        }  # fmt: skip
        return cls(lightgbm.train(settings, data, num_boost_round=n_rounds).model_to_string())

    def expect(self, features: Features) -> Ious:
        """Expect IoUs.

        Parameters
        ----------
        features : float32 array, shape (n_objects, n_features)
            As `find_candidates` gives them.

        Returns
        -------
        float64 array, shape (n_objects,)
            From 0 to 1.
        """
        if not len(features):
            return np.zeros(0)
        return np.clip(np.asarray(self._booster.predict(features, num_threads=1), dtype=np.float64), 0, 1)


def _import_lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError as error:
        msg = "the second level needs lightgbm, which is not installed; run pip install kaggle-unet[second-level]"
        raise ConfigError(msg) from error
    return lightgbm
