"""The device, and what its capabilities suggest: mixed precision, memory layout, workers; seeds and freed memory."""

import ctypes
import os
import sys
from dataclasses import asdict, dataclass
from typing import Any, Literal

import cv2
import torch

from kaggle_unet.errors import ConfigError, refuse_little_memory

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # from malloc.h
_STEP_BYTES = 1 << 26
_VARIABLES = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_")


def keep_freed_memory() -> bool:
    """Make malloc keep freed memory instead of returning it to the system; return False if it is left as it is.

    glibc takes every block above 32 MiB from the system and returns it when it is freed, so that each feature map is
    made of pages that the system has to clear first (decision 0009). glibc's environment variables take precedence.
    """
    is_set = any(name in os.environ for name in _VARIABLES) or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")
    if is_set or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return all(mallopt(name, value) for name, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, _STEP_BYTES)))


def seed_everything(seed: int, *, deterministic: bool = False) -> None:
    """Seed torch, keep freed memory, and choose fast or deterministic operations.

    Nothing uses numpy's global state. OpenCV gets one thread: it works on one crop at a time, and its results do not
    depend on the number of threads.
    """
    torch.manual_seed(seed)
    cv2.setNumThreads(1)
    keep_freed_memory()
    choose_operations(deterministic=deterministic)


def choose_operations(*, deterministic: bool) -> None:
    """Choose fast or deterministic operations; on a CPU all are deterministic.

    cuBLAS reads its variable when it is first used, so call this before any network is moved to a device.
    """
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if torch.are_deterministic_algorithms_enabled() != deterministic:  # the call imports torch's compiler, 2 s
        torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = False


Precision = Literal["32", "bf16", "fp16"]
Device = Literal["cuda", "mps", "cpu"]
AUTOCAST_DTYPES: dict[Precision, torch.dtype | None] = {"32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class DeviceConfig:
    """The device of a run, and its precision and memory layout."""

    device: Device
    precision: Precision
    channels_last: bool
    compiled: bool
    deterministic: bool
    threads: int
    reason: str

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory layout as torch names it."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @property
    def text(self) -> str:
        """A one-line summary for people."""
        traits = [name for name in ("channels_last", "compiled", "deterministic") if getattr(self, name)]
        traits = [self.device, f"precision {self.precision}", *traits, f"{self.threads} threads ({self.reason})"]
        return ", ".join(traits)

    @property
    def record(self) -> dict[str, Any]:
        """Plain values for the run's `run.json`."""
        return asdict(self)


def select_device(
    precision: Precision | Literal["auto"],
    channels_last: bool | Literal["auto"],
    *,
    compiled: bool = False,
    deterministic: bool = False,
) -> DeviceConfig:
    """Select the device, and the precision and memory layout that `auto` means on it.

    bf16 works on any device, but is slow without native support. With it, a step on an AMD EPYC took 0.31 s with
    channels_last and 0.38 s without, and 0.78 s in 32; with AVX512 alone, channels_last made a step 1.2 times as fast.
    """
    refuse_little_memory()  # again: by now torch and its libraries have taken their share
    device: Device = "mps" if torch.backends.mps.is_available() else "cpu"
    if torch.cuda.is_available():
        device = "cuda"
    if precision == "fp16" and device != "cuda":
        msg = f"training.precision fp16 needs a CUDA device, this is {device}; set bf16, which needs no scaling, "
        raise ConfigError(msg + "or auto")
    native = _native_bf16(device)
    if precision == "auto":
        chosen: Precision = "bf16" if native else "32"
        reason = native or f"this {device} does not compute in bf16"
    else:
        chosen, reason = precision, f"training.precision is {precision}"
    has_avx512 = device == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX512"
    gains = device == "cuda" or chosen != "32" or has_avx512
    layout = gains if channels_last == "auto" else channels_last
    return DeviceConfig(device, chosen, layout, compiled, deterministic, torch.get_num_threads(), reason)


def count_workers(wanted: int | Literal["auto"], device: Device) -> int:
    """Return the number of processes that prepare batches."""
    if wanted != "auto":
        return wanted
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if device == "cpu" else min(8, n_cores - 1)


def _native_bf16(device: Device) -> str:
    """Return the feature that lets a device compute in bf16, or an empty string if it has none."""
    if device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        return f"CUDA capability {major}.{minor}" if major >= 8 else ""
    if device == "cpu":
        # These probes have no public name; where torch has dropped them, the precision is 32, which is always right.
        probes = {"AVX512-BF16": "_is_avx512_bf16_supported", "AMX": "_is_amx_tile_supported"}
        found = [name for name, probe in probes.items() if getattr(torch.cpu, probe, lambda: False)()]
        return f"the CPU has {found[0]}" if found else ""
    return ""
