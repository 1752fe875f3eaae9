"""Fixtures for all tests."""

import os
import runpy
from pathlib import Path

import pytest
from hypothesis import settings

OFFLINE = Path(__file__).parent / "offline"
runpy.run_path(str(OFFLINE / "sitecustomize.py"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(OFFLINE), os.environ.get("PYTHONPATH")]))

settings.register_profile("local", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=100, deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of pyproject.toml."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the competitions' files; tests that ask for it carry the marker `realdata`."""
    folder = os.environ.get("KAGGLE_UNET_DATA")
    if not folder:
        pytest.fail("set KAGGLE_UNET_DATA to the folder with dsb2018/ and tgs/")
    return Path(folder)
