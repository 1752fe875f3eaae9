"""One seed for everything that draws from a global state; the rest is passed generators."""

import os

import cv2
import torch

from kaggle_unet.training.heap import keep_freed_memory


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
