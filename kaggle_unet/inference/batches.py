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

    Parameters
    ----------
    shapes : mapping of str to tuple of int
        Height and width by the image's id; its order is without effect.
    settings : InferenceSettings
        For the size of a batch.
    multiple, margin : int
        What `kaggle_unet.data.padding.padded_shape` takes; the same that `predict_planes` is given.

    Returns
    -------
    batches : list of tuple of str
        Ids, sorted by padded size and then by id; only the last batch of a size may be short.

    Examples
    --------
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
