"""Decoding beside prediction: the order is kept, nothing is lost, and faults of either side arrive."""

import threading

import numpy as np
import pytest

from kaggle_unet.errors import KitError
from kaggle_unet.steps import submit
from kaggle_unet.types import Sample


def samples(n):
    for number in range(n):
        yield Sample(id=f"{number}", image=np.zeros((4, 5), np.uint8)), np.full((1, 4, 5), number, np.float32)


@pytest.mark.parametrize("most_px", [0, 60, 1 << 24])
def test_labels_come_in_the_order_of_the_images_however_long_each_takes(monkeypatch, most_px):
    monkeypatch.setattr(submit, "_MOST_PENDING_PX", most_px)
    waits = threading.Event()

    def decode(planes):
        if planes.max() == 0:
            waits.wait(0.05)  # the first is slow
        return planes[0].astype(np.int32)

    found = [(sample.id, int(labels.max())) for sample, labels in submit._decode_beside(samples(9), decode)]

    assert found == [(str(number), number) for number in range(9)]


def test_decoding_runs_in_another_thread_and_waits_for_no_later_image():
    threads, order = set(), []

    def predicted():
        for item in samples(40):
            order.append("predicted")
            yield item

    def decode(planes):
        threads.add(threading.get_ident())
        return planes[0].astype(np.int32)

    for _ in submit._decode_beside(predicted(), decode):
        order.append("decoded")

    assert threading.get_ident() not in threads
    assert len(threads) == 1
    assert order.count("predicted") == order.count("decoded") == 40


def test_faults_of_the_decoder_and_of_the_networks_arrive():
    def decode(planes):
        if planes.max() == 3:
            raise KitError("this one not")
        return planes[0].astype(np.int32)

    with pytest.raises(KitError, match="this one not"):
        list(submit._decode_beside(samples(9), decode))

    def broken():
        yield from samples(2)
        raise KitError("the network fails")

    with pytest.raises(KitError, match="the network fails"):
        list(submit._decode_beside(broken(), lambda planes: planes[0].astype(np.int32)))
