"""Numba's compiler options, in one place.

Compiled code is cached on disk, so that only the first call on a machine waits for the compiler, and runs without the
GIL. With the environment variable ``NUMBA_DISABLE_JIT=1`` every kernel runs as plain Python: slow, but coverage sees
it.

Kernels are given all their memory, so reference counting is turned off, which saves a quarter of the compile time; a
kernel that allocates does not compile. No kernel is called through a pointer, so none needs a wrapper in C. Python's
garbage collector is paused during compilation: scanning the compiler's many small objects would take a tenth of the
time and free nothing.
"""

import gc
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numba
from numba.core.event import Event, Listener, register

P = ParamSpec("P")
R = TypeVar("R")

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, "_nrt": False}


class _PauseCollector(Listener):
    """Keep the garbage collector off while anything compiles; one compilation may start another."""

    def __init__(self) -> None:
        self._n_compiling = 0
        self._was_on = False

    def on_start(self, event: Event) -> None:  # noqa: ARG002  numba's signature
        if self._n_compiling == 0:
            self._was_on = gc.isenabled()
            gc.disable()
        self._n_compiling += 1

    def on_end(self, event: Event) -> None:  # noqa: ARG002
        self._n_compiling -= 1
        if self._n_compiling == 0 and self._was_on:
            gc.enable()


register("numba:compile", _PauseCollector())  # type: ignore[no-untyped-call]  # numba has few types


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a loop over arrays on its first call."""
    try:
        return cast("Callable[P, R]", numba.njit(cache=True, **_OPTIONS)(function))
    except RuntimeError:  # no cache folder is writable: every process compiles for itself
        return cast("Callable[P, R]", numba.njit(**_OPTIONS)(function))
