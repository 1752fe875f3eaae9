"""Arrays, tables and manifests on disk: atomic, hashed, resumable, locked."""

from kaggle_unet.store.atomic import atomic_write, atomic_writer, lock, sample_file, sha256, sweep_temporaries
from kaggle_unet.store.manifest import find_differences
from kaggle_unet.store.store import Store, TargetSet

__all__ = [
    "Store", "TargetSet", "atomic_write", "atomic_writer", "find_differences", "lock", "sample_file", "sha256",
    "sweep_temporaries",
]  # fmt: skip
