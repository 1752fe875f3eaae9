"""Batches made on the device, and when that is done.

All samples lie there in 8 bits, labels in as few as their ids take. For each batch the CPU draws what it shall show and
sends that in one piece, while the batch before is learnt from; views, tones, planes, weights and inputs are torch's.

What an item shows is what `TrainingSet` shows for the same key. Where views are exact (no zoom, no rotation) the items
are equal to the bit; else a value may differ by one gray level and a label may be its neighbour's, each in fewer than
one pixel of a thousand, as cv2 rounds places otherwise on other processors, too. Presets that bend, copy nuclei or
look at neighbourhoods (`first_place`) and distance weights are left to the processes that prepare batches.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from kaggle_unet.data import inputs as on_cpu
from kaggle_unet.data.augment import PRESETS
from kaggle_unet.data.batch import PADDING_ID, Batch, rank_slice
from kaggle_unet.data.dataset import TrainingSet
from kaggle_unet.data.loading import EpochOrder
from kaggle_unet.data.on_device.inputs import Shown, prepare
from kaggle_unet.data.on_device.pixels import Pixels
from kaggle_unet.data.on_device.recipes import Arrays, draw_recipe, stack, transfer
from kaggle_unet.data.on_device.targets import OUTSIDE, Encoder
from kaggle_unet.data.on_device.tones import Colours, add_noise, blur, change_colours, look_up
from kaggle_unet.errors import ConfigError, ResourceError

DataOn = Literal["auto", "device", "workers"]
# Of the device's memory; the rest is the network's.
_SHARE = 0.25


@dataclass(frozen=True)
class LoaderChoice:
    """Where batches are made."""

    on_device: bool
    reason: str

    @property
    def text(self) -> str:
        """A few words for a person."""
        return f"batches made {'on the device' if self.on_device else 'by workers'} ({self.reason})"


def choose_loader(items: TrainingSet, wanted: DataOn, device: torch.device) -> LoaderChoice:
    """Decide where batches are made."""
    if wanted == "workers":
        return LoaderChoice(on_device=False, reason="training.data_on is workers")
    unsupported_reason = _find_unsupported_reason(items)
    if wanted == "device":
        if unsupported_reason:
            msg = f"training.data_on is device, but {unsupported_reason}; say workers, or auto"
            raise ConfigError(msg)
        return LoaderChoice(on_device=True, reason="training.data_on is device")
    if device.type != "cuda":
        return LoaderChoice(on_device=False, reason=f"the device is {device.type}")
    if unsupported_reason:
        return LoaderChoice(on_device=False, reason=unsupported_reason)
    held, room = _count_bytes(items), _SHARE * torch.cuda.get_device_properties(device).total_memory
    return LoaderChoice(held <= room, f"{held / 1e9:.2g} GB of samples, room for {room / 1e9:.2g} GB")


def _find_unsupported_reason(items: TrainingSet) -> str:
    """Say what can't be done on a device; nothing if all can."""
    name = items.augmentation.preset
    preset, intensity = PRESETS[name], PRESETS[name].intensity
    unsupported_reasons = {
        f"the preset {name} copies nuclei": preset.p_paste > 0,
        f"the preset {name} bends": preset.p_bend > 0,
        f"the preset {name} looks at neighbourhoods": intensity.stretches
        or max(intensity.p_local, intensity.p_soften) > 0,
        "weights.distance is made by the CPU": items.encoding.weights.distance is not None,
    }
    return next((what for what, is_so in unsupported_reasons.items() if is_so), "")


def _count_bytes(items: TrainingSet) -> int:
    return sum(
        cached.image.nbytes + cached.labels.nbytes + (0 if cached.ignore is None else cached.ignore.nbytes)
        for cached in items.cached_samples
    )


class _Drawn(NamedTuple):
    """A batch before a pixel is touched."""

    arrays: Arrays
    ids: list[str]


class DeviceLoader:
    """The batches of each epoch, made on the device.

    The order is that of `BatchLoader`, and nothing is drawn from torch's own generator.
    """

    def __init__(self, items: TrainingSet, *, batch: int, device: torch.device, rank: int = 0, size: int = 1) -> None:
        self._items = items
        self._order = EpochOrder(len(items), batch=batch, seed=items.seed)
        self._device = device
        self._rank, self._size = rank, size
        cached_samples, highest = (
            items.cached_samples,
            max(int(cached.labels.max(initial=0)) for cached in items.cached_samples),
        )
        for cached in cached_samples:  # says which sample lacks what the inputs need
            on_cpu.prepare(
                cached.image[:1, :1], items.encoding.inputs, depth=cached.depth, intensity_range=cached.intensity_range
            )
        self._encoder = Encoder(items.encoding, highest)
        dtype = np.uint8 if highest < 1 << 8 else np.int16 if highest < 1 << 15 else np.int32
        try:
            self._images = Pixels([cached.image for cached in cached_samples], device)
            self._labels = Pixels([cached.labels.astype(dtype) for cached in cached_samples], device)
            self._ignored = _gather_ignored(items, device)
        except torch.OutOfMemoryError as error:
            msg = f"{_count_bytes(items) / 1e9:.2g} GB of samples do not fit into the device's memory; set "
            raise ResourceError(msg + "training.data_on to workers") from error

    def __len__(self) -> int:
        """Count the batches of an epoch."""
        return len(self._order)

    def epoch(self, number: int) -> Iterator[Batch]:
        """Go through one epoch."""
        self._order.epoch = number
        batches = list(self._order)
        return (self._make(drawn) for drawn in _ahead(self._draw(keys) for keys in batches))

    def _draw(self, keys: Sequence[tuple[int, int]]) -> _Drawn:
        """Draw this process's share of a batch; a filler where there is none left."""
        own = rank_slice(keys, self._rank, self._size)
        recipes = [draw_recipe(self._items, key) for key in own or keys[:1]]
        arrays = stack(recipes, self._items.pad_spec if self._items.augmentation.crop_px is None else None)
        return _Drawn(arrays, [recipe.cached.id for recipe in recipes] if own else [PADDING_ID])

    def _make(self, drawn: _Drawn) -> Batch:
        given = transfer(drawn.arrays, self._device)
        transform = given["numbers"], given["rows"], given["columns"]
        labels = self._labels.nearest(*transform).int()
        if "is_outside" in given:
            labels = labels.masked_fill(given["is_outside"], OUTSIDE)
        ignore = None if self._ignored is None else self._ignored.nearest(*transform).bool()
        planes, weights = self._encoder.encode(labels, ignore)
        crops = _change_intensity(self._images.mix(*transform), given)
        shown = Shown(crops, given["is_colour"], given["scales"], given["ramps"], given["depths"])
        inputs = prepare(shown, self._items.encoding.inputs)
        if "row_of" in given:
            counts = given["row_counts"][:, :, None] & given["column_counts"][:, None]
            inputs, planes, weights = (_pad(each, given) for each in (inputs, planes, weights[:, None]))
            weights = weights[:, 0] * counts
        return Batch(inputs, planes, weights * 0 if drawn.ids == [PADDING_ID] else weights, drawn.ids)


def _ahead(drawn: Iterable[_Drawn]) -> Iterator[_Drawn]:
    """Draw each batch while the one before is used."""
    source = iter(drawn)
    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, source, None)
        while (current := upcoming.result()) is not None:
            upcoming = thread.submit(next, source, None)
            yield current


def _gather_ignored(items: TrainingSet, device: torch.device) -> Pixels | None:
    if all(cached.ignore is None for cached in items.cached_samples):
        return None
    masks = [
        np.zeros(cached.labels.shape, bool) if cached.ignore is None else cached.ignore
        for cached in items.cached_samples
    ]
    return Pixels([mask.view(np.uint8) for mask in masks], device)


def _change_intensity(crops: Tensor, given: dict[str, Tensor]) -> Tensor:
    if "coloured" in given:
        crops = change_colours(crops, Colours(given["coloured"], given["shifts"], given["orders"], given["is_gray"]))
    if "blurred" in given:
        crops = blur(crops, given["blurred"], given["kernels"], given["shapes"])
    crops = look_up(crops, given["tables"])
    return add_noise(crops, given["noisy"], given["noise"]) if "noisy" in given else crops


def _pad(crops: Tensor, given: dict[str, Tensor]) -> Tensor:
    """Mirror crops up to the batch's size; float32, shape (B, C, H', W')."""
    rows, columns = given["row_of"][:, None, :, None], given["column_of"][:, None, None, :]
    tall = crops.gather(2, rows.expand(-1, crops.shape[1], -1, crops.shape[3]))
    return tall.gather(3, columns.expand(-1, crops.shape[1], tall.shape[2], -1))
