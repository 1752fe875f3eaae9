"""The one place where numba is told how to compile.

Compiled code is cached on disk, so that only the first call on a machine waits for the compiler, and runs without the
GIL. With the environment variable ``NUMBA_DISABLE_JIT=1`` every kernel runs as plain Python: slow, but coverage sees
it.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a loop over arrays on its first call.

    Parameters
    ----------
    function : callable
        Plain Python that numba understands in nopython mode.

    Returns
    -------
    callable
        The same function, compiled; its types as mypy sees them are unchanged.
    """
    try:
        return cast("Callable[P, R]", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # no folder for the cache can be written: every process compiles for itself
        return cast("Callable[P, R]", numba.njit(nogil=True)(function))
