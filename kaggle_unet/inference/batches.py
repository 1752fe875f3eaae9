"""Which images share a forward pass: decided from sizes and ids alone, before any is read.

The size of a batch moves the last bits of a prediction, so an interrupted prediction that goes on must form the same
batches as one that was never interrupted: leave out whole batches that are done, never single images of one.
"""

from collections.abc import Mapping

from kaggle_unet.data.padding import padded_shape
from kaggle_unet.inference.settings import InferenceSettings


def plan_batches(
    shapes: Mapping[str, tuple[int, int]], settings: InferenceSettings, *, multiple: int, margin: int = 0
) -> list[tuple[str, ...]]:
    """Group images that have one size once they are padded.

    >>> plan_batches({"b": (20, 30), "c": (64, 64), "a": (32, 32)}, InferenceSettings(batch=8), multiple=32)
    [('a', 'b'), ('c',)]
    """
    groups: dict[tuple[int, int], list[str]] = {}
    for sample in sorted(shapes):
        groups.setdefault(padded_shape(shapes[sample], multiple, margin=margin), []).append(sample)
    size = settings.batch
    return [
        tuple(group[start : start + size])
        for _, group in sorted(groups.items())
        for start in range(0, len(group), size)
    ]
