"""Planes and weights made from the labels of many crops at once, as `Encoding.targets` makes those of one.

All that is asked of an instance (its area, whether a border covers it whole, its deepest pixel) is found for all
instances of all crops together: (crop, id) is one number. Distance weights are not made here.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from kaggle_unet.data.dataset import Encoding
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import BorderSettings, CodecName, SizeWeight

# The table of `kaggle_unet.targets.border`.
_AREAS_PX = (300, 2000)
_RADII_PX = (1, 2, 3)
_LARGE_AREA_PX, _NEAR_LARGE_PX, _ELSEWHERE_PX = 4000, 6, 3
OUTSIDE = -1  # the label of pixels that are no part of a crop smaller than others of its batch
# Beyond any id; exact in float32, as ids are.
_NOBODY = float(1 << 24)


class Encoder:
    """Labels to planes and weights."""

    def __init__(self, encoding: Encoding, highest_id: int) -> None:
        encoding.targets(np.zeros((1, 1), np.int32), None)  # says what is wrong with the settings
        codec = CODECS[encoding.codec.name]
        self._codec, self._border, self._weights = encoding.codec.name, encoding.codec.border, encoding.weights
        self._by_class = [float(encoding.weights.classes.get(name, 1)) for name in codec.classes]
        self._n_ids = max(highest_id, 1) + 1

    def encode(self, labels: Tensor, ignore: Tensor | None) -> tuple[Tensor, Tensor]:
        """Turn labels into planes and weights."""
        instances = _Instances(labels, self._n_ids)
        inside = labels > 0
        border = torch.zeros_like(inside)
        if self._codec != "mask":
            border = keep_one_seed_pixel(instances, mark_border(instances, self._border), self._border)
        planes = _stack(self._codec, inside, border, labels == 0)
        classes = torch.where(border, 1, torch.where(inside, 0, len(self._by_class) - 1))
        weights = torch.tensor(self._by_class, device=labels.device)[classes]
        if self._weights.size is not None:
            weights = weights * _size_weight(instances, self._weights.size)
        weights = weights.clamp(max=self._weights.cap)
        return planes.float(), weights if ignore is None else weights.masked_fill(ignore, 0)


class _Instances:
    """Labels, and the number that each instance of each crop has."""

    def __init__(self, labels: Tensor, n_ids: int) -> None:
        self.labels = labels
        self.numbers = labels.clamp(min=0) + n_ids * torch.arange(len(labels), device=labels.device)[:, None, None]
        self.shape = len(labels), n_ids

    def count(self, pixels: Tensor) -> Tensor:
        """Count some pixels of each; int64, shape (B, n_ids)."""
        counts = torch.zeros(math.prod(self.shape), dtype=torch.int64, device=pixels.device)
        return counts.scatter_add_(0, self.numbers.flatten(), pixels.long().flatten()).view(self.shape)

    def highest(self, values: Tensor) -> Tensor:
        """Find the highest of each one's values, none of which is negative; shape (B, n_ids)."""
        found = torch.zeros(math.prod(self.shape), dtype=values.dtype, device=values.device)
        return found.scatter_reduce_(0, self.numbers.flatten(), values.flatten(), "amax").view(self.shape)

    def spread(self, by_id: Tensor) -> Tensor:
        """Give every pixel its instance's entry; shape (B, H, W)."""
        return by_id.flatten()[self.numbers]


def mark_border(instances: _Instances, settings: BorderSettings) -> Tensor:
    """Mark the border of instances, as `kaggle_unet.targets.border.border` does."""
    if settings.radius_px != "by_size":
        return _mark(instances.labels, settings.radius_px, settings.rule)
    areas = instances.count(instances.labels > 0)
    by_id = torch.tensor(_RADII_PX, device=areas.device)[
        torch.bucketize(areas, torch.tensor(_AREAS_PX, device=areas.device), right=True)
    ]
    by_id[:, 0] = torch.where(areas[:, 1:].amax(1, keepdim=True) > _LARGE_AREA_PX, _NEAR_LARGE_PX, _ELSEWHERE_PX)[:, 0]
    radii = instances.spread(by_id)
    marked = torch.zeros_like(radii, dtype=torch.bool)
    for radius in sorted({*_RADII_PX, _NEAR_LARGE_PX, _ELSEWHERE_PX}):
        marked |= (radii == radius) & _mark(instances.labels, radius, settings.rule)
    return marked


def _mark(labels: Tensor, radius: int, rule: str) -> Tensor:
    """Mark pixels whose window holds two ids; see `kaggle_unet.kernels.border.mark_near`."""
    least = 1 if rule == "contour" else 0
    ids = labels.float()
    counted = labels >= 1 - least  # background is an id for contours only
    high = _widest(ids.masked_fill(~counted, OUTSIDE), radius)
    low = -_widest(-ids.masked_fill(~counted, _NOBODY), radius)
    return (low < high) & (labels >= least)


def _widest(values: Tensor, radius: int) -> Tensor:
    """Find the highest value in each pixel's window, first along columns, then along rows."""
    side = 2 * radius + 1
    columns = max_pool2d(values[:, None], (side, 1), stride=1, padding=(radius, 0))
    return max_pool2d(columns, (1, side), stride=1, padding=(0, radius))[:, 0]


def keep_one_seed_pixel(instances: _Instances, marked: Tensor, settings: BorderSettings) -> Tensor:
    """Free the deepest pixel of every instance that a border covers whole; as `targets.border.keep_one_seed_pixel`.

    Each pixel of such an instance has something else in its window, so none is deeper than the window's diagonal.
    """
    is_lost = instances.spread(instances.count(~marked & (instances.labels > 0)) == 0) & (instances.labels > 0)
    if not is_lost.any():  # once a batch; what follows is a hundred small steps
        return marked
    radius = max(_RADII_PX) if settings.radius_px == "by_size" else settings.radius_px
    depths = _depths(instances.labels, math.isqrt(2 * radius**2))
    n_px = math.prod(marked.shape[1:])
    backwards = torch.arange(n_px - 1, -1, -1, device=marked.device).view(marked.shape[1:])
    ranks = torch.where(is_lost, depths * n_px + backwards, 0)  # of equally deep ones the first
    return marked & ~(is_lost & (ranks == instances.spread(instances.highest(ranks))))


def _depths(labels: Tensor, reach: int) -> Tensor:
    """Square the distance to the nearest other id, up to a reach; int64, shape (B, H, W).

    Down and up its column first, then along the row, as `kaggle_unet.kernels.watershed.find_innermost` does.
    """
    far = 2 * reach + 2  # squared more than anything found
    steps = torch.full_like(labels, far, dtype=torch.int64)
    for step in range(reach, 0, -1):
        for near in (_shifted(labels, step, 1, OUTSIDE), _shifted(labels, -step, 1, OUTSIDE)):
            steps = torch.where((near != labels) & (near != OUTSIDE), step, steps)
    squares = steps * steps
    for step in range(1, reach + 1):
        for sign in (-1, 1):
            near = _shifted(labels, sign * step, 2, OUTSIDE)
            along = _shifted(steps, sign * step, 2, far)
            beyond = torch.where(near == labels, along * along, 0) + step**2
            squares = torch.where(near == OUTSIDE, squares, torch.minimum(squares, beyond))
    return squares


def _shifted(values: Tensor, by: int, axis: int, fill: int) -> Tensor:
    """Show what lies `by` further along an axis."""
    n = values.shape[axis]
    shifted = torch.full_like(values, fill)
    if abs(by) < n:
        shifted.narrow(axis, max(-by, 0), n - abs(by)).copy_(values.narrow(axis, max(by, 0), n - abs(by)))
    return shifted


def _stack(codec: CodecName, inside: Tensor, border: Tensor, background: Tensor) -> Tensor:
    planes = {
        "mask": (inside,),
        "mask_border": (inside, border),
        "interior_border": (inside & ~border, inside & border),
        "interior_border_background": (inside & ~border, inside & border, background),
    }
    return torch.stack(planes[codec], 1)


def _size_weight(instances: _Instances, settings: SizeWeight) -> Tensor:
    assert settings.reference_area_px is not None
    areas = instances.count(instances.labels > 0).clamp(min=1).float()
    weights = (settings.reference_area_px / areas).pow(settings.gamma).clamp(settings.lo, settings.hi)
    weights[:, 0] = 1
    return instances.spread(weights)
