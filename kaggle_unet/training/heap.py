"""What becomes of memory that a network has used: on Linux the process keeps it."""

import ctypes
import os
import sys
from collections.abc import Mapping

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of malloc.h
_STEP_BYTES = 1 << 26
_VARIABLES = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


def keep_freed_memory() -> bool:
    """Keep memory that is freed for what is allocated next, instead of giving it back to the system at once.

    glibc takes every block above 32 MiB from the system and returns it when it is freed [1]_, so that each map of
    features is made of pages that the system has to clear first, 25 µs for each 4 KiB on the virtual machine of
    ``docs/experiments.md``. There, a forward pass on 2,000 × 2,000 pixels takes 0.93 s a megapixel where memory is
    given back and 0.51 where it is kept; a step of the Keras salt U-Net 2.10 and 1.78 s. The process holds on to the
    most it has needed.
    """
    if not sys.platform.startswith("linux") or _is_said(os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return all(mallopt(name, value) for name, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, _STEP_BYTES)))


def _is_said(environment: Mapping[str, str]) -> bool:
    """Tell whether the user has a word on it."""
    return any(name in environment for name in _VARIABLES) or "glibc.malloc." in environment.get("GLIBC_TUNABLES", "")
