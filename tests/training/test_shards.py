import numpy as np
import pytest
import torch

from kaggle_unet.data.batch import collate
from kaggle_unet.data.loading import BatchLoader
from kaggle_unet.training.distributed import RankShard, count_samples


def shards(training_set, size):
    return [RankShard(training_set, rank, size) for rank in range(size)]


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_every_item_is_in_one_share_and_shares_are_even(training_set, n, size):
    keys = [(1, index % len(training_set)) for index in range(n)]
    shares = [shard.__getitems__(keys) for shard in shards(training_set, size)]
    real = [item for share in shares for item in share if item.id]
    for item, key in zip(real, keys, strict=True):
        np.testing.assert_array_equal(item.inputs, training_set[key].inputs)
    counts = [count_samples(collate(share)) for share in shares]
    assert max(counts) - min(counts) <= 1
    assert all(shares)


def test_what_only_keeps_a_process_busy_counts_nowhere(training_set, loss):
    batch = collate(RankShard(training_set, 0, 2).__getitems__([(1, 0)]))
    assert count_samples(batch) == 0
    logits = torch.randn(1, 3, *batch.weights.shape[1:], requires_grad=True)
    value, _ = loss(logits, batch.planes, batch.weights)
    value.backward()
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_processes_see_what_one_with_the_whole_batch_sees(training_set, workers):
    loaders = [BatchLoader(shard, batch=4, workers=workers) for shard in shards(training_set, 2)]
    whole = list(BatchLoader(training_set, batch=4).epoch(2))
    parts = [list(loader.epoch(2)) for loader in loaders]
    assert len(whole) == len(parts[0]) == len(parts[1]) == 2
    for batch, *shares in zip(whole, *parts, strict=True):
        assert [id_ for share in shares for id_ in share.ids if id_] == batch.ids
        real = torch.cat([share.inputs[: count_samples(share)] for share in shares])
        assert torch.equal(real, batch.inputs)


def test_a_share_has_what_a_training_set_has(training_set):
    shard = RankShard(training_set, 0, 2)
    assert (len(shard), shard.seed, shard.encoding) == (len(training_set), training_set.seed, training_set.encoding)
    np.testing.assert_array_equal(shard[1, 2].inputs, training_set[1, 2].inputs)
