"""Call every kernel once, through the functions that users call; as a program, say how long the compiler took.

``python -m tests.bench.warm`` prints JSON: `seconds` of all first calls together, `kernels` with the compiler's seconds
for each (none where it came from numba's cache), and `unreached` kernels that nothing here calls.
"""

import importlib
import json
import pkgutil
from time import perf_counter

import numpy as np

import kaggle_unet.kernels
from kaggle_unet.masks.column_runs import paint_masks
from kaggle_unet.masks.labels import components, count_pieces_and_holes, relabel, relabel_in_raster_order
from kaggle_unet.masks.polygons import trace_polygons
from kaggle_unet.masks.rle import decode_and_count, decode_mask, encode, encode_mask
from kaggle_unet.metrics.score import score_image, score_mask
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.targets.border import border
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import BorderSettings, DecodeSettings, DistanceWeight, SizeWeight, WeightSettings
from kaggle_unet.targets.weights import weight_map


def warm() -> None:
    """Take three small nuclei, two of which touch, from masks to codes, planes, weights, labels and a score."""
    labels = np.zeros((12, 15), dtype=np.int32)
    labels[2:6, 2:6], labels[2:6, 6:9], labels[9:11, 9:11] = 1, 2, 3
    masks = [labels == 1, labels == 2, labels > 1]
    paint_masks(masks, labels.shape)
    decode_and_count([*encode(labels), encode_mask(masks[2])], labels.shape)
    decode_mask(encode_mask(masks[0]), labels.shape)
    relabel_in_raster_order(relabel(2 * labels)), count_pieces_and_holes(labels)
    components(masks[0], connectivity=4), trace_polygons(labels)
    score_image(labels, np.roll(labels, 1, axis=0)), score_mask(masks[0], masks[1])
    for settings in (BorderSettings(), BorderSettings(rule="contour"), BorderSettings(radius_px="by_size")):
        border(labels, **dict(settings))
    weights = WeightSettings(distance=DistanceWeight(), size=SizeWeight(reference_area_px=9))
    for codec in CODECS.values():
        planes = codec.encode(labels, BorderSettings())
        weight_map(labels, weights, codec=codec.name, planes=planes)
        settings = DecodeSettings(min_seed_px=1)
        Decoder(codec, settings, PostprocessSettings(fill_holes_px=9, min_area_px=2))(planes)


def kernels():
    """List every compiled function of `kaggle_unet.kernels` by name."""
    found = {}
    for module in pkgutil.iter_modules(kaggle_unet.kernels.__path__):
        members = vars(importlib.import_module(f"kaggle_unet.kernels.{module.name}"))
        found.update(
            {f"{module.name}.{name}": member for name, member in members.items() if _is_kernel(member, module)}
        )
    return found


def _is_kernel(member, module):
    return hasattr(member, "py_func") and member.__module__ == f"kaggle_unet.kernels.{module.name}"


def _compiler_s(kernel):
    """Add up the compiler's seconds over a kernel's types, those of the kernels that it calls included."""
    timers = [(kernel.get_metadata(signature) or {}).get("timers", {}) for signature in kernel.signatures]
    return round(sum(timer.get("compiler_lock", 0) for timer in timers), 3)


if __name__ == "__main__":
    start = perf_counter()
    warm()
    seconds = perf_counter() - start
    reached = {name: kernel for name, kernel in kernels().items() if kernel.signatures}
    report = {
        "seconds": seconds,
        "kernels": {name: _compiler_s(kernel) for name, kernel in reached.items()},
        "types": {name: len(kernel.signatures) for name, kernel in reached.items()},
        "unreached": sorted(set(kernels()) - set(reached)),
    }
    print(json.dumps(report))
