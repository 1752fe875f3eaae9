"""Arrays, tables and manifests on disk: atomic, hashed, resumable, locked."""

from kaggle_unet.store.atomic import atomic_write, lock, sample_file, sha256
from kaggle_unet.store.manifest import find_differences, hash_plain, read_record, write_record
from kaggle_unet.store.store import Store, TargetSet

__all__ = [
    "Store", "TargetSet", "atomic_write", "find_differences", "hash_plain", "lock", "read_record", "sample_file",
    "sha256", "write_record",
]  # fmt: skip
