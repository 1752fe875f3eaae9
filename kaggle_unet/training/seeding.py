"""One seed for everything that draws from a global state; the rest is passed generators."""

import cv2
import torch


def seed_everything(seed: int, threads: int | None = None) -> None:
    """Seed torch and fix the number of threads.

    Parameters
    ----------
    seed : int
        Of torch, on every device; weights and dropout follow from it.
    threads : int, optional
        Threads of torch; None leaves its own choice.

    Notes
    -----
    numpy's global state is left alone, as nothing here uses it. OpenCV is kept to one thread: it works on one crop at a
    time, and its results do not depend on it.
    """
    torch.manual_seed(seed)
    if threads is not None:
        torch.set_num_threads(threads)
    cv2.setNumThreads(1)
