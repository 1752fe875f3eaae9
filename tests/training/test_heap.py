"""Memory that is kept: counted in pages that the system has to give anew."""

import os
import platform
import subprocess
import sys

import pytest

COUNT = """
import resource
import statistics
import torch
from kaggle_unet.training.device import keep_freed_memory
print(keep_freed_memory())
def use():
    torch.ones(1 << 24).add(1)  # two blocks of 64 MiB
for _ in range(8):  # until the heap has grown enough
    use()
counts = []
for _ in range(9):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    use()
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(statistics.median(counts))  # now and then the heap is cut up so that a block does not fit
"""


def count(**said):
    """Return whether memory is kept, and how many pages two blocks usually cost that were freed before."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | said
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True, env=environment)
    is_kept, n_pages = done.stdout.split()
    return is_kept == "True", int(n_pages)


@pytest.mark.skipif(not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc", reason="no glibc")
def test_blocks_that_were_freed_cost_no_new_pages_unless_the_user_wants_it_so():
    is_kept, n_pages = count()
    left, n_left = count(MALLOC_MMAP_THRESHOLD_="1000000")
    assert (is_kept, left) == (True, False)
    assert n_pages < n_left / 5
