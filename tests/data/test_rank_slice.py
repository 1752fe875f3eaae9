"""The shards that several processes have of every batch."""

import pytest
import torch

from kaggle_unet.data.batch import PadSpec
from kaggle_unet.data.dataset import TrainingSet
from kaggle_unet.data.loading import BatchLoader, rank_slice
from kaggle_unet.data.settings import AugmentationSettings
from kaggle_unet.losses.settings import LossSettings
from kaggle_unet.losses.total import SegmentationLoss
from kaggle_unet.training.distributed import count_samples
from tests.training.tiny import CODEC, ENCODING, draw_sample


@pytest.fixture(scope="module")
def items():
    samples = [draw_sample(f"t{n}", n) for n in range(5)]
    augmentation = AugmentationSettings(preset="nuclei", crop_px=16)
    return TrainingSet(samples, **ENCODING, augmentation=augmentation, pad_spec=PadSpec(), seed=0)


def epochs(items, batch, size, **how):
    return [list(BatchLoader(items, batch=batch, shard=(rank, size), **how).epoch(2)) for rank in range(size)]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_key_is_in_one_shard_and_shards_are_even(n, size):
    shards = [rank_slice(range(n), rank, size) for rank in range(size)]
    assert [key for shard in shards for key in shard] == list(range(n))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_an_item_that_only_keeps_a_process_in_step_counts_nowhere(items):
    (*_, last), _ = epochs(items, 2, 2)  # the fifth item is the second rank's
    assert count_samples(last) == 0
    logits = torch.randn(1, 3, *last.weights.shape[1:], requires_grad=True)
    value, _ = SegmentationLoss(LossSettings(), CODEC.planes, CODEC.activation)(logits, last.planes, last.weights)
    value.backward()
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize(("size", "how"), [(2, {}), (2, {"workers": 1}), (3, {"device": torch.device("cpu")})])
def test_processes_see_what_one_with_the_whole_batch_sees(items, how, size):
    whole = list(BatchLoader(items, batch=4, **how).epoch(2))
    parts = epochs(items, 4, size, **how)
    assert {len(part) for part in parts} == {len(whole)} == {2}
    for batch, *shards in zip(whole, *parts, strict=True):
        assert [id_ for shard in shards for id_ in shard.ids if id_] == batch.ids
        for name in ("inputs", "planes", "weights"):
            found = torch.cat([getattr(shard, name)[: count_samples(shard)] for shard in shards])
            assert torch.equal(found, getattr(batch, name))
