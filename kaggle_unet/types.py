"""Types of arrays and records; H and W are an image's height and width, C and B channels and batch.

A `fold` is a part of the samples; a `run` is the folder of an experiment's trained folds. `logits` are what a network
returns before its activation, a float32 tensor (B, C, H, W).
"""

import ast
import difflib
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from kaggle_unet.errors import ConfigError, shorten_list

if TYPE_CHECKING:
    import pandas

    DataFrame = pandas.DataFrame
else:
    DataFrame = Any  # pandas is slow to import, and most commands do without it

Shape = tuple[int, int]  # (H, W)
Image = NDArray[Any]  # uint8, uint16 or float32, (H, W) if gray, else (H, W, C); three channels are RGB
Labels = NDArray[np.int32]  # (H, W): 0 is background, 1…n are the instances
IGNORED_CLASS = 255  # in labels of classes: a pixel whose class is not known
Mask = NDArray[np.bool_]  # (H, W)
Planes = NDArray[np.float32]  # (C, H, W): targets of 0 and 1, or probabilities, in the codec's order
HalfPlanes = NDArray[np.float16]  # (C, H, W): probabilities, as stored on disk
Weights = NDArray[np.float32]  # (H, W): factors of the cross-entropy; a pixel of weight 0 does not count
Inputs = NDArray[np.float32]  # (C, H, W): what a network is given for one image
Sliced: TypeAlias = Any  # an array read and written box by box, perhaps on disk: `numpy.memmap`, zarr
PixelSize = float | tuple[float, float] | None  # micrometres per pixel, or a pixel's height and width
T = TypeVar("T")
FULL = -1  # the fold that stands for training on all images, with none held out


class Shard(NamedTuple):
    """One of `of` equal shares of the images, `number` counting from 1; commands for all shares may run at once.

    >>> Shard.parse("2/3").take("abcdefg")
    'be'
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``K/N``."""
        words = text.split("/")
        if len(words) != 2 or not all(word.isdecimal() and len(word) < 7 for word in words):
            raise ConfigError(f"--shard {text}: expected K/N, such as 1/4 for the first of four shares")
        shard = cls(*map(int, words))
        if not 1 <= shard.number <= shard.of:
            raise ConfigError(f"--shard {text}: expected a number from 1 to {shard.of} before the slash")
        return shard

    def take(self, items: Sequence[T]) -> Sequence[T]:
        """Return this share of some items."""
        return items[self.number - 1 :: self.of]

    def __str__(self) -> str:
        return f"{self.number}-of-{self.of}"


class Settings(BaseModel):
    """Base of every settings record: frozen, no unknown keys, only finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, strict=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(describe_validation_error(error, type(self))) from None

    # Otherwise, pydantic would also call it for the sections of a config, whose faults would lack their full path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    @classmethod
    def of(cls, values: Self | Mapping[str, Any] | None) -> Self:
        """Return settings, made from a mapping or from nothing if need be; refuse anything else."""
        if isinstance(values, cls):
            return values
        if values is not None and not isinstance(values, Mapping):
            raise ConfigError(f"{cls.__name__}: got {type(values).__name__}; expected settings, or a mapping of them")
        return cls(**(values or {}))


def describe_keys(settings: type[BaseModel]) -> dict[str, str]:
    """Return what a class says about its keys, in strings below them or, if it is public, in its Attributes section."""
    (definition,) = ast.parse(inspect.getsource(settings)).body
    assert isinstance(definition, ast.ClassDef)
    meanings = {
        key.target.id: str(text.value.value)
        for key, text in pairwise(definition.body)
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
    section = (settings.__doc__ or "").partition("Attributes\n    ----------\n")[2]
    for names, text in re.findall(r"^    (\w[\w, ]*) : .*\n((?:        .*\n?|\n(?=        ))*)", section, re.M):
        meanings |= dict.fromkeys(names.split(", "), text)
    return {name: " ".join(text.split()) for name, text in meanings.items() if name in settings.model_fields}


_BRANCH = re.compile(r"constrained-|literal\[|tuple\[")  # what pydantic calls the members of a union


def describe_validation_error(error: ValidationError, model: type[BaseModel], where: str = "") -> str:
    """Describe the faults in values for a model, one per line; an unknown key comes with the nearest known one."""
    unions = [field.annotation for field in model.model_fields.values() if field.discriminator]
    names = [kind.model_fields["name"].default for union in unions for kind in settings_classes(union)]
    where, listed, lines = where or model.__name__, f"{', '.join(names[:-1])} or {''.join(names[-1:])}", []
    for fault in error.errors():
        location = [str(part) for part in fault["loc"] if part not in names and not _BRANCH.match(str(part))]
        path = ".".join(location)
        if fault["type"] == "extra_forbidden":
            kind = next((str(part) for part in fault["loc"] if part in names), "")
            lines.append(f"{path} is not a setting{f' of {kind}' * bool(kind)}; {_nearest(path, kind, model)}")
        elif fault["type"] == "missing":
            lines.append(f"{path} is missing")
        elif fault["type"] == "union_tag_not_found":
            lines.append(f"{path}.name is missing; use {listed}")
        elif fault["type"] == "union_tag_invalid":
            lines.append(f"{path}.name is {fault['ctx']['tag']!r}; use {listed}")
        elif fault["type"] == "value_error":
            lines.append(str(fault["ctx"]["error"]))
        elif not path:
            lines.append(f"expected a mapping with the keys {', '.join(model.model_fields)}")
        else:
            lines.append(f"{path} is {fault['input']!r}: {fault['msg'][0].lower()}{fault['msg'][1:]}")
    return f"{where}: " + f"\n{where}: ".join(shorten_list(list(dict.fromkeys(lines))))


def list_keys(model: type[BaseModel], prefix: str = "") -> dict[str, list[str]]:
    """List the keys of all sections, each with the networks (`model.name`) that it is limited to, if any."""
    keys: dict[str, list[str]] = {}
    for name, entry in model.model_fields.items():
        keys[f"{prefix}{name}"] = []
        kinds = settings_classes(entry.annotation)
        for kind in kinds:
            only = [kind.model_fields["name"].default] if len(kinds) > 1 else []
            for key, inner in list_keys(kind, f"{prefix}{name}.").items():
                keys[key] = keys.get(key, []) + (inner or only)
    return keys


def find_keys(name: str, keys: Mapping[str, Sequence[str]]) -> list[str]:
    """Find the keys that a name may mean: by the last part of a key, by its initials, or else by similarity."""
    ends = {key: key.rpartition(".")[2] for key in keys}
    same = [key for key, end in ends.items() if name in {key, end, "".join(word[0] for word in end.split("_"))}]
    close = [end for end in ends.values() if name.startswith(f"{end}_")]
    close = close or difflib.get_close_matches(name, dict.fromkeys(ends.values()), n=1, cutoff=0.75)
    return same or [key for key, end in ends.items() if end in close]


def suggest(keys: Mapping[str, Sequence[str]], form: str = "{}") -> str:
    """Format the keys that may be meant, each with the networks that it is limited to."""
    return " or ".join(form.format(key) + f" (of {' and '.join(of)})" * bool(of) for key, of in keys.items())


def _nearest(path: str, kind: str, root: type[BaseModel]) -> str:
    """Name the setting that was probably meant, in any section."""
    keys = list_keys(root)
    if path in keys:
        return f"it is one of {' and '.join(keys[path])}, which model.name chooses"
    section, _, name = path.rpartition(".")
    siblings = [key.rpartition(".")[2] for key in keys if key.rpartition(".")[0] == section]
    near = [f"{section}.{sibling}".lstrip(".") for sibling in difflib.get_close_matches(name, siblings, n=1)]
    if found := [key for key in keys if key.endswith(f".{name}")] or near or find_keys(name, keys):
        return f"did you mean {suggest({key: [] if kind in keys[key] else keys[key] for key in found[:3]})}?"
    return f"known here: {', '.join(siblings)}"


def settings_classes(annotation: Any) -> list[type[BaseModel]]:
    """List the settings classes of a type: several for a union, one inside an optional, none for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in settings_classes(part)]


class Result(BaseModel):
    """Base of what verbs return: plain values, printed for people or written as JSON."""

    model_config = ConfigDict(frozen=True)

    def to_json(self) -> dict[str, Any]:
        """Return the values by their JSON keys, leaving out those that do not apply (None)."""
        return {key: value for key, value in self.model_dump(by_alias=True).items() if value is not None}


@dataclass(frozen=True, eq=False)
class Overlap:
    """Areas of the instances in two labels of one image, and of every overlapping pair; background excluded."""

    areas_true_px: NDArray[np.int64]  # (n_true,)
    areas_pred_px: NDArray[np.int64]  # (n_pred,)
    true: NDArray[np.int64]  # (n_pairs,): the pairs that share pixels, as indices into the areas, sorted
    pred: NDArray[np.int64]
    shared_px: NDArray[np.int64]  # (n_pairs,), at least 1

    @property
    def n_true(self) -> int:
        """Number of true instances."""
        return self.areas_true_px.size

    @property
    def n_pred(self) -> int:
        """Number of predicted instances."""
        return self.areas_pred_px.size

    @property
    def union_px(self) -> NDArray[np.int64]:
        """Pixels in either instance of a pair, shape (n_pairs,)."""
        return self.areas_true_px[self.true] + self.areas_pred_px[self.pred] - self.shared_px


@dataclass(frozen=True)
class DataIssue:
    """Something about one sample that a person should know, and what was done about it."""

    sample: str
    kind: str  # the same text for the same issue: "overlapping masks"
    count: int  # pixels, objects or files
    action: str


@dataclass(frozen=True)
class Sample:
    """An image and all that is known about it.

    Attributes
    ----------
    id : str
        The competition's id, or the file's name without its suffix.
    image : uint8, uint16 or float32 array, shape (H, W) or (H, W, C)
        Gray if all channels are equal; three channels are RGB.
    labels : int32 array, shape (H, W), optional
        Instances 1…n, 0 is background; None if no masks are known (test images). With the codec ``"classes"``, every
        pixel's class, 0…K−1, or 255 if it is not known.
    kind : str
        Type of image, for strata and reports: ``"gray-dark"``, ``"gray-bright"``, ``"colour"``, …
    ignore : bool array, shape (H, W), optional
        Pixels that do not count in the loss.
    numbers : mapping of str to float
        Other known numbers, such as ``{"depth": 306.0}``.
    data_issues : tuple of DataIssue
        Issues found while reading, and what was done about them.

    Examples
    --------
    >>> sample = Sample("a1", np.zeros((4, 6), np.uint8))
    >>> sample.id, sample.image.shape, sample.labels
    ('a1', (4, 6), None)
    """

    id: str
    image: Image
    labels: Labels | None = None
    kind: str = ""
    ignore: Mask | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    data_issues: tuple[DataIssue, ...] = ()
