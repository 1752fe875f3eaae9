"""From a config and a store: the network, the loss, what is learnt from and what it is judged by."""

import math
from collections.abc import Sequence
from functools import partial

from torch import nn

from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import Config
from kaggle_unet.data.batch import Sides
from kaggle_unet.data.dataset import Encoding, TrainingSet, ValidationSet
from kaggle_unet.data.inputs import refuse_missing_depths
from kaggle_unet.errors import ConfigError
from kaggle_unet.losses.total import SegmentationLoss
from kaggle_unet.models.create import create_model, input_multiple, output_margin
from kaggle_unet.steps.make_targets import resolved_weights
from kaggle_unet.store import Store
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.training.crew import Crew, spread
from kaggle_unet.training.fold import FoldParts
from kaggle_unet.training.validate import Finish, ValidationResult, validate
from kaggle_unet.types import Sample


def training_set_of(config: Config, store: Store, ids: Sequence[str], added: Sequence[Sample] = ()) -> TrainingSet:
    """Gather what a network learns from."""
    samples = [*_read(config, store, ids), *added]
    if not any(sample.labels is not None and sample.labels.any() for sample in samples):
        msg = f"not one of {len(samples)} training samples has an object, so there is nothing to learn; lower folds.n, "
        msg += "change the folds file, or look for the masks"
        raise ConfigError(msg)
    return TrainingSet(
        samples,
        encoding=Encoding(config.input, config.codec, resolved_weights(config.weights, store)),
        augmentation=config.augmentation,
        sides=_sides(config),
        seed=config.training.seed,
    )


def loss_of(config: Config) -> SegmentationLoss:
    """Make the loss of a config."""
    codec = CODECS[config.codec.name]
    return SegmentationLoss(config.loss, codec.planes, codec.activation)


def gather_parts(
    config: Config,
    store: Store,
    training: Sequence[str],
    validation: Sequence[str],
    crew: Crew,
    added: Sequence[Sample] = (),
) -> FoldParts:
    """Build everything a fold is fitted with."""
    loss = loss_of(config)
    own = spread(validation, crew)
    return FoldParts(
        build_model=partial(build_model, config),
        loss=loss,
        training_set=training_set_of(config, store, training, added),
        validate=_judge(config, store, own, loss) if own else None,
        crew=crew,
    )


def _read(config: Config, store: Store, ids: Sequence[str]) -> list[Sample]:
    samples = [store.read(id_) for id_ in ids]
    where = f"{store.folder}, made of {store.manifest['about'].get('data')}"
    refuse_missing_depths(config.input, ids, {sample.id: sample.numbers for sample in samples}, where)
    return samples


def _judge(config: Config, store: Store, ids: Sequence[str], loss: SegmentationLoss) -> partial[ValidationResult]:
    """Prepare the validation on samples."""
    competition = get_competition(config.competition.name)
    validation_set = ValidationSet(
        _read(config, store, ids),
        store.read_targets,
        inputs=config.input,
        sides=_sides(config),
        batch=config.inference.batch,
    )
    finish = Finish(CODECS[config.codec.name], config.decode, config.postprocess, competition.metric)
    return partial(validate, validation_set=validation_set, loss=loss, finish=finish)


def _sides(config: Config) -> Sides:
    multiple = math.lcm(input_multiple(config.model), config.inference.pad_to_multiple)
    return Sides(multiple, output_margin(config.model))


def build_model(config: Config) -> nn.Module:
    """Make the network of a config."""
    return create_model(
        config.model,
        in_channels=len(config.input.channels),
        out_channels=len(CODECS[config.codec.name].planes),
    )
