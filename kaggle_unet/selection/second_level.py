"""The second level: boosted trees that choose among candidate decodings by the appearance of their objects.

One seed threshold for a whole set splits some nuclei too often and others too rarely. Here every image is decoded at
several; each object of each decoding is described by its shape, its probabilities and its neighbours, and a regressor
predicts its precision: the share of the score's IoU thresholds that it passes. For every component of the mask, the
decoding with the highest mean is kept, and of all objects those that maximise the expected score. After the 1st place
of the 2018 Data Science Bowl, https://www.kaggle.com/competitions/data-science-bowl-2018/discussion/54741.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from skimage.measure import regionprops_table

from kaggle_unet.errors import ConfigError, import_extra
from kaggle_unet.masks.labels import components, relabel
from kaggle_unet.metrics.error_types import find_error_types
from kaggle_unet.metrics.overlap import count_overlap
from kaggle_unet.metrics.score import THRESHOLDS_TWENTIETHS
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.targets.codecs import Codec
from kaggle_unet.types import HalfPlanes, Labels, Planes

Features = NDArray[np.float32]
Precisions = NDArray[np.float64]

# Tried besides the threshold in use.
SEED_THRESHOLDS = (0.3, 0.45, 0.6, 0.75, 0.9)

# Neighbours are counted within this many diameters.
_NEAR_DIAMETERS = 2.0
_N_NEIGHBOURS = 8
_FAR_DIAMETERS = 100.0

_SHAPE = {
    "area": "area_px", "area_bbox": "box_px", "axis_major_length": "major_px", "axis_minor_length": "minor_px",
    "eccentricity": "eccentricity", "solidity": "solidity", "extent": "extent", "perimeter": "perimeter_px",
    "equivalent_diameter_area": "diameter_px",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidate decodings of one image: labels and features by level, and the components of their joint mask."""

    levels: tuple[NDArray[Any], ...]
    features: tuple[Features, ...]
    components: NDArray[Any]

    @property
    def objects(self) -> Features:
        """Features of the objects of all levels, shape (n_objects, n_features)."""
        return np.concatenate(self.features)

    def split(self, values: Precisions) -> list[Precisions]:
        """Split values, one per object, by level."""
        return np.split(values, np.cumsum([len(features) for features in self.features])[:-1])


def feature_names(codec: Codec) -> list[str]:
    """Return the names of an object's features."""
    probabilities = [f"{statistic} {plane}" for statistic in ("mean", "lowest", "highest") for plane in codec.planes]
    return [*_SHAPE.values(), "roundness", *probabilities, *_NEIGHBOURHOOD]


_NEIGHBOURHOOD = ("objects in image", "area over median", "nearest in diameters", "neighbours", "pieces of component")


def find_candidates(
    decoder: Decoder, planes: Planes | HalfPlanes, seed_thresholds: Sequence[float] = SEED_THRESHOLDS
) -> Candidates:
    """Decode an image at several seed thresholds and describe all objects."""
    levels: list[Labels] = []
    planes = planes.astype(np.float32, copy=False)
    for threshold in (decoder.decode.seed_threshold, *seed_thresholds):
        labels = replace(decoder, decode=decoder.decode.model_copy(update={"seed_threshold": threshold}))(planes)
        if not any(np.array_equal(labels, other) for other in levels):
            levels.append(labels)
    parts = components(np.any([labels > 0 for labels in levels], axis=0))
    known: dict[bytes, list[float]] = {}
    features = tuple(_describe(labels, planes, parts, known) for labels in levels)
    return Candidates(tuple(map(_shrink, levels)), features, _shrink(parts))


def _shrink(labels: Labels) -> NDArray[Any]:
    """Halve the memory where ids allow it."""
    return labels.astype(np.uint16) if labels.max(initial=0) < 2**16 else labels


def refuse_without_seeds(decoder: Decoder) -> None:
    """Refuse a decoding without seeds, which has nothing to choose from."""
    codec, decode = decoder.codec, decoder.decode
    if decode.single_object or codec.is_semantic or len(codec.planes) < 2:
        single = ", decode.single_object," if decode.single_object else ""
        msg = f"codec {codec.name}{single} has no seeds, so there are no splits to choose from; train with codec "
        raise ConfigError(f"{msg}mask_border, interior_border or interior_border_background")


def true_precisions(candidates: Candidates, truth: Labels) -> Precisions:
    """Compute what the regressor learns: the share of thresholds below each object's highest IoU with a true one."""
    # with the sides swapped, `best_iou` is that of the predicted objects
    ious = np.concatenate([find_error_types(count_overlap(labels, truth)).best_iou for labels in candidates.levels])
    return np.asarray(np.mean([ious > k / 20 for k in THRESHOLDS_TWENTIETHS], axis=0), np.float64)


def choose(candidates: Candidates, precisions: Precisions, true_per_found: float) -> Labels:
    """Keep the best decoding of every component of the mask, and those of its objects that maximise the expected score.

    A component's best decoding is that with the highest mean precision of its objects there; among equals, the first
    wins, the one in use. The sum of these objects' precisions is the number of objects expected to be found;
    `true_per_found` times that number is how many there are expected to be.
    """
    n = int(candidates.components.max(initial=0)) + 1
    levels = [
        (labels, _component_of(labels, candidates.components), expected)
        for labels, expected in zip(candidates.levels, candidates.split(precisions), strict=True)
    ]
    means = [
        np.bincount(component, weights=expected, minlength=n) / np.maximum(np.bincount(component, minlength=n), 1)
        for _, component, expected in levels
    ]
    best = np.argmax(means, axis=0)
    is_kept = np.concatenate([best[component] == level for level, (_, component, _) in enumerate(levels)])
    is_kept[is_kept] = _maximize_score(precisions[is_kept], true_per_found)
    chosen = np.zeros(candidates.components.shape, dtype=np.int32)
    ids = candidates.split(np.where(is_kept, np.arange(1.0, len(is_kept) + 1), 0))
    for labels, of_level in zip(candidates.levels, ids, strict=True):
        np.maximum(chosen, np.append(0, of_level).astype(np.int32)[labels], out=chosen)
    return relabel(chosen)


def _maximize_score(precisions: Precisions, true_per_found: float) -> NDArray[np.bool_]:
    """Return which objects to keep: F of n are found, and T − F of T true ones missed: the score is F / (n + T − F)."""
    order = np.argsort(-precisions, kind="stable")
    found = np.cumsum(precisions[order])
    scores = found / np.maximum(np.arange(1, len(order) + 1) + true_per_found * found[-1:] - found, 1e-9)
    is_kept = np.zeros(len(order), np.bool_)
    is_kept[order[: scores.argmax() + 1 if len(order) else 0]] = True
    return is_kept & (precisions > 0)


def _component_of(labels: NDArray[Any], parts: NDArray[Any]) -> NDArray[np.int32]:
    """Return the component in which each instance lies."""
    component = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.int32)
    component[labels] = parts
    return component[1:]


def _describe(labels: Labels, planes: Planes, parts: Labels, known: dict[bytes, list[float]]) -> Features:
    """Compute the features of one decoding; an object's own features are looked up if another decoding has it, too."""
    n = int(labels.max(initial=0))
    if n == 0:
        return np.empty((0, len(_SHAPE) + 1 + 3 * len(planes) + len(_NEIGHBOURHOOD)), np.float32)
    keys = _keys(labels, n)
    is_new = np.array([False, *(key not in known for key in keys)])
    if is_new.any():
        table: dict[str, Any] = regionprops_table(
            np.where(is_new[labels], labels, 0),
            intensity_image=np.moveaxis(planes, 0, -1),
            properties=("label", "centroid", *_SHAPE, *_INTENSITIES),
        )
        roundness = 4 * np.pi * table["area"] / np.maximum(table["perimeter"], 1) ** 2
        probabilities = [table[f"{name}-{k}"] for name in _INTENSITIES for k in range(len(planes))]
        alone = [table["centroid-0"], table["centroid-1"], *(table[name] for name in _SHAPE), roundness, *probabilities]
        known.update(
            (keys[label - 1], row)
            for label, row in zip(table["label"].tolist(), np.stack(alone, 1).tolist(), strict=True)
        )
    rows = np.array([known[key] for key in keys])
    centres, alone_ = rows[:, :2], rows[:, 2:]
    area, diameter = alone_[:, list(_SHAPE).index("area")], alone_[:, list(_SHAPE).index("equivalent_diameter_area")]
    around = _neighbourhood(centres, area, diameter, _component_of(labels, parts))
    return np.concatenate([alone_, np.stack(around, axis=1)], axis=1).astype(np.float32)


def _keys(labels: Labels, n: int) -> list[bytes]:
    """Hash the pixel indices of each object, so that an object has the same key in every decoding."""
    indices = np.flatnonzero(labels)
    ids = labels.ravel()[indices]
    indices = indices[np.argsort(ids, kind="stable")]
    ends = np.cumsum(np.bincount(ids, minlength=n + 1)[1:])[:-1]
    return [blake2b(own.tobytes(), digest_size=16).digest() for own in np.split(indices, ends)]


_INTENSITIES = ("intensity_mean", "intensity_min", "intensity_max")


def _neighbourhood(
    centres: NDArray[np.float64], area: NDArray[np.float64], diameter: NDArray[np.float64], component: NDArray[np.int32]
) -> list[NDArray[Any]]:
    """Compute the features of each object's surroundings, in the order of `_NEIGHBOURHOOD`."""
    n = len(component)
    distances = cKDTree(centres).query(centres, k=min(_N_NEIGHBOURS + 1, n))[0].reshape(n, -1)[:, 1:]
    in_diameters = distances / diameter[:, None]
    nearest = in_diameters[:, 0] if n > 1 else np.full(n, np.inf)
    return [
        np.full(n, n),
        area / np.median(area),
        np.minimum(nearest, _FAR_DIAMETERS),
        (in_diameters < _NEAR_DIAMETERS).sum(axis=1),
        np.bincount(component)[component],
    ]


class Regressor:
    """Gradient-boosted trees that predict an object's precision from its features."""

    def __init__(self, text: str) -> None:
        lightgbm = import_lightgbm()
        self.text = text
        try:
            self._booster = lightgbm.Booster(model_str=text)
        except lightgbm.basic.LightGBMError as error:
            msg = f"this is not a LightGBM model, or a damaged one ({error}); run kaggle-unet second-level again"
            raise ConfigError(msg) from error

    @classmethod
    def fit(cls, features: Features, precisions: Precisions, names: Sequence[str], *, seed: int = 0) -> "Regressor":
        """Fit trees to objects of known precision, on one thread, so that the number of threads changes nothing."""
        lightgbm = import_lightgbm()
        if not len(features):
            raise ConfigError("there is no object to learn from: the network found none in these images; train longer")
        data = lightgbm.Dataset(features, precisions, feature_name=[name.replace(" ", "_") for name in names])
        settings = {
            "objective": "regression", "num_leaves": 31, "learning_rate": 0.05, "min_data_in_leaf": 20,
            "feature_fraction": 0.8, "bagging_fraction": 0.8, "bagging_freq": 1,
            "seed": seed, "deterministic": True, "num_threads": 1, "verbosity": -1,
        }  # fmt: skip
        return cls(lightgbm.train(settings, data, num_boost_round=200).model_to_string())

    def predict(self, features: Features) -> Precisions:
        """Predict the objects' precisions."""
        if not len(features):
            return np.zeros(0)
        return np.clip(np.asarray(self._booster.predict(features, num_threads=1), dtype=np.float64), 0, 1)


def import_lightgbm() -> Any:
    """Import LightGBM."""
    return import_extra("lightgbm", "second-level", "second-level")
