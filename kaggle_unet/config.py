"""Configuration of an experiment: YAML read into frozen settings, checked in full before any work.

Each section is defined in the `settings.py` of its package; every key but `competition` has a default. YAML's silent
surprises are avoided: a duplicate key is an error, `1e-3` is a number, `yes` is a word, and an unknown key is an error
that names the nearest known one.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ValidationError, model_validator

from kaggle_unet.competitions.competition import CompetitionSettings
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.data.settings import AugmentationSettings, FoldSettings, InputSettings
from kaggle_unet.errors import ConfigError, suggest_path
from kaggle_unet.inference.settings import InferenceSettings
from kaggle_unet.losses.settings import LossSettings, check_terms
from kaggle_unet.metrics.pixels import ClassScore, score_classes
from kaggle_unet.metrics.score import ImageScore
from kaggle_unet.models.settings import ModelSettings, PlainUNetSettings
from kaggle_unet.postprocess.decoder import Decoder
from kaggle_unet.postprocess.settings import PostprocessSettings
from kaggle_unet.targets.codecs import get_codec
from kaggle_unet.targets.settings import CodecSettings, DecodeSettings, WeightSettings
from kaggle_unet.training.settings import TrainingSettings
from kaggle_unet.types import Labels, Settings, describe_validation_error

# A subset of `kaggle_unet.data.augment.PRESETS`, repeated here because that module imports albumentations.
UPRIGHT_PRESETS = ("none", "salt", "salt_first_place")


class Config(Settings):
    """An experiment.

    Attributes
    ----------
    competition : CompetitionSettings
        Where images and masks come from; the only section without a default.
    codec, weights, folds, input, model, loss, augmentation, training, inference, decode, postprocess : Settings
        The other sections, each documented in its class.

    Examples
    --------
    >>> import kaggle_unet as ku
    >>> config = ku.Config(competition={"name": "dsb2018"}, training={"epochs": 5})
    >>> config.training.epochs, config.codec.name
    (5, 'interior_border_background')
    """

    competition: CompetitionSettings
    codec: CodecSettings = CodecSettings()
    weights: WeightSettings = WeightSettings()
    folds: FoldSettings = FoldSettings()
    input: InputSettings = InputSettings()
    model: ModelSettings = PlainUNetSettings()
    loss: LossSettings = LossSettings()
    augmentation: AugmentationSettings = AugmentationSettings()
    training: TrainingSettings = TrainingSettings()
    inference: InferenceSettings = InferenceSettings()
    decode: DecodeSettings = DecodeSettings()
    postprocess: PostprocessSettings = PostprocessSettings()

    @property
    def decoder(self) -> Decoder:
        """The decoder that the sections `codec`, `decode` and `postprocess` describe."""
        return Decoder(get_codec(self.codec), self.decode, self.postprocess)

    @property
    def metric(self) -> Callable[[Labels, Labels], ImageScore | ClassScore]:
        """The score of an image: the competition's or, for classes, the mean IoU."""
        if self.codec.classes:
            return partial(score_classes, names=self.codec.classes)
        return get_competition(self.competition.name).metric

    @model_validator(mode="after")
    def _classes_are_named(self) -> Self:
        is_semantic, table = self.codec.name == "classes", self.competition.classes
        if not is_semantic and (self.codec.classes or table):
            msg = f"competition.classes and codec.classes belong to the codec classes, not to {self.codec.name}"
            raise ValueError(msg)
        if is_semantic:
            try:
                get_codec(self.codec)
            except ConfigError as error:
                raise ValueError(f"{error}: name them in competition.classes, each with its number or colour") from None
            self._refuse_instances()
        if table and len(set(table.values())) < len(table):
            raise ValueError("competition.classes gives two classes the same number or colour; give each its own")
        if table and tuple(table) != self.codec.classes:
            msg = f"competition.classes names {', '.join(table)}; codec.classes must be the same, or be left out"
            raise ValueError(msg)
        return self

    def _refuse_instances(self) -> None:
        """Refuse settings that are made for instances if labels are classes of pixels."""
        name, kind = self.competition.name, self.competition.masks_are
        for key, is_set in (
            (f"competition.name {name}", name != "folder"),
            (f"competition.masks_are {kind}", kind not in {None, "classes"}),
            ("weights.distance", self.weights.distance is not None),
            ("weights.size", self.weights.size is not None),
            ("augmentation.preset first_place (it copies nuclei)", self.augmentation.preset == "first_place"),
            ("inference.object_px", self.inference.object_px is not None),
            ("decode", self.decode != DecodeSettings()),
            ("postprocess", self.postprocess != PostprocessSettings()),
        ):
            if is_set:
                raise ValueError(f"{key} is for instances; the codec classes has none: leave it out")

    @model_validator(mode="after")
    def _weights_and_loss_fit(self) -> Self:
        codec = get_codec(self.codec)
        if unknown := sorted(set(self.weights.classes) - set(codec.classes)):
            msg = f"weights.classes names {', '.join(unknown)}; the codec's classes are {', '.join(codec.classes)}"
            raise ValueError(msg)
        if not any(self.weights.classes.get(name, 1) for name in codec.classes) and self.weights.distance is None:
            raise ValueError(f"weights.classes is 0 for all of {', '.join(codec.classes)}; give one a weight above 0")
        try:
            check_terms(self.loss, codec.planes, codec.activation)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        for term, key in (("empty", "empty_head"), ("deep_supervision", "deep_supervision")):
            has_head, weight = bool(getattr(self.model, key, None)), getattr(self.loss, term)
            if weight and not has_head:
                msg = f"loss.{term} is {weight:g}, but the network has no such head; set model.{key} (plain_unet and "
                raise ValueError(msg + f"smp have it), or loss.{term} to 0")
            if has_head and not weight:
                msg = f"model.{key} is set, but loss.{term} is 0, so it would never be trained; set "
                raise ValueError(msg + f"loss.{term} above 0, or leave model.{key} out")
        return self

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        is_tgs = self.competition.name == "tgs"
        if is_tgs and not self.decode.single_object:
            msg = "decode.single_object must be true for tgs: a tile's salt is one object, whatever its components"
            raise ValueError(msg)
        if is_tgs and self.inference.flips == "d4":
            msg = "inference.flips must be horizontal or none for tgs: seismic tiles have a fixed orientation"
            raise ValueError(msg)
        if is_tgs and self.augmentation.preset not in UPRIGHT_PRESETS:
            msg = f"augmentation.preset {self.augmentation.preset} rotates images, but seismic tiles have a fixed "
            raise ValueError(msg + f"orientation: for tgs use {', '.join(UPRIGHT_PRESETS)}")
        if self.decode.single_object and self.codec.name != "mask":
            msg = f"decode.single_object requires the codec mask, not {self.codec.name}: a single object has no borders"
            raise ValueError(msg)
        if self.decode.expected_iou and not self.decode.single_object:
            raise ValueError("decode.expected_iou decides on whole images: it requires decode.single_object")
        if self.decode.single_object and self.inference.object_px is not None:
            msg = f"inference.object_px is {self.inference.object_px:g}, but the size of a single object says nothing "
            raise ValueError(f"{msg}about the scale; leave it out")
        return self

    @model_validator(mode="after")
    def _augmentation_fits(self) -> Self:
        augmentation = self.augmentation
        if augmentation.scale[0] > augmentation.scale[1]:
            raise ValueError(f"augmentation.scale is (low, high), not {augmentation.scale}")
        if augmentation.crop_finds_objects and augmentation.crop_px is None:
            msg = f"augmentation.crop_finds_objects is {augmentation.crop_finds_objects:g}, but images are used whole; "
            raise ValueError(msg + "set augmentation.crop_px, or augmentation.crop_finds_objects to 0")
        return self

    @model_validator(mode="after")
    def _model_fits(self) -> Self:
        model, inference = self.model, self.inference
        if isinstance(model, PlainUNetSettings) and model.padding == "valid":
            if self.augmentation.crop_px is None and self.competition.name != "tgs":
                msg = "model.padding valid needs augmentation.crop_px: images of differing sizes can't share a batch"
                raise ValueError(msg)
            for key, is_set in (("scales", inference.scales != (1.0,)), ("object_px", inference.object_px is not None)):
                if is_set:
                    msg = f"inference.{key} is {getattr(inference, key)}, but a network without padding takes images "
                    raise ValueError(f"{msg}only as they are; leave it out, or set model.padding to same")
        head, codec = getattr(model, "empty_head", None), get_codec(self.codec)
        if head and head.gate_above is not None and codec.activation == "softmax":
            msg = f"model.empty_head.gate_above is {head.gate_above:g}, but the planes of {codec.name} are a softmax, "
            msg += "which sums to 1 and can't be cleared; leave gate_above out, or take a sigmoid codec"
            raise ValueError(msg)
        return self


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read an experiment's config.

    Parameters
    ----------
    path : str or Path
        A YAML file.
    overrides : sequence of str
        `key.key=value` each, the value in YAML; later ones win.

    Returns
    -------
    config : Config
        Checked in full.

    Raises
    ------
    ConfigError
        If the file can't be read, or anything in it or in `overrides` is unknown, given twice, or impossible.

    Examples
    --------
    >>> import tempfile
    >>> import kaggle_unet as ku
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(f"{folder}/mine.yaml").write_text("competition: {name: folder}")
    ...     config = ku.load_config(f"{folder}/mine.yaml", ["training.epochs=5"])
    >>> config.competition.name, config.training.epochs
    ('folder', 5)
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"config {path}: {error}; give the path of a YAML file, such as those in configs/"
        if isinstance(error, FileNotFoundError):
            there = [*Path(path).parent.glob("*.y*ml"), *Path("configs").rglob("*.yaml")]
            msg = f"config {path}: there is no such file{suggest_path(path, there)}"
        if Path(path).is_dir():
            msg = f"config {path} is a folder; give the YAML file of an experiment; a run goes on with "
            msg += f"kaggle-unet train CONFIG --resume --run {path}"
        raise ConfigError(msg) from error
    return parse_config(text, overrides, where=str(path))


def parse_config(text: str, overrides: Sequence[str] = (), *, where: str = "config") -> Config:
    r"""Parse an experiment from YAML text, called `where` in error messages; see `load_config`.

    >>> parse_config("competition: {name: dsb2018}\ntraining: {epoch: 3}")
    Traceback (most recent call last):
        ...
    kaggle_unet.errors.ConfigError: config: training.epoch is not a setting; did you mean training.epochs?
    """
    tree = parse_yaml(text, where)
    if not isinstance(tree, dict):
        raise ConfigError(f"{where}: a config must be a mapping of sections, not a {type(tree).__name__}")
    for override in overrides:
        _set(tree, override)
    return validate_config(tree, where=where)


def validate_config(tree: Mapping[str, Any], *, where: str = "config") -> Config:
    """Check a config that was read as plain values; class names default to those in `competition.classes`."""
    codec, competition = (tree[name] if isinstance(tree.get(name), dict) else {} for name in ("codec", "competition"))
    if codec.get("name") == "classes":
        table = competition.get("classes")
        classes = codec.get("classes") or (list(table) if isinstance(table, dict) else None)
        kind = competition.get("masks_are") or "classes"
        tree = {**tree, "codec": {**codec, "classes": classes}, "competition": {**competition, "masks_are": kind}}
    try:
        return Config.model_validate_json(json.dumps(tree), strict=True)
    except ValidationError as error:
        raise ConfigError(describe_validation_error(error, Config, where)) from None
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}; a config may contain only text, numbers, lists and mappings") from error


def plain(settings: BaseModel, *sections: str) -> dict[str, Any]:
    """Turn settings, or some of their sections, into plain values that JSON and YAML can hold."""
    tree = settings.model_dump(mode="json")
    return {name: tree[name] for name in sections or tree}


def without_weights(config: Config) -> Config:
    """Drop the weights of an ensemble, to use one of its checkpoints alone or to weight them anew."""
    return config.model_copy(update={"inference": config.inference.model_copy(update={"weights": None})})


def to_yaml(config: Config) -> str:
    """Return a resolved config as YAML."""
    return yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """YAML without its surprises; see the module's docstring."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse aliases: nine of them, nested, can stand for a billion values."""
        if self.check_event(yaml.AliasEvent):
            event: yaml.AliasEvent = self.get_event()  # type: ignore[no-untyped-call]
            assert event.start_mark is not None
            raise ConfigError(f"*{event.anchor} is an alias (line {event.start_mark.line + 1}); write its value out")
        return super().compose_node(parent, index)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str):
            raise ConfigError(f"key {key!r} is not text (line {key_node.start_mark.line + 1})")
        if key in seen:
            raise ConfigError(f"key {key!r} is given twice (line {key_node.start_mark.line + 1})")
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)
# YAML 1.1 reads on, off, yes and no as booleans and 1e-3 as text; people mean the opposite.
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in pairs if tag not in {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:float"}
    ]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|false|False)$"), list("tTfF"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?$|^[-+]?\.(?:inf|Inf)$|^\.(?:nan|NaN)$"),
    list("-+0123456789."),
)


def parse_yaml(text: str, where: str) -> Any:
    """Parse YAML of plain values, refusing aliases and duplicate keys."""
    try:
        return yaml.load(text, Loader=_Loader)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}; fix it") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())[:300]}") from error


def _set(tree: dict[str, Any], override: str) -> None:
    path, equals, value = override.partition("=")
    if not equals or not all(path.split(".")):
        raise ConfigError(f"--set {override}: expected key.key=value, such as training.epochs=5")
    *parents, last = path.split(".")
    section: Any = tree
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise ConfigError(f"--set {override}: {parent} is a value, not a section")
    section[last] = parse_yaml(value, f"--set {override}")
