"""Segmentation competitions from the zip to the CSV: targets, U-Nets, watershed, RLE, scores.

The names in `__all__` are the public API, described in docs/api.md. Each is imported on first use, so that
`import kaggle_unet` loads nothing else. Every function that takes labels or masks checks them: a `DataError` says what
is wrong with an array, a `ConfigError` what is wrong with a setting.

>>> import numpy as np
>>> import kaggle_unet as ku
>>> image, labels = ku.draw_nuclei(np.random.default_rng(0))
>>> ku.score(labels, labels)
1.0
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors; Python takes the names from `_NAMES`
    from kaggle_unet.api import Model, load, read_competition, read_folder, train, tune
    from kaggle_unet.competitions.label_files import write_labels
    from kaggle_unet.competitions.submission import read_submission, write_submission
    from kaggle_unet.config import Config, load_config
    from kaggle_unet.errors import ConfigError, DataError, KitError, LockedError, ResourceError
    from kaggle_unet.masks import rle
    from kaggle_unet.masks.column_runs import paint_masks
    from kaggle_unet.masks.labels import components, relabel
    from kaggle_unet.masks.measure import measure
    from kaggle_unet.metrics.matching import match
    from kaggle_unet.metrics.pixels import dice, iou, pixel_accuracy
    from kaggle_unet.metrics.score import interval_of_mean, score
    from kaggle_unet.postprocess.clean import drop_small, fill_holes
    from kaggle_unet.postprocess.decoder import Decoder
    from kaggle_unet.postprocess.settings import PostprocessSettings
    from kaggle_unet.report.draw import colour_labels, draw_outlines
    from kaggle_unet.steps.check import check_submission
    from kaggle_unet.synthetic.images import draw_nuclei, draw_salt
    from kaggle_unet.targets.border import border
    from kaggle_unet.targets.codecs import decode_planes, encode_targets, get_codec
    from kaggle_unet.targets.settings import DecodeSettings, WeightSettings
    from kaggle_unet.targets.weights import distance_weights, size_weights, weight_map
    from kaggle_unet.types import Sample
else:

    def __getattr__(name: str) -> Any:
        if name == "rle":
            return import_module("kaggle_unet.masks.rle")
        if name not in _MODULES:
            raise AttributeError(f"module 'kaggle_unet' has no attribute {name!r}")
        return getattr(import_module(f"kaggle_unet.{_MODULES[name]}"), name)


__all__ = [
    "Config", "ConfigError", "DataError", "DecodeSettings", "Decoder", "KitError", "LockedError", "Model",
    "PostprocessSettings", "ResourceError", "Sample", "WeightSettings", "__version__", "border", "check_submission",
    "colour_labels", "components", "decode_planes", "dice", "distance_weights", "draw_nuclei", "draw_outlines",
    "draw_salt", "drop_small", "encode_targets", "fill_holes", "get_codec", "interval_of_mean", "iou", "load",
    "load_config", "match", "measure", "paint_masks", "pixel_accuracy", "read_competition", "read_folder",
    "read_submission", "relabel", "rle", "score", "size_weights", "train", "tune", "weight_map", "write_labels",
    "write_submission",
]  # fmt: skip
__version__ = "0.1.0"

_NAMES = {
    "api": "Model load read_competition read_folder train tune",
    "competitions.label_files": "write_labels",
    "competitions.submission": "read_submission write_submission",
    "config": "Config load_config",
    "errors": "ConfigError DataError KitError LockedError ResourceError",
    "masks.column_runs": "paint_masks",
    "masks.labels": "components relabel",
    "masks.measure": "measure",
    "metrics.matching": "match",
    "metrics.pixels": "dice iou pixel_accuracy",
    "metrics.score": "interval_of_mean score",
    "postprocess.clean": "drop_small fill_holes",
    "postprocess.decoder": "Decoder",
    "postprocess.settings": "PostprocessSettings",
    "report.draw": "colour_labels draw_outlines",
    "steps.check": "check_submission",
    "synthetic.images": "draw_nuclei draw_salt",
    "targets.border": "border",
    "targets.codecs": "decode_planes encode_targets get_codec",
    "targets.settings": "DecodeSettings WeightSettings",
    "targets.weights": "distance_weights size_weights weight_map",
    "types": "Sample",
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __dir__() -> list[str]:
    return sorted(__all__)
