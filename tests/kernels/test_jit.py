import ast
import gc
import importlib
import pkgutil
from pathlib import Path

import numba
import pytest
from numba.core.event import trigger_event

import kaggle_unet.kernels
from kaggle_unet.kernels._jit import jit

compiles = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="NUMBA_DISABLE_JIT=1: nothing is compiled")


def kernels():
    """List every function that is defined in the folder, as (module, name)."""
    (folder,) = kaggle_unet.kernels.__path__
    for module in pkgutil.iter_modules([folder]):
        tree = ast.parse(Path(folder, f"{module.name}.py").read_text())
        functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        yield from ((module.name, name) for name in functions if module.name != "_jit")


def test_a_kernel_keeps_its_name_and_its_answer():
    @jit
    def double(number: int) -> int:
        return 2 * number

    assert double.__name__ == "double"
    assert double(3) == 6


def test_where_no_cache_can_be_written_a_kernel_is_compiled_without():
    namespace = {}
    exec("def double(number):\n    return 2 * number", namespace)  # belongs to no file, so numba finds no place for it

    assert jit(namespace["double"])(3) == 6


@compiles
@pytest.mark.parametrize(("module", "name"), list(kernels()))
def test_every_kernel_is_cached_and_releases_the_gil(module, name):
    kernel = getattr(importlib.import_module(f"kaggle_unet.kernels.{module}"), name)

    assert isinstance(kernel, numba.core.dispatcher.Dispatcher)  # decorated with @jit
    assert kernel.targetoptions["nogil"]
    assert kernel.stats.cache_path is not None


@pytest.mark.skipif(
    not numba.config.DISABLE_JIT, reason="the second step of scripts/test runs with NUMBA_DISABLE_JIT=1"
)
def test_without_the_compiler_a_kernel_is_the_function_itself():
    def double(number: int) -> int:
        return 2 * number

    assert jit(double) is double


@pytest.mark.parametrize("is_on", [True, False])
def test_the_garbage_collector_pauses_while_anything_compiles(is_on):
    was_on = gc.isenabled()
    try:
        (gc.enable if is_on else gc.disable)()
        with trigger_event("numba:compile"):
            with trigger_event("numba:compile"):
                assert not gc.isenabled()
            assert not gc.isenabled()
        assert gc.isenabled() == is_on
    finally:
        (gc.enable if was_on else gc.disable)()
