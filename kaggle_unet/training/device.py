"""What becomes of memory that a network has used: on Linux the process keeps it.

One seed for everything that draws from a global state; the rest is passed generators.

What the device decides: precision and memory layout, from its capabilities, never from a stopwatch.
"""

import ctypes
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import torch

from kaggle_unet.errors import ConfigError

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


def seed_everything(seed: int, threads: int | None = None, *, deterministic: bool = False) -> None:
    """Seed torch, fix the number of threads, keep freed memory, and choose between fast and repeatable operations.

    numpy's global state is left alone, as nothing here uses it. OpenCV is kept to one thread: it works on one crop at a
    time, and its results do not depend on it.
    """
    torch.manual_seed(seed)
    if threads is not None:
        torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    keep_freed_memory()
    choose_operations(deterministic=deterministic)


def choose_operations(*, deterministic: bool) -> None:
    """Choose between fast and repeatable operations; on a CPU all are repeatable.

    cuBLAS reads its variable when it is first used, so this comes before any network is moved to a device.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = False


Precision = Literal["32", "bf16", "fp16"]
Device = Literal["cuda", "mps", "cpu"]


@dataclass(frozen=True)
class DeviceConfig:
    """What a run computes on and in."""

    device: Device
    precision: Precision
    channels_last: bool
    reason: str
    threads: int
    compiled: bool = False
    deterministic: bool = False

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        """What `torch.autocast` computes in; None where it is not needed."""
        return {"32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[self.precision]

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout in torch's words."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @property
    def text(self) -> str:
        """One line for a person."""
        traits = {
            "channels_last": self.channels_last,
            "compiled": self.compiled,
            "deterministic": self.deterministic,
        }
        shown = "".join(f", {name}" for name, is_so in traits.items() if is_so)
        return f"{self.device}, precision {self.precision}{shown}, {self.threads} threads ({self.reason})"

    @property
    def record(self) -> dict[str, Any]:
        """Plain values for the run's record."""
        return {
            "device": self.device,
            "precision": self.precision,
            "channels_last": self.channels_last,
            "compiled": self.compiled,
            "deterministic": self.deterministic,
            "threads": self.threads,
            "reason": self.reason,
        }


def select_device(
    precision: Precision | Literal["auto"],
    channels_last: bool | Literal["auto"],
    *,
    compiled: bool = False,
    deterministic: bool = False,
) -> DeviceConfig:
    """Decide what to compute on and in.

    bf16 can be asked for on any device; without native support it is slow, but right. On an AMD EPYC with AVX512-BF16
    and torch 2.15, a step of a U-Net of 16 filters on 16 crops of 128² took 0.31 s of one core's time in bf16 with
    channels_last, 0.38 s without, and 0.78 s in 32. On two cores of an Intel Xeon with AVX512 alone, channels_last made
    a step in 32 1.2 times as fast for that network and 1.27 times for a U-Net on resnet18 at 256².
    """
    device = _pick_device()
    if precision == "fp16" and device != "cuda":
        msg = (
            f"training.precision fp16 needs a CUDA device, this is {device}; say bf16, which needs no scaling, or auto"
        )
        raise ConfigError(msg)
    native = _native_bf16(device)
    if precision == "auto":
        chosen: Precision = "bf16" if native else "32"
        reason = native or f"this {device} does not compute in bf16"
    else:
        chosen, reason = precision, f"training.precision is {precision}"
    gains = device == "cuda" or chosen != "32" or (device == "cpu" and _has_avx512())
    layout = gains if channels_last == "auto" else channels_last
    return DeviceConfig(device, chosen, layout, reason, torch.get_num_threads(), compiled, deterministic)


def count_workers(wanted: int | Literal["auto"], device: Device) -> int:
    """Tell how many processes prepare batches."""
    if wanted != "auto":
        return wanted
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if device == "cpu" else min(8, n_cores - 1)


def _pick_device() -> Device:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _has_avx512() -> bool:
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def _native_bf16(device: Device) -> str:
    """Say by what a device computes in bf16; nothing if it doesn't."""
    if device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        return f"CUDA capability {major}.{minor}" if major >= 8 else ""
    if device == "cpu":
        # Probes without a public name; a torch that has dropped them gives 32, which is always right.
        probes = {"AVX512-BF16": "_is_avx512_bf16_supported", "AMX": "_is_amx_tile_supported"}
        found = [name for name, probe in probes.items() if getattr(torch.cpu, probe, lambda: False)()]
        return f"the CPU has {found[0]}" if found else ""
    return ""
