"""From pytest-benchmark's JSON to ours: ratios with their bars, the whole matrix, how time grows."""

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from statistics import median

import numpy as np

OURS = "kaggle-unet"
PACKAGES = (
    "numpy", "numba", "scipy", "scikit-image", "opencv-python-headless", "pandas", "pycocotools", "stardist",
    "cellpose", "connected-components-3d", "edt",
)  # fmt: skip
# What the compiler may take, and make-targets as a multiple of the decoding.
MOST_FIRST_S, MOST_CACHED_S, MOST_MAKE_TARGETS = 10, 1, 1.5


@dataclass(frozen=True)
class Bar:
    """How much faster an operation has to be.

    Attributes
    ----------
    name : str
        Its row's.
    operation : str
        What is measured.
    rivals : tuple of str
        The fastest of these counts.
    at_least : float
        Times.
    cases : tuple of str
        How the names of the cases begin that count; empty for all.
    """

    name: str
    operation: str
    rivals: tuple[str, ...]
    at_least: float
    cases: tuple[str, ...] = ("",)


BARS = (
    Bar("distance-weight-map", "distance-weight-map", ("scipy EDT stack",), 40, ("DSB average",)),
    Bar("touching-border", "touching-border", ("scipy filters", "skimage morphology"), 5, ("256²", "1024²")),
    Bar("rle-encode", "rle-encode", ("numpy, mask by mask",), 20),
    Bar("rle-encode-pycocotools", "rle-encode", ("pycocotools",), 5),
    Bar("csv-decode", "csv-decode", ("pandas + numpy, row by row",), 10),
    Bar("dsb-score", "dsb-score", ("histogram2d kernel",), 20),
    Bar("dsb-score-stardist", "dsb-score", ("stardist",), 5),
    Bar("dsb-score-cellpose", "dsb-score", ("cellpose",), 5),
    Bar("decode", "decode", ("skimage",), 3),
)


def summarise(raw):
    """Turn a run's numbers into results.

    Parameters
    ----------
    raw : dict
        What ``pytest --benchmark-json`` wrote.

    Returns
    -------
    dict
        `ratios`, `make_targets`, `compile`, `exponents`, `measurements`, and where and when they were measured.
    """
    by_operation = {}
    for bench in raw["benchmarks"]:
        if "operation" in bench["extra_info"]:  # a test that failed has not come that far
            by_operation.setdefault(bench["extra_info"]["operation"], []).append(bench)
    extra = {name: by_operation.pop(name, []) for name in ("compile", "make-targets")}
    measurements = [row for benches in by_operation.values() for bench in benches for row in _rows(bench)]
    return {
        "ratios": [row for bar in BARS if (row := _worst(bar, measurements))],
        "make_targets": _make_targets(extra["make-targets"]),
        "compile": _compile(extra["compile"]),
        "exponents": _exponents(measurements),
        "measurements": measurements,
        "machine": describe_machine(raw["machine_info"]),
        "versions": {"python": raw["machine_info"]["python_version"], **_find_versions()},
        "commit": raw["commit_info"]["id"],
        "is_changed": raw["commit_info"]["dirty"],
        "date": raw["datetime"],
    }


def _find_versions():
    """Name the rivals' versions; one that isn't installed didn't run."""
    versions = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def _rows(bench):
    """List a case's contestants, ours first; who did not run has a reason instead of a time."""
    info = dict(bench["extra_info"])
    seconds, absent, agreement = (info.pop(name) for name in ("seconds", "absent", "agreement"))
    peak_bytes, ours_s = info.pop("peak_bytes"), bench["stats"]["median"]
    yield {**info, "contestant": OURS, "seconds": ours_s, "rounds": bench["stats"]["rounds"], "peak_bytes": peak_bytes}
    for name, times in seconds.items():
        row = {**info, "contestant": name, "seconds": median(times), "rounds": len(times)}
        yield {**row, "ratio": median(times) / ours_s, **({"agreement": agreement[name]} if name in agreement else {})}
    yield from ({**info, "contestant": name, "absent": reason} for name, reason in absent.items())


def _worst(bar, measurements):
    """Find the case with the smallest ratio to the fastest of a bar's rivals; None if none was measured."""
    fastest = {}
    for row in measurements:
        counts = row["operation"] == bar.operation and row["contestant"] in bar.rivals and "ratio" in row
        if counts and row["case"].startswith(bar.cases):
            fastest[row["case"]] = min(fastest.get(row["case"], row), row, key=lambda one: one["ratio"])
    if not fastest:
        return None
    worst = min(fastest.values(), key=lambda row: row["ratio"])
    return {
        "operation": bar.name,
        "rival": worst["contestant"],
        "ratio": worst["ratio"],
        "at_least": bar.at_least,
        **{name: worst[name] for name in ("case", "size", "instances")},
        "ours_s": worst["seconds"] / worst["ratio"],
        "rival_s": worst["seconds"],
    }


def _make_targets(benches):
    if not benches:
        return {"absent": "needs KAGGLE_UNET_DATA, and no --quick"}
    ((info, stats),) = ((bench["extra_info"], bench["stats"]) for bench in benches)
    decode_s = median(info["decode_s"])
    return {
        "ratio": stats["median"] / decode_s, "at_most": MOST_MAKE_TARGETS, "seconds": stats["median"],
        "decode_s": decode_s, "processes": info["processes"], "samples": info["samples"],
    }  # fmt: skip


def _compile(benches):
    if not benches:
        return {"absent": "not measured"}
    (info,) = (bench["extra_info"] for bench in benches)
    limits = {"first_at_most_s": MOST_FIRST_S, "cached_at_most_s": MOST_CACHED_S}
    return {**{name: info[name] for name in ("first_s", "cached_s", "kernels")}, **limits}


def _exponents(measurements):
    """Fit time = c · x^exponent, x the pixels at fixed instances or the instances at fixed pixels."""
    series = {}
    for row in measurements:
        if row.get("is_square") and "seconds" in row:
            for against, fixed in (("pixels", "instances"), ("instances", "pixels")):
                key = (row["operation"], row["contestant"], against, fixed, row[fixed])
                series.setdefault(key, {})[row[against]] = row["seconds"]
    return [
        {
            "operation": operation, "contestant": contestant, "against": against, "at": {fixed: value},
            "exponent": float(np.polyfit(np.log(list(points)), np.log(list(points.values())), 1)[0]),
            "points": len(points),
        }
        for (operation, contestant, against, fixed, value), points in series.items()
        if len(points) > 1
    ]  # fmt: skip


def describe_machine(info):
    """Name processor, cores and memory.

    Parameters
    ----------
    info : dict
        pytest-benchmark's `machine_info`.

    Returns
    -------
    dict
        `processor`, `cores`, `memory_gib`, `system`.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": info["cpu"].get("brand_raw", info["processor"]),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": math.ceil(memory),
        "system": f"{info['system']} {info['release']}",
    }
