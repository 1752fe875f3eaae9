"""Models and inputs to planes: the mean of probabilities over views and models.

Images of any size are mirrored up to what the models take and cut back afterwards. Sums run in float32 in a fixed
order, model by model and view by view, so that the same batches give the same bits.

Which images share a forward pass: decided from sizes and ids alone, before any is read.

The size of a batch moves the last bits of a prediction, so an interrupted prediction that goes on must form the same
batches as one that was never interrupted: leave out whole batches that are done, never single images of one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from kaggle_unet.data.batch import PadSpec, Slices, crop, pad_to, padded_shape
from kaggle_unet.errors import ConfigError, KitError, ResourceError
from kaggle_unet.inference.flips import VIEWS, Flip
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.inference.tiles import Tile, cut_tile, merge_tiles, plan_tiles
from kaggle_unet.types import HalfPlanes, Inputs, Planes

# Objects of less than this factor's difference are what the network knows anyway.


def plan_batches(
    shapes: Mapping[str, tuple[int, int]], settings: InferenceSettings, *, multiple: int, margin: int = 0
) -> list[tuple[str, ...]]:
    """Group images that have one size once they are padded.

    >>> plan_batches({"b": (20, 30), "c": (64, 64), "a": (32, 32)}, InferenceSettings(batch=8), multiple=32)
    [('a', 'b'), ('c',)]
    """
    groups: dict[tuple[int, int], list[str]] = {}
    for sample in sorted(shapes):
        groups.setdefault(padded_shape(shapes[sample], PadSpec(multiple, margin)), []).append(sample)
    size = settings.batch
    return [
        tuple(group[start : start + size])
        for _, group in sorted(groups.items())
        for start in range(0, len(group), size)
    ]


Activation = Literal["sigmoid", "softmax"]
_Forward = Callable[[Sequence[Inputs], Sequence[str]], Planes]


def predict_planes(  # noqa: PLR0913  what the device decides is passed as it is recorded, one by one
    models: Sequence[nn.Module],
    items: Iterable[tuple[str, Inputs]],
    *,
    settings: InferenceSettings,
    activation: Activation,
    multiple: int,
    device: torch.device | str,
    autocast_dtype: torch.dtype | None = None,
    channels_last: bool = False,
) -> Iterator[tuple[str, Planes | HalfPlanes]]:
    """Predict the planes of images, one after the other.

    Parameters
    ----------
    models : sequence of nn.Module
        Each gives logits (B, C, H, W) of inputs (B, channels, H, W). They are moved to `device` and set to evaluation.
    items : iterable of (str, float32 array of shape (channels, H, W))
        Ids and inputs, in the order of `kaggle_unet.inference.predict.plan_batches`.
    settings : InferenceSettings
        Which views are averaged, and how many images share a forward pass.
    activation : {"sigmoid", "softmax"}
        The codec's; what turns logits into probabilities.
    multiple : int
        Sides the models take are multiples of this (the least common one of all models).
    device : torch.device or str
        Where the models run.
    autocast_dtype : torch.dtype, optional
        `torch.bfloat16` or `torch.float16`; None computes in float32.
    channels_last : bool
        Memory layout of models and inputs.

    Yields
    ------
    sample : str
        The id.
    planes : float32 array, shape (C, H, W)
        Mean probabilities; float16 of an image that is predicted in tiles.

    Raises
    ------
    ConfigError
        If there are scales, but a network without padding, or not as many weights as models.
    ResourceError
        If a batch does not fit into the device's memory.
    KitError
        If a prediction is not finite.

    Notes
    -----
    Consecutive items of one padded size share a batch. The padding is mirrored and split evenly; it is at least as wide
    as the largest `margin` among the models, the pixels an unpadded U-Net loses at each edge (0 for models without
    that attribute), so that the whole image is predicted. Images of a single pixel are no exception. Images with a
    padded side beyond `settings.tile_px` go through the models tile by tile, see `kaggle_unet.inference.tiles`.
    """
    models = [_ready(model, device, channels_last=channels_last) for model in models]
    margin = largest_margin(models)
    if margin and settings.scales != (1.0,):
        msg = f"inference.scales {settings.scales}: a network without padding is shown images as they are; leave it out"
        raise ConfigError(msg)
    if settings.weights is not None and len(settings.weights) != len(models):
        n = len(settings.weights)
        msg = f"inference.weights has {n} numbers, but there are {len(models)} checkpoints; give one for each, in order"
        raise ConfigError(msg)
    network = _Ensemble(models, margin, settings, multiple, activation, autocast_dtype)
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def forward(inputs: Sequence[Inputs], names: Sequence[str]) -> Planes:
        stacked = torch.from_numpy(np.stack(inputs)).to(device).contiguous(memory_format=layout)
        planes: Planes = _predict(network, stacked, names).cpu().numpy()
        return planes

    for batch in _group(items, settings, multiple, network.margin):
        if isinstance(batch, _Large):
            yield batch.sample, _predict_large(batch, forward)
            continue
        planes = forward([item.inputs for item in batch], [item.sample for item in batch])
        for item, predicted in zip(batch, planes, strict=True):
            yield item.sample, crop(predicted, item.slices).copy()


def largest_margin(models: Iterable[nn.Module]) -> int:
    """Give the border that images need for all models, beyond what `multiple` asks for."""
    return max(_margin(model) for model in models)


@dataclass(frozen=True)
class _Item:
    """One padded image; the slices say where it lies in what the network gives."""

    sample: str
    inputs: Inputs
    slices: Slices


@dataclass(frozen=True)
class _Large:
    """An image that is predicted in tiles."""

    sample: str
    inputs: Inputs
    tiles: list[Tile]


@dataclass(frozen=True)
class _Ensemble:
    """Models, and how they see an image and are averaged."""

    models: Sequence[nn.Module]
    margin: int
    settings: InferenceSettings
    multiple: int
    activation: Activation
    autocast_dtype: torch.dtype | None

    @property
    def views(self) -> Sequence[Flip]:
        """What each model sees."""
        return VIEWS[self.settings.flips]

    @property
    def weights(self) -> Sequence[float]:
        """How much each model counts."""
        return self.settings.weights or (1.0,) * len(self.models)

    def probabilities(self, inputs: Tensor) -> Tensor:
        """Average over scales, models and views; (B, channels, H, W) -> (B, C, H − 2·margin, W − 2·margin)."""
        total: Tensor | None = None
        for scale in self.settings.scales:
            values = self._at_scale(inputs, scale)
            total = values if total is None else total + values
        assert total is not None
        mean = total / (len(self.settings.scales) * sum(self.weights) * len(self.views))
        return self._activate(mean) if self.settings.mean == "geometric" else mean

    def _at_scale(self, inputs: Tensor, scale: float) -> Tensor:
        """Add up models and views, in their order, of images shown larger or smaller."""
        height, width = inputs.shape[-2:]
        sides = [max(1, round(side * scale / self.multiple)) * self.multiple for side in (height, width)]
        if scale == 1 or sides == [height, width]:
            return self._add_views(inputs)
        shown = interpolate(inputs, sides, mode="bilinear", antialias=scale < 1)
        return interpolate(self._add_views(shown), (height, width), mode="bilinear", antialias=scale > 1)

    def _add_views(self, inputs: Tensor) -> Tensor:
        total: Tensor | None = None
        for model, weight in zip(self.models, self.weights, strict=True):
            if weight == 0:
                continue
            surplus = self.margin - _margin(model)
            for view in self.views:
                values = view.undo(self._to_average(self._forward(model, view.apply(inputs))))
                values = values[..., surplus : values.shape[-2] - surplus, surplus : values.shape[-1] - surplus]
                values = values if weight == 1 else weight * values
                total = values if total is None else total + values
        assert total is not None
        return total

    def _forward(self, model: nn.Module, inputs: Tensor) -> Tensor:
        with torch.autocast(inputs.device.type, self.autocast_dtype, enabled=self.autocast_dtype is not None):
            logits: Tensor = model(inputs)
        return logits.float()

    def _to_average(self, logits: Tensor) -> Tensor:
        """Give probabilities, or what becomes their geometric mean: the mean logit is that of p and 1 − p together."""
        if self.settings.mean == "arithmetic":
            return self._activate(logits)
        return logits if self.activation == "sigmoid" else logits.log_softmax(dim=1)

    def _activate(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(dim=1)


def _margin(model: nn.Module) -> int:
    return int(getattr(model, "margin", 0))


def _ready(model: nn.Module, device: torch.device | str, *, channels_last: bool) -> nn.Module:
    model = model.to(device).eval()
    return model.to(memory_format=torch.channels_last) if channels_last else model


def _group(
    items: Iterable[tuple[str, Inputs]], settings: InferenceSettings, multiple: int, margin: int
) -> Iterator[list[_Item] | _Large]:
    """Pad items and gather consecutive ones of one shape, a batch at most; lay tiles over large ones."""
    batch: list[_Item] = []
    for sample, inputs in items:
        _, height, width = inputs.shape
        shape = padded_shape((height, width), PadSpec(multiple, margin))
        if batch and (len(batch) == settings.batch or shape != batch[0].inputs.shape[1:]):
            yield batch
            batch = []
        if max(shape) > settings.tile_px:
            px = {"tile_px": settings.tile_px, "overlap_px": settings.overlap_px}
            yield _Large(sample, inputs, plan_tiles((height, width), **px, multiple=multiple, margin=margin))
        else:
            batch.append(_pad(sample, inputs, shape, margin))
    if batch:
        yield batch


def _pad(sample: str, inputs: Inputs, shape: tuple[int, int], margin: int) -> _Item:
    padded, (rows, columns) = pad_to(inputs, shape)
    slices = slice(rows.start - margin, rows.stop - margin), slice(columns.start - margin, columns.stop - margin)
    return _Item(sample, padded, slices)


def _predict_large(image: _Large, forward: _Forward) -> HalfPlanes:
    """Predict tile by tile; memory beside inputs and result is that of one row of tiles."""
    height, width = image.inputs.shape[1:]
    pieces = ((tile, forward([cut_tile(image.inputs, tile)], [image.sample])[0]) for tile in image.tiles)
    planes: HalfPlanes | None = None
    for rows, merged in merge_tiles(pieces, width):
        if planes is None:
            planes = np.empty((len(merged), height, width), dtype=np.float16)
        planes[:, rows] = merged
    assert planes is not None
    return planes


@torch.inference_mode()
def _predict(network: _Ensemble, inputs: Tensor, names: Sequence[str]) -> Tensor:
    """Run one batch; a function of its own, as a generator would leak the inference mode to whoever reads it."""
    shape = " × ".join(str(side) for side in inputs.shape)
    try:
        planes = network.probabilities(inputs)
    except torch.OutOfMemoryError as error:
        msg = f"a batch of {shape} (from {names[0]!r}) does not fit into {inputs.device}; lower inference.batch"
        raise ResourceError(msg) from error
    for name, is_finite in zip(names, planes.isfinite().flatten(1).all(dim=1).tolist(), strict=True):
        if not is_finite:
            msg = f"prediction of {name!r} is not finite; predict in precision 32, or use an earlier checkpoint"
            raise KitError(msg)
    return planes
