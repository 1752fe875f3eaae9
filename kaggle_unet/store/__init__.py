"""Arrays, tables and manifests on disk: atomic, hashed, resumable, locked."""

from kaggle_unet.store.atomic import atomic_write, lock, sample_file, sha256, sweep_temporaries
from kaggle_unet.store.manifest import find_differences, hash_plain
from kaggle_unet.store.store import Store, TargetSet

__all__ = [
    "Store", "TargetSet", "atomic_write", "find_differences", "hash_plain", "lock", "sample_file",
    "sha256", "sweep_temporaries",
]  # fmt: skip
