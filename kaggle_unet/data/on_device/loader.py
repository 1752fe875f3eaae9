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
from kaggle_unet.data.batch import FILLER, Batch, own_share
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
class Place:
    """Where batches are made."""

    on_device: bool
    reason: str

    @property
    def text(self) -> str:
        """A few words for a person."""
        return f"batches made {'on the device' if self.on_device else 'by workers'} ({self.reason})"


def choose_place(items: TrainingSet, wanted: DataOn, device: torch.device) -> Place:
    """Decide where batches are made."""
    if wanted == "workers":
        return Place(on_device=False, reason="training.data_on is workers")
    hindrance = _find_hindrance(items)
    if wanted == "device":
        if hindrance:
            msg = f"training.data_on is device, but {hindrance}; say workers, or auto"
            raise ConfigError(msg)
        return Place(on_device=True, reason="training.data_on is device")
    if device.type != "cuda":
        return Place(on_device=False, reason=f"the device is {device.type}")
    if hindrance:
        return Place(on_device=False, reason=hindrance)
    held, room = _count_bytes(items), _SHARE * torch.cuda.get_device_properties(device).total_memory
    return Place(held <= room, f"{held / 1e9:.2g} GB of samples, room for {room / 1e9:.2g} GB")


def _find_hindrance(items: TrainingSet) -> str:
    """Say what can't be done on a device; nothing if all can."""
    name = items.augmentation.preset
    preset, tones = PRESETS[name], PRESETS[name].tones
    hindrances = {
        f"the preset {name} copies nuclei": preset.p_paste > 0,
        f"the preset {name} bends": preset.p_bend > 0,
        f"the preset {name} looks at neighbourhoods": tones.stretches or max(tones.p_local, tones.p_soften) > 0,
        "weights.distance is made by the CPU": items.encoding.weights.distance is not None,
    }
    return next((what for what, is_so in hindrances.items() if is_so), "")


def _count_bytes(items: TrainingSet) -> int:
    return sum(
        scene.image.nbytes + scene.labels.nbytes + (0 if scene.ignore is None else scene.ignore.nbytes)
        for scene in items.scenes
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
        scenes, highest = items.scenes, max(int(scene.labels.max(initial=0)) for scene in items.scenes)
        for scene in scenes:  # says which sample lacks what the inputs need
            on_cpu.prepare(scene.image[:1, :1], items.encoding.inputs, depth=scene.depth, levels=scene.levels)
        self._encoder = Encoder(items.encoding, highest)
        dtype = np.uint8 if highest < 1 << 8 else np.int16 if highest < 1 << 15 else np.int32
        try:
            self._images = Pixels([scene.image for scene in scenes], device)
            self._labels = Pixels([scene.labels.astype(dtype) for scene in scenes], device)
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
        own = own_share(keys, self._rank, self._size)
        recipes = [draw_recipe(self._items, key) for key in own or keys[:1]]
        arrays = stack(recipes, self._items.sides if self._items.augmentation.crop_px is None else None)
        return _Drawn(arrays, [recipe.scene.id for recipe in recipes] if own else [FILLER])

    def _make(self, drawn: _Drawn) -> Batch:
        given = transfer(drawn.arrays, self._device)
        view = given["numbers"], given["rows"], given["columns"]
        labels = self._labels.nearest(*view).int()
        if "is_outside" in given:
            labels = labels.masked_fill(given["is_outside"], OUTSIDE)
        ignore = None if self._ignored is None else self._ignored.nearest(*view).bool()
        planes, weights = self._encoder.encode(labels, ignore)
        crops = _change_tones(self._images.mix(*view), given)
        shown = Shown(crops, given["is_colour"], given["scales"], given["ramps"], given["depths"])
        inputs = prepare(shown, self._items.encoding.inputs)
        if "row_of" in given:
            counts = given["row_counts"][:, :, None] & given["column_counts"][:, None]
            inputs, planes, weights = (_pad(each, given) for each in (inputs, planes, weights[:, None]))
            weights = weights[:, 0] * counts
        return Batch(inputs, planes, weights * 0 if drawn.ids == [FILLER] else weights, drawn.ids)


def _ahead(drawn: Iterable[_Drawn]) -> Iterator[_Drawn]:
    """Draw each batch while the one before is used."""
    source = iter(drawn)
    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, source, None)
        while (current := upcoming.result()) is not None:
            upcoming = thread.submit(next, source, None)
            yield current


def _gather_ignored(items: TrainingSet, device: torch.device) -> Pixels | None:
    if all(scene.ignore is None for scene in items.scenes):
        return None
    masks = [np.zeros(scene.labels.shape, bool) if scene.ignore is None else scene.ignore for scene in items.scenes]
    return Pixels([mask.view(np.uint8) for mask in masks], device)


def _change_tones(crops: Tensor, given: dict[str, Tensor]) -> Tensor:
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
