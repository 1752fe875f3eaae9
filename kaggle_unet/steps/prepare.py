"""What `make-targets` does with one sample, in whichever process."""

from dataclasses import dataclass

from kaggle_unet.competitions.competition import Source
from kaggle_unet.competitions.registry import get_competition
from kaggle_unet.config import Config
from kaggle_unet.errors import DataError
from kaggle_unet.postprocess.finish import labels_from_planes
from kaggle_unet.steps.facts import Facts, take_facts
from kaggle_unet.store import Store
from kaggle_unet.targets.codecs import CODECS
from kaggle_unet.targets.settings import WeightSettings
from kaggle_unet.targets.weights import weight_map
from kaggle_unet.types import Labels, Planes, Sample, Weights


@dataclass(frozen=True)
class Preparation:
    """Where samples come from, what becomes of them and where they go; picklable."""

    source: Source
    store: Store
    config: Config
    weights: WeightSettings

    @property
    def has_weights(self) -> bool:
        """Whether weights can be made; if not, targets wait for the set's median area and `add_targets`."""
        return self.weights.size is None or self.weights.size.reference_area_px is not None


def prepare_sample(preparation: Preparation, sample_id: str) -> Facts | str:
    """Read, encode, write and score one sample; what the store has already is not done again."""
    store = preparation.store
    if store.has(sample_id):
        try:
            return _score(preparation.config, store.read(sample_id), store.read_targets(sample_id)[0])
        except DataError:  # half a file, left by a power cut
            store.remove(sample_id)
    try:
        sample = preparation.source.load(sample_id)
    except DataError as error:
        return str(error)
    if sample.labels is None:
        return f"sample {sample_id!r} has no masks; training needs them"
    store.write_sample(sample)
    planes = _encode(preparation.config, sample.labels)
    if preparation.has_weights:
        store.write_targets(sample.id, planes, _weigh(preparation, sample, planes))
    return _score(preparation.config, sample, planes)


def add_targets(preparation: Preparation, sample_id: str) -> None:
    """Encode, weigh and write the targets of a sample that the store has."""
    sample = preparation.store.read(sample_id)
    planes = _encode(preparation.config, _labels(sample))
    preparation.store.write_targets(sample_id, planes, _weigh(preparation, sample, planes))


def _encode(config: Config, labels: Labels) -> Planes:
    return CODECS[config.codec.name].encode(labels, config.codec.border)


def _weigh(preparation: Preparation, sample: Sample, planes: Planes) -> Weights:
    codec = CODECS[preparation.config.codec.name]
    classes = codec.classify(planes)
    return weight_map(_labels(sample), classes, codec.classes, preparation.weights, ignore=sample.ignore)


def _score(config: Config, sample: Sample, planes: Planes) -> Facts:
    """Score the targets, decoded, against the labels they were made from: what a perfect network would get."""
    labels = labels_from_planes(CODECS[config.codec.name], planes, config.decode, config.postprocess)
    score = get_competition(config.competition.name).metric(_labels(sample), labels)
    return take_facts(sample, ceiling=score.mean)


def _labels(sample: Sample) -> Labels:
    assert sample.labels is not None
    return sample.labels
