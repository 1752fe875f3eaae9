"""The two ways through the package, as docs/architecture.md shows them."""

import os
import subprocess
import sys
from pathlib import Path


def test_the_page_shows_the_functions_that_one_sample_passes():
    done = subprocess.run(
        [sys.executable, "-m", "tests.walk", "--check"],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
