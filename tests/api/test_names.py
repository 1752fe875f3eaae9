"""The public API: its names, when they are imported, and that each is described."""

import ast
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import kaggle_unet as ku
from tests.api.page import GROUPS, PAGE, write

FUNCTIONS = [name for name in ku.__all__ if inspect.isfunction(getattr(ku, name))]
THINGS = [name for name in ku.__all__ if name != "__version__"]


def test_all_lists_exactly_what_is_public():
    with pytest.raises(AttributeError, match="has no attribute 'segment_all'"):
        ku.segment_all  # noqa: B018
    public = {name for name in dir(ku) if not name.startswith("_")}
    assert public == {name for name in ku.__all__ if not name.startswith("_")}
    assert list(ku.__all__) == sorted(ku.__all__)
    assert 30 <= len(ku.__all__) <= 50


def test_type_checkers_see_the_same_names_as_python():
    (block,) = [node for node in ast.parse(inspect.getsource(ku)).body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert set(seen) == set(THINGS)
    for name, module in seen.items():
        expected = importlib.import_module(f"{module}.{name}") if name == "rle" else None
        assert getattr(ku, name) is (expected or getattr(importlib.import_module(module), name))


def test_importing_the_package_loads_no_library():
    code = "import kaggle_unet, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"torch", "numba", "pandas", "cv2", "numpy", "scipy", "pydantic", "matplotlib", "yaml"}


def test_the_command_line_loads_what_a_verb_needs_only_when_it_is_called():
    code = "import kaggle_unet.cli.app, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert not loaded & {"torch", "numba", "pandas", "cv2", "scipy", "matplotlib", "filelock"}
    assert not loaded & {"kaggle_unet.store", "kaggle_unet.io.archive", "kaggle_unet.steps.score"}


@pytest.mark.parametrize("name", THINGS)
def test_every_name_is_described_and_shown_in_a_doctest(name):
    thing = getattr(ku, name)
    text = "".join(inspect.getdoc(part) or "" for part in [thing, *_functions_of(thing)])
    assert ">>> " in text
    assert "+SKIP" not in text


def _functions_of(thing: Any) -> list[Any]:
    return (
        [member for member in vars(thing).values() if inspect.isfunction(member)]
        if isinstance(thing, ModuleType)
        else []
    )


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_documented_in_full(name):
    function = getattr(ku, name)
    doc, signature = inspect.getdoc(function) or "", inspect.signature(function)
    assert not signature.parameters or "Parameters\n----" in doc
    assert signature.return_annotation in (None, "None") or "Returns\n----" in doc
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in signature.parameters.values())


def test_the_page_of_the_docs_is_not_stale():
    assert set(" ".join(GROUPS.values()).split()) == set(THINGS)
    assert PAGE.read_text(encoding="utf-8") == write(), "run scripts/api"


def test_types_are_shipped():
    assert Path(ku.__file__).with_name("py.typed").exists()
