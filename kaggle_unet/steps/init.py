"""`init`: look at a user's images and masks, and write a config for them; `config`: show and describe configs.

The number of steps does not shrink with the data: a few passes over 25 images would be two dozen steps, and a network
learns little in under a thousand. `configs/folder/starter.yaml` is the config written for 25 images of nuclei.
"""

import json
import os
import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel

from kaggle_unet.competitions.competition import CompetitionSettings, FileSource
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import Config, parse_config, plain
from kaggle_unet.errors import ConfigError, DataError
from kaggle_unet.io.archive import open_archive
from kaggle_unet.masks.labels import areas_px, object_diameter_px
from kaggle_unet.store import atomic_write, find_differences
from kaggle_unet.targets.border import border
from kaggle_unet.types import Sample, describe_keys, settings_classes

_IMAGES = ("images", "image", "imgs", "img", "raw", "inputs", "input", "x")
_MOST_SAMPLES = 200  # to look at
_EPOCHS, _BATCH, _CROP_PX = 8, 8, 128  # the starter's: 1,600 steps take 6 to 10 minutes on a core with bfloat16
_FEWEST_STEPS, _MOST_STEPS, _STEPS_PER_IMAGE = 1600, 6400, 64

_TEMPLATE = """\
# {found}
#   kaggle-unet {make_targets}
#   kaggle-unet {train}
competition:
  {competition}
codec:
  name: mask_border  # touching objects are told apart by the border between them
  border: {{rule: touching, radius_px: {radius}}}  # objects are about {diameter:.0f} px across
weights:
  classes: {{border: 6}}  # few pixels are border, and a gap in it merges two objects
folds: {{n: {folds}}}  # one of them is held out to validate on
input:
  {input}
model: {{name: plain_unet, filters: 16, depth: 4, upsampling: transposed2, residual: true, unshuffle: {unshuffle}
loss: {{cross_entropy: 1, dice: 1, dice_over: batch}}
augmentation:
  preset: nuclei  # for microscopes: mirrored, turned, zoomed, brighter, darker, blurred
  crop_px: {crop}  # about {objects:.0f} objects across
  crops_per_epoch: {crops}  # {steps} steps in all, whatever the number of images
  scale: {zoom}  # objects of one image are {ratio:.1f} times as large as those of another
  crop_finds_objects: 0.5
training:
  epochs: {epochs}  # twice as many are often better, where there is time
  batch: {batch}
  optimizer: {{name: adamw, learning_rate: 2e-3, weight_decay: 1e-4}}
  schedule: {{name: cosine, warmup_epochs: 0.5}}
  ema: {{decay: 0.999}}
  clip_norm: 1.0
  validate_every: 2
inference: {{flips: d4, batch: 4}}
decode: {{mask_threshold: 0.5, seed_threshold: 0.5, border_threshold: 0.3, min_seed_px: {seed:.0f}}}
postprocess:
  fill_holes_px: {holes:.0f}  # the median object has {median:.0f} px
  min_area_px: {least:.0f}  # 95 % of the objects have {small:.0f} px or more
"""


def write_config(folder: Path, data: str, overrides: Sequence[str] = (), *, skip_bad: bool = False) -> tuple[Path, str]:
    """Write DIR/config.yaml; return its path, and what was found in the data."""
    path = folder / "config.yaml"
    if path.exists():
        raise ConfigError(f"{path} is there already; edit it, delete it, or give another folder")
    settings, source = find_layout(data, overrides, skip_bad=skip_bad)
    findings = Findings.of(source, skip_bad=skip_bad)
    text = describe_config(path, data, settings, findings)
    parse_config(text, where=str(path))
    atomic_write(path, text)
    return path, findings.text


def find_layout(data: str, overrides: Sequence[str], *, skip_bad: bool) -> tuple[CompetitionSettings, FileSource]:
    """Find the first layout of the data in which every image has a mask and every mask an image."""
    if others := [override for override in overrides if not override.startswith("competition.")]:
        raise ConfigError(f"--set {others[0]}: init takes keys of competition alone; edit the config that it writes")
    given = parse_config("competition: {name: folder}", overrides, where="--set").competition
    if given.masks_are == "classes":
        raise ConfigError("init writes configs for objects; for classes of pixels take configs/classes/quick.yaml")
    faults: list[DataError] = []
    for settings in _layouts(data, given):
        try:
            return settings, get_competition(settings.name).read(data, settings, with_masks=True, skip_bad=skip_bad)
        except DataError as error:
            faults.append(error)
    raise faults[0]


def _layouts(data: str, given: CompetitionSettings) -> Iterator[CompetitionSettings]:
    """Yield the layouts to try, those suggested by the folders' names before DSB2018's."""
    if "images" in given.model_fields_set:
        yield given
        return
    names = {part for name in open_archive(data).names for part in PurePosixPath(name).parts[:-1]}
    folders = {name.lower(): name for name in sorted(names)}  # lower case comes last, and counts
    for images in [*(folders[name] for name in _IMAGES if name in folders), "."]:
        masks = given.masks if given.masks in names else folders.get(given.masks.lower(), given.masks)
        yield given.model_copy(update={"images": images, "masks": masks})
    yield given.model_copy(update={"name": "dsb2018"})


@dataclass(frozen=True)
class Findings:
    """What a config depends on."""

    n_images: int
    kinds: dict[str, int]
    n_channels: set[int]
    short_side_px: float
    areas_px: NDArray[np.int64]
    diameters_px: list[float]  # of the images with enough objects
    touching: float  # fraction of the images in which objects touch
    masks: str  # their kind, and how it was recognised

    @classmethod
    def of(cls, source: FileSource, *, skip_bad: bool) -> "Findings":
        """Measure samples spread over the set."""
        samples, faults = [], []
        for id_ in source.ids[:: -(-len(source.ids) // _MOST_SAMPLES)]:
            try:
                samples.append(_measure(source.load(id_)))
            except DataError as error:
                faults.append(str(error))
        if faults and not (skip_bad and samples):
            raise DataError(
                f"{len(faults)} of {len(source.ids)} samples are faulty; fix them, or pass --skip-bad", faults
            )
        if len(samples) < 2:
            raise DataError(f"{len(samples)} image with masks: expected at least 2, as one is held out; add others")
        kinds, n_channels, sides, areas, touching = zip(*samples, strict=True)
        all_areas = np.concatenate(areas)
        if not len(all_areas):
            raise DataError(f"none of {len(samples)} masks has an object, so there is nothing to learn; look at them")
        diameters = [diameter for some in areas if (diameter := object_diameter_px(some)) is not None]
        return cls(
            n_images=len(source.ids),
            kinds=dict(Counter(kinds).most_common()),
            n_channels=set(n_channels),
            short_side_px=float(np.median(sides)),
            areas_px=all_areas,
            diameters_px=diameters or [float(np.sqrt(4 * np.median(all_areas) / np.pi))],
            touching=float(np.mean(touching)),
            masks="; ".join(f"{issue.kind}, {issue.action}" for issue in source.data_issues if not issue.sample),
        )

    @property
    def diameter_px(self) -> float:
        """Diameter of the object that the median pixel inside objects belongs to; see `object_diameter_px`."""
        return object_diameter_px(self.areas_px) or self.diameters_px[0]

    @property
    def largest_to_smallest(self) -> float:
        """Ratio of the images' object diameters, the largest to the smallest, without extremes."""
        small, large = np.percentile(self.diameters_px, (5, 95))
        return float(large / small)

    @property
    def text(self) -> str:
        """Description of what was found."""
        kinds = ", ".join(f"{kind}: {count}" for kind, count in self.kinds.items())
        least, most = min(self.diameters_px), max(self.diameters_px)
        return (
            f"{self.n_images} images ({kinds}); objects about {self.diameter_px:.0f} px across, {least:.0f} to "
            f"{most:.0f} by image; they touch in {self.touching:.0%} of the images"
        )


def _measure(sample: Sample) -> tuple[str, int, int, NDArray[np.int64], bool]:
    assert sample.labels is not None
    n_channels = sample.image.shape[2] if sample.image.ndim == 3 else 1
    touching = bool(border(sample.labels).any())
    return sample.kind, n_channels, min(sample.labels.shape), areas_px(sample.labels)[1:], touching


def describe_config(path: Path, data: str, settings: CompetitionSettings, found: Findings) -> str:
    """Return the YAML of a config, with a comment for each choice."""
    unshuffle, crop_px, batch = _sizes(found)
    n_steps, ratio = _count_steps(found.n_images), found.largest_to_smallest
    small_px, median_px = np.percentile(found.areas_px, (5, 50))
    unused = ("images", "masks") if settings.name == "dsb2018" else ()
    chosen = {key: value for key, value in plain(settings).items() if value not in (None, []) and key not in unused}
    lines = [f"{key}: {json.dumps(value)}" for key, value in chosen.items()]
    least_px = max(1, min(small_px * 3 // 8, median_px // 10))
    return _TEMPLATE.format(
        found="\n# ".join(textwrap.wrap(f"Written by kaggle-unet init: {found.text}.", 110)),
        make_targets=shlex.join(["make-targets", str(path), "--data", data, "--preview", "8"]),
        train=shlex.join(["train", str(path), "--fold", "0"]),
        competition="\n  ".join([*lines, *([f"# {found.masks}"] if found.masks else ())]),
        radius="by_size" if found.diameter_px >= 8 else 1,
        diameter=found.diameter_px,
        folds=min(5, max(2, found.n_images)),
        input="\n  ".join(_input_lines(found)),
        unshuffle=f"{unshuffle}}}" + ("  # objects are large: at a lower resolution" if unshuffle > 1 else ""),
        crop=crop_px,
        objects=crop_px / found.diameter_px,
        crops=n_steps // _EPOCHS * batch,
        steps=n_steps,
        zoom="[0.7, 1.4]" if ratio < 1.5 else "[0.6, 1.6]" if ratio < 6 else "[0.5, 2.0]",
        ratio=ratio,
        epochs=_EPOCHS,
        batch=batch,
        holes=-(-median_px // 100) * 100,
        median=median_px,
        least=least_px,
        seed=min(4, least_px),
        small=small_px,
    )


def _input_lines(found: Findings) -> list[str]:
    """Choose channels by those of all images, and inversion if bright and dark images are mixed."""
    has_gray = found.n_channels <= {1, 3}
    if found.n_channels == {3}:
        channels = "channels: [red, green, blue]  # all images are RGB"
    elif has_gray:
        channels = "channels: [gray]" + ("  # some images are gray" if 3 in found.n_channels else "")
    else:
        names = ", ".join(f"channel{number}" for number in range(min(found.n_channels)))
        channels = f"channels: [{names}]  # those that all files have; leave out any without the objects"
    invert = len({"gray-dark", "gray-bright", "colour"} & found.kinds.keys()) > 1 and has_gray
    why = "true  # some images have a bright background, some a dark one" if invert else "false"
    return [channels, "normalize: percentile", f"invert_bright: {why}"]


def _sizes(found: Findings) -> tuple[int, int, int]:
    """Choose how far the network reduces images, the crop's side, and a batch with as many pixels as the starter's."""
    unshuffle = 1 if found.diameter_px <= 64 else 2 if found.diameter_px <= 128 else 4
    side_px = min(max(round(5 * found.diameter_px / unshuffle / 32) * 32, 96), 192)  # five objects across
    most_px = -(-int(found.short_side_px) // (16 * unshuffle)) * 16  # beyond its edge, the image is mirrored
    side_px = min(side_px, max(most_px, 32))
    return unshuffle, side_px * unshuffle, min(16, round(_BATCH * (_CROP_PX / side_px) ** 2))


def _count_steps(n_images: int) -> int:
    """Choose the number of steps: never few, and more for more images if there are cores to run them in time."""
    wanted = min(max(_STEPS_PER_IMAGE * n_images, _FEWEST_STEPS), _MOST_STEPS, _FEWEST_STEPS * (os.cpu_count() or 1))
    return wanted // _EPOCHS * _EPOCHS


def list_changes(config: Config) -> dict[str, tuple[Any, Any]]:
    """Return the keys whose value is not the default, with the value and the default."""
    places = CompetitionSettings(name=config.competition.name)
    defaults = plain(Config.model_construct(competition=places, model=type(config.model)()))
    defaults["model"]["name"] = Config.model_fields["model"].default.name
    return {key: (value, default) for key, default, value in find_differences(defaults, plain(config))}


def show_config(config: Config) -> str:
    """Return a resolved config as YAML, with the default beside each value that differs from it."""
    return "\n".join(_show(plain(config), list_changes(config))) + "\n"


def _show(tree: dict[str, Any], changes: dict[str, tuple[Any, Any]], above: tuple[str, ...] = ()) -> Iterator[str]:
    for name, value in tree.items():
        path = (*above, name)
        mark = f"  # default: {to_flow(changes['.'.join(path)][1])}" if ".".join(path) in changes else ""
        shown = f" {to_flow(value)}" if value == {} or not isinstance(value, dict) else ""
        yield f"{'  ' * len(above)}{to_flow(name)}:{shown}{mark}"
        yield from _show(value, changes, path) if isinstance(value, dict) else ()


def to_flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"), sort_keys=False)
    return text.removesuffix("...\n").strip()


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema of configs, with the meaning of every key."""
    schema = Config.model_json_schema()
    kinds: list[type[BaseModel]] = [Config]
    for kind in kinds:  # grows while it is iterated over
        properties = (schema if kind is Config else schema["$defs"][kind.__name__])["properties"]
        for name, text in describe_keys(kind).items():
            properties[name]["description"] = text
        kinds += [inner for field in kind.model_fields.values() for inner in settings_classes(field.annotation)]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
