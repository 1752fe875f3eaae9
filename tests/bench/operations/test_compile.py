"""What a user waits for the compiler: once on a machine, and from the cache in every later process."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.bench


def warm_in_a_new_process(repository, cache):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-m", "tests.bench.warm"]
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_compile(benchmark, repository, tmp_path):
    first = warm_in_a_new_process(repository, tmp_path)

    cached = benchmark.pedantic(warm_in_a_new_process, (repository, tmp_path), rounds=3)

    benchmark.extra_info.update(
        operation="compile", first_s=first["seconds"], cached_s=cached["seconds"],
        kernels=first["kernels"], types=first["types"],
    )  # fmt: skip

    assert first["unreached"] == []  # a new kernel wants a call in tests/bench/warm.py
    assert sum(cached["kernels"].values()) == 0
