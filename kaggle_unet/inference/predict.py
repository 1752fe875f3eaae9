"""Inference: mean probabilities over models, scales and flips (test-time augmentation, TTA), in mixed precision.

Sums run in float32 in a fixed order, so the same batches give the same bits. Which images share a forward pass depends
only on their sizes and ids, unless a batch does not fit into the device's memory and is halved, with a warning. The
batch size affects the last bits of a prediction, so a resumed prediction must form the same batches: skip whole batches
that are done, never single images of a batch.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, islice
from math import ceil, prod
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from kaggle_unet.data.batch import PadSpec, crop, pad_to, padded_shape
from kaggle_unet.errors import ConfigError, KitError, ResourceError
from kaggle_unet.inference.flips import FLIP_SETS
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.inference.tiles import cut_tile, merge_tiles, plan_tiles
from kaggle_unet.store.planes import to_half
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import CodecName
from kaggle_unet.types import HalfPlanes, Inputs, Planes, Shape, Sliced

Activation = Literal["sigmoid", "softmax"]
_LEAST_PROBABILITY = 1e-6  # its logit is finite


def plan_batches(shapes: Mapping[str, Shape], settings: InferenceSettings, *, margin: int = 0) -> list[tuple[str, ...]]:
    """Group images of equal padded size into batches.

    >>> settings = InferenceSettings(batch=8, pad_to_multiple=32)
    >>> plan_batches({"b": (20, 30), "c": (64, 64), "a": (32, 32)}, settings)
    [('a', 'b'), ('c',)]
    """
    groups: dict[Shape, list[str]] = {}
    pad_spec, size = PadSpec(settings.pad_to_multiple, margin), settings.batch
    for sample in sorted(shapes):
        groups.setdefault(padded_shape(shapes[sample], pad_spec), []).append(sample)
    return [
        tuple(group[start : start + size])
        for _, group in sorted(groups.items())
        for start in range(0, len(group), size)
    ]


def predict_planes(
    models: Sequence[nn.Module], items: Iterable[tuple[str, Inputs]], *, settings: InferenceSettings, **options: Any
) -> Iterator[tuple[str, Planes | HalfPlanes]]:
    """Predict the planes of images one by one, as float16 for images predicted in tiles.

    Items are ids and inputs in the order of `plan_batches`; consecutive items of equal padded size share a batch. The
    padding is mirrored, and at least as wide as the largest `margin` among the models (the pixels that an unpadded
    U-Net loses at each edge), so that the whole image is predicted. Images with a padded side above `settings.tile_px`
    go through the models tile by tile. The options are those of `_Average`.
    """
    average = _Average(models, settings, **options)
    for shape, names, images in _gather_batches(items, settings, PadSpec(settings.pad_to_multiple, average.margin)):
        if max(shape) > settings.tile_px:
            yield names[0], _predict_tiles(names[0], images[0], settings, average)
            continue
        padded, slices = zip(*(pad_to(image, shape) for image in images), strict=True)
        for name, planes, inside in zip(names, average.predict(padded, names), slices, strict=True):
            yield name, crop(planes, inside, average.margin).copy()


def _gather_batches(
    items: Iterable[tuple[str, Inputs]], settings: InferenceSettings, pad_spec: PadSpec
) -> Iterator[tuple[Shape, tuple[str, ...], tuple[Inputs, ...]]]:
    """Gather consecutive items of equal padded shape, at most a batch of them; images that need tiles come alone."""
    for shape, group in groupby(items, lambda item: padded_shape(item[1].shape[1:], pad_spec)):
        size = 1 if max(shape) > settings.tile_px else settings.batch
        while batch := list(islice(group, size)):
            names, images = zip(*batch, strict=True)
            yield shape, names, images


class _Average:
    """The mean of probabilities over scales, models and flips.

    The models are moved to `device` and put into evaluation mode. At scales other than 1, images are padded again to
    the `multiple` that the networks need; by default it is the one that they were padded to.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        settings: InferenceSettings,
        *,
        activation: Activation,
        device: torch.device | str,
        autocast_dtype: torch.dtype | None = None,
        channels_last: bool = False,
        multiple: int | None = None,
    ) -> None:
        models = [model.to(device).eval() for model in models]
        self._models = [model.to(memory_format=torch.channels_last) for model in models] if channels_last else models
        self._margins = [int(getattr(model, "margin", 0)) for model in models]
        self.margin = max(self._margins)
        self._weights = settings.weights or (1.0,) * len(models)
        if self.margin and settings.scales != (1.0,):
            msg = f"inference.scales {settings.scales}: a network without padding takes images as they are; leave it "
            raise ConfigError(msg + "out")
        self._settings = settings
        self._multiple = multiple or settings.pad_to_multiple
        self._batch = settings.batch
        self._device = torch.device(device)
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._autocast_dtype = autocast_dtype
        self._to_probs = _to_averaged(activation, "arithmetic")
        self._to_averaged = _to_averaged(activation, settings.mean)

    def predict(self, images: Sequence[Inputs], names: Sequence[str]) -> Planes:
        """Predict a batch, in several parts if all of it does not fit into the device's memory."""
        parts: list[Planes] = []
        start = 0
        while start < len(images):
            some = slice(start, start + self._batch)
            planes = self._mean_over_scales(images[some])
            if planes is None:
                self._halve_batch(images[some], names[start])
                continue
            for name, found in zip(names[some], planes, strict=True):
                if not np.isfinite(found).all():
                    msg = f"prediction of {name!r} is not finite; predict in precision 32, or use an earlier checkpoint"
                    raise KitError(msg)
            parts.append(planes)
            start += len(planes)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _halve_batch(self, images: Sequence[Inputs], name: str) -> None:
        """Halve the number of images per pass from here on; called when nothing of the failed pass is left."""
        shape = " × ".join(map(str, (len(images), *images[0].shape)))
        what = f"a batch of {shape} (from {name!r}) does not fit into the memory of {self._device}"
        if len(images) == 1:
            raise ResourceError(f"{what}; lower inference.tile_px, or leave out inference.scales above 1")
        self._batch = len(images) // 2
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        what += f"; from here on {self._batch} at once, which may change last bits. Set inference.batch to that "
        warnings.warn(f"{what}next time", stacklevel=2)

    @torch.no_grad()
    def _mean_over_scales(self, images: Sequence[Inputs]) -> Planes | None:
        """Predict images at all scales; None if memory runs out. Not a generator, which would leak `no_grad`."""
        scales, total = self._settings.scales, None
        try:
            inputs = torch.from_numpy(np.stack(images)).to(self._device).contiguous(memory_format=self._layout)
            for scale in scales:
                values = self._sum_over_flips(inputs) if scale == 1 else self._sum_at_scale(inputs, scale)
                total = values if total is None else total + values
            assert total is not None
            planes = total / (len(scales) * sum(self._weights) * len(FLIP_SETS[self._settings.flips]))
            probs: Planes = (self._to_probs(planes) if self._settings.mean == "geometric" else planes).cpu().numpy()
        except torch.OutOfMemoryError:
            return None
        return probs

    def _sum_at_scale(self, inputs: Tensor, scale: float) -> Tensor:
        """Resize inputs, pad them to what the networks need, and resize what is found back."""
        height, width = inputs.shape[-2:]
        sides = max(1, round(height * scale)), max(1, round(width * scale))
        shown = interpolate(inputs, sides, mode="bilinear", antialias=scale < 1)
        pixels, inside = pad_to(np.arange(prod(sides)).reshape(sides), padded_shape(sides, PadSpec(self._multiple)))
        padded = shown.flatten(2)[..., torch.from_numpy(pixels)].contiguous(memory_format=self._layout)
        values = self._sum_over_flips(padded)[..., *inside]
        return interpolate(values, (height, width), mode="bilinear", antialias=scale > 1)

    def _sum_over_flips(self, inputs: Tensor) -> Tensor:
        """Sum over models and flips in their order, each model's part times its weight."""
        total: Tensor | None = None
        for model, weight, margin in zip(self._models, self._weights, self._margins, strict=True):
            if weight == 0:
                continue
            extra_margin = self.margin - margin
            for flip in FLIP_SETS[self._settings.flips]:
                with torch.autocast(inputs.device.type, self._autocast_dtype, enabled=self._autocast_dtype is not None):
                    logits: Tensor = model(flip.apply(inputs))
                values = _cut_margin(flip.undo(self._to_averaged(logits.float())), extra_margin)
                values = values if weight == 1 else weight * values
                total = values if total is None else total + values
        assert total is not None
        return total


def _predict_tiles(name: str, image: Inputs, settings: InferenceSettings, average: _Average) -> HalfPlanes:
    """Predict tile by tile; beyond inputs and result, the memory needed is that of one row of tiles."""
    _, height, width = image.shape
    planes: HalfPlanes | None = None
    for rows, merged in _merge_rows(name, image, settings, average, slice(0, height)):
        planes = np.empty((len(merged), height, width), dtype=np.float16) if planes is None else planes
        planes[:, rows] = to_half(merged)
    assert planes is not None
    return planes


def _merge_rows(
    name: str, inputs: Sliced, settings: InferenceSettings, average: _Average, rows: slice
) -> Iterator[tuple[slice, Planes]]:
    """Predict the tiles that show the given rows, and yield these rows as they become complete."""
    _, height, width = inputs.shape
    pad_spec = PadSpec(settings.pad_to_multiple, average.margin)
    # at the smallest scale it is what was asked for, unless tiles are too small for that
    overlap_px = max(settings.overlap_px, min(ceil(settings.overlap_px / min(settings.scales)), settings.tile_px // 2))
    tiles = plan_tiles((height, width), tile_px=settings.tile_px, overlap_px=overlap_px, pad_spec=pad_spec)
    shown = [tile for tile in tiles if tile[0].out.start < rows.stop and tile[0].out.stop > rows.start]
    pieces = ((tile, average.predict([cut_tile(inputs, tile)], [name])[0]) for tile in shown)
    for found, merged in merge_tiles(pieces, width):
        wanted = slice(max(found.start, rows.start), min(found.stop, rows.stop))
        if wanted.start < wanted.stop:
            yield wanted, merged[:, wanted.start - found.start : wanted.stop - found.start]


def predict_rows(
    models: Sequence[nn.Module], name: str, inputs: Sliced, rows: slice, settings: InferenceSettings, **options: Any
) -> Iterator[tuple[slice, Planes]]:
    """Predict some rows of an image that need not be in memory, just as when the whole image is predicted."""
    return _merge_rows(name, inputs, settings, _Average(models, settings, **options), rows)


class ChannelAdapter(nn.Module):
    """A network whose inputs are weighted sums of the channels shown, such as the luma of three colours."""

    def __init__(self, model: nn.Module, weights: NDArray[np.float32]) -> None:
        super().__init__()
        self.model = model
        self.margin = int(getattr(model, "margin", 0))
        self.register_buffer("weights", torch.from_numpy(weights)[..., None, None])  # (own, shown, 1, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the network's logits."""
        # summed one by one: a matrix product would be rounded to the dtype of autocast
        logits: Tensor = self.model((inputs.unsqueeze(1) * self.get_buffer("weights")).sum(dim=2))
        return logits


class CodecAdapter(nn.Module):
    """A network whose planes are converted to those of another codec.

    The mask is min(1, interior + border). The border of `mask_border` also lies on background between two objects: its
    part inside is min(mask, border), and the interior is the rest of the mask. The background is 1 − mask.
    """

    def __init__(self, model: nn.Module, trained: CodecName, wanted: CodecName) -> None:
        super().__init__()
        if "classes" in {trained, wanted}:
            raise ConfigError(f"planes of codec {trained} and those of {wanted} show different things")
        if "border" in CODECS[wanted].planes and "border" not in CODECS[trained].planes:
            raise ConfigError(f"planes of codec {trained} have no border, which {wanted} needs")
        self.model = model
        self.margin = int(getattr(model, "margin", 0))
        self._trained, self._wanted = CODECS[trained], CODECS[wanted]

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute logits of the wanted planes."""
        logits = self.model(inputs).float()
        trained = logits.softmax(dim=1) if self._trained.activation == "softmax" else logits.sigmoid()
        found = dict(zip(self._trained.planes, trained.unbind(dim=1), strict=True))
        mask = found["mask"] if "mask" in found else (found["interior"] + found["border"]).clamp(max=1)
        planes = {"mask": mask, "background": 1 - mask}
        if "border" in found:
            inner = torch.minimum(mask, found["border"])
            planes |= {"interior": mask - inner, "border": found["border"] if "mask" in self._wanted.planes else inner}
        wanted = torch.stack([planes[name] for name in self._wanted.planes], dim=1)
        return _to_logits(wanted, self._wanted.activation)


class MeanNetwork(nn.Module):
    """Several networks as one, whose logits are those of their mean probabilities (`inference.mean`, `weights`)."""

    def __init__(self, models: Sequence[nn.Module], settings: InferenceSettings, activation: Activation) -> None:
        super().__init__()
        weights = settings.weights or (1.0,) * len(models)
        self.models = nn.ModuleList(model for model, weight in zip(models, weights, strict=True) if weight)
        self._shares = [weight / sum(weights) for weight in weights if weight]
        self._margins = [int(getattr(model, "margin", 0)) for model in self.models]
        self.margin = max(self._margins)
        self._activation: Activation = activation
        self._mean = settings.mean

    def forward(self, inputs: Tensor) -> Tensor:
        """Compute the logits inside the largest margin of all networks."""
        to_averaged = _to_averaged(self._activation, self._mean)
        parts = [
            share * _cut_margin(to_averaged(model(inputs).float()), self.margin - margin)
            for model, share, margin in zip(self.models, self._shares, self._margins, strict=True)
        ]
        mean = torch.stack(parts).sum(dim=0)
        return mean if self._mean == "geometric" else _to_logits(mean, self._activation)


def _to_averaged(activation: Activation, mean: Literal["arithmetic", "geometric"]) -> Callable[[Tensor], Tensor]:
    """Return the function that turns logits into the values to average, probabilities or logarithms.

    The mean logit is that of the geometric means of p and 1 − p, scaled to a sum of 1.
    """
    if activation == "softmax":
        return partial(torch.log_softmax if mean == "geometric" else torch.softmax, dim=1)
    return nn.Identity() if mean == "geometric" else torch.sigmoid


def _to_logits(probs: Tensor, activation: Activation) -> Tensor:
    if activation == "softmax":
        return probs.clamp(min=_LEAST_PROBABILITY).log()
    return probs.logit(eps=_LEAST_PROBABILITY)


def _cut_margin(values: Tensor, margin: int) -> Tensor:
    rows, columns = (slice(margin, side - margin) for side in values.shape[-2:])
    return values[..., rows, columns]


def scale_to(known_px: float, found_px: float | None) -> float:
    """Compute the scale at which to show an image, from the diameter a network was trained on and that in the image.

    It is 1 if they differ by less than half or the image's is unknown, otherwise their quotient, from 1/4 to 4.
    """
    if not found_px or max(known_px / found_px, found_px / known_px) < 1.5:
        return 1.0
    return min(max(known_px / found_px, 0.25), 4.0)
