"""All of stage1_train.zip made into targets, over the time to decode its PNGs alone."""

import shutil
from itertools import count
from multiprocessing import active_children
from time import perf_counter

import pytest

from kaggle_unet.config import load_config
from kaggle_unet.steps.make_targets import make_targets
from tests.bench.cases import real_folder
from tests.bench.decode_only import decode_pngs
from tests.bench.warm import warm

pytestmark = [pytest.mark.bench, pytest.mark.realdata]

# Images and masks of stage1_train.zip.
WORKERS, N_FILES = 2, 29_650


def test_make_targets(benchmark, repository, tmp_path, is_quick):
    folder = real_folder()
    if folder is None or is_quick:
        pytest.skip("left out by --quick" if is_quick else "KAGGLE_UNET_DATA names no folder of real data")
    data, config = str(folder / "dsb2018" / "stage1_train.zip"), load_config(repository / "configs/dsb2018/quick.yaml")
    warm()  # into the cache, from which the processes load
    decode_s, stores = [], (tmp_path / str(number) for number in count())

    def decode():
        _wait_for_processes()
        start = perf_counter()
        assert decode_pngs(config.competition, data, WORKERS) == N_FILES
        decode_s.append(perf_counter() - start)
        _wait_for_processes()
        return (config, data, next(stores)), {"workers": WORKERS}

    report = benchmark.pedantic(make_targets, setup=decode, rounds=2)
    decode()

    shutil.rmtree(tmp_path)
    benchmark.extra_info.update(
        operation="make-targets", decode_s=decode_s, processes=WORKERS, samples=report["samples"]
    )


def _wait_for_processes():
    """Wait until those of the round before are gone."""
    for process in active_children():
        process.join()
