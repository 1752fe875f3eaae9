"""Decoding while networks predict: the order is kept, nothing is lost, and faults of either side arrive."""

import threading
import time
import weakref

import numpy as np
import pytest

from kaggle_unet.errors import KitError
from kaggle_unet.steps.submit import decode_concurrently
from kaggle_unet.types import Sample
from tests.steps.conftest import call


def samples(n):
    for number in range(n):
        yield Sample(id=f"{number}", image=np.zeros((4, 5), np.uint8)), np.full((1, 4, 5), number, np.float32)


def number_of(planes, image):
    return planes[0].astype(np.int32)


@pytest.mark.parametrize(("most_px", "n_ahead"), [(0, 1), (60, 4), (1 << 24, 9)])
def test_no_more_planes_wait_than_memory_holds_and_the_order_is_kept(most_px, n_ahead):
    predicted, may_decode = [], threading.Event()

    def predict():
        for item in samples(9):
            predicted.append(item[0].id)
            if len(predicted) == n_ahead:  # 20 px each; the decoder has not moved yet
                may_decode.set()
            yield item

    def decode(planes, image):
        assert may_decode.wait(10), "the networks wait for the decoder before they have to"
        return number_of(planes, image)

    results = decode_concurrently(predict(), decode, most_pending_px=most_px)
    first, _ = next(results)
    assert first.id == "0"
    assert len(predicted) >= n_ahead
    assert [(sample.id, int(labels.max())) for sample, labels in results] == [(str(n), n) for n in range(1, 9)]


def test_what_is_decoded_is_given_before_the_networks_end():
    order = []

    def predict():
        for item in samples(4):
            order.append("predicted")
            yield item

    for _ in decode_concurrently(predict(), number_of, most_pending_px=0):
        order.append("decoded")

    assert order == ["predicted", "decoded"] * 4


def test_a_fault_of_either_side_arrives_at_once():
    decoded = []

    def slow(planes, image):
        time.sleep(0.01)
        if planes.max() == 0:
            raise KitError("this one not")
        decoded.append(planes.max())
        return number_of(planes, image)

    with pytest.raises(KitError, match="this one not"):
        list(decode_concurrently(samples(200), slow))
    assert len(decoded) < 100  # what nobody wants any more is not decoded

    def broken():
        yield from samples(2)
        raise KitError("the network fails")

    with pytest.raises(KitError, match="the network fails"):
        list(decode_concurrently(broken(), number_of))


def test_of_an_image_no_more_is_kept_than_its_rows(trained_home, tmp_path, monkeypatch):
    home, seen, most = trained_home("dsb2018"), [], []

    def watch(*words):
        for sample, labels in decode_concurrently(*words, most_pending_px=0):
            seen.append(weakref.ref(labels))
            most.append(sum(one() is not None for one in seen))
            yield sample, labels
            del sample, labels

    monkeypatch.setattr("kaggle_unet.steps.submit.decode_concurrently", watch)
    answer = call("submit", home / "run", "--data", home / "test.zip", "-o", tmp_path / "x.csv")
    assert answer.code == 0, answer.err
    assert len(most) == 4
    assert max(most) <= 2
