"""``python -m tests.gpu.page [--write]``: docs/gpu.md, made of docs/gpu.json.

`scripts/gpu-check --keep` and `python -m tests.gpu.feed --keep` write both.
"""

import json
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
PAGE, PLACE = DOCS / "gpu.md", DOCS / "gpu.json"
INTRO = """\
# On a GPU

{status}

`scripts/gpu-check` tests and measures the GPU trainer in at most eight minutes. It runs the tests marked `gpu`, which
cover:

- steps in fp32, bf16 and fp16 compared with the CPU's, with clipping, accumulation and moving averages;
- steps that the fp16 scaler skips, which count neither for the average nor for the learning rate;
- `deterministic: true`, run twice and resumed, bit for bit; DDP with one process;
- inputs made on the device compared with the workers' (mean, variance, histogram), planes and weights of every codec;
- predicted planes compared with the CPU's, within 2e-3, with flips and tiles; a batch that fills the memory.

Then it measures `submit` and training (`bench-train`). It prints one JSON document; `--keep` writes it to
`docs/gpu.json`, from which this page is made.

    scripts/gpu-check --data stage1_test.zip --keep    # drawn images without --data
    scripts/gpu-check --device cpu                     # what a CPU can do, small; part of .ci/run

A machine with CUDA and torch, but without a package index, needs the other packages as wheels for its Python:

    python3.12 -m pip download -d wheels '.[test]' 'setuptools>=77'    # elsewhere, in the checkout
    rm wheels/torch-* wheels/nvidia_* wheels/triton-*                  # the machine has its own
    python3.12 -m venv --system-site-packages .venv                    # there, in the checkout
    .venv/bin/pip install --no-index --find-links wheels -e '.[test]'
    PYTHON=.venv/bin/python scripts/gpu-check --keep

With CUDA, worker processes cut, warp and encode crops. Batches come from pinned memory. While a step runs, the next
batch is moved to the device and its inputs are made there, on a separate stream
([decision 0010](decisions/0010-the-device-changes-intensity-workers-the-rest.md)). The target is a real loop at 0.9 of
the bare step with every preset.
"""
NOT_YET = """\
**Not yet run on CUDA.** No GPU was available when this was written. The figures below were measured on a CPU; they only
show that the tests and measurements are ready to run on CUDA."""
BENCH = ("network", "real loop, images/s", "bare step", "real / bare", "bare / plain fp32", "of matmul", "of copy")
RATES = ("1 worker, images/s", "2 workers", "4, extrapolated")
FED = """\
## What CPU cores feed

In a Kaggle kernel, a GPU has two to four CPU cores beside it. The tables show how many crops per second the workers
deliver when inputs are made on the device, on drawn images of {shape} pixels (salt: 101²). Measured with
`python -m tests.gpu.feed --keep` on {date}, commit {commit}, on {machine}.

Other work ran on the same cores (load {load:.0f}). Rates are therefore images per second of a worker's processor time,
multiplied by the number of workers: what otherwise idle cores would deliver. Four workers were not measured; their rate
is extrapolated as twice that of two. The process that drives the GPU also needs part of a core.
"""


def head(*names):
    """Begin a table."""
    return f"| {' | '.join(names)} |\n{'|---' * len(names)}|"


def render(kept):
    """Write the page."""
    parts = [INTRO.format(status=f"Last run on CUDA: {_where(kept['cuda'])}." if "cuda" in kept else NOT_YET)]
    for title, name in (("CUDA", "cuda"), ("a CPU, small", "cpu")):
        if name in kept:
            parts.append(_checked(title, kept[name]))
    return "\n".join([*parts, _fed(kept["feed"])])


def keep(name, found):
    """Keep what was found, and write the page anew."""
    kept = json.loads(PLACE.read_text())
    kept[name] = found
    PLACE.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(render(kept))


def _where(found):
    machine = found["machine"]
    about = ", ".join(f"{name} {machine[name]}" for name in ("python", "torch", "smp", "commit"))
    return f"{machine['date']}, {machine['name']}, {machine['cores']} cores, {about}, {found['seconds']:.0f} s"


def _checked(title, found):
    tests, submit = found["tests"], found["submit"]
    took = submit.get("error") or f"{submit['seconds']:.1f} s, {submit['csv_rows']} rows ({submit['data']})"
    lines = [f"## `scripts/gpu-check` on {title}\n", f"{_where(found)}.\n", head(*BENCH)]
    lines += [_bench(name, row) for name, row in found["bench"].items()]
    lines.append(f"\nTests: {tests.get('error') or str(tests['passed']) + ' passed'}.")
    return "\n".join([*lines, f"`submit` with all eight flips: {took}.\n"])


def _bench(name, row):
    if "error" in row:
        return f"| {name} | {row['error']} |" + " |" * 5
    real, bare = (row["loops"][loop]["images_per_s"] for loop in ("real loop", "bare step"))
    ratios = (row["ratios"][name] for name in ("real loop / bare step", "bare step / plain fp32 loop"))
    shares = (row["ceilings"][side]["share"] for side in ("matrix product", "memory copy"))
    numbers = [f"{real:.1f}", f"{bare:.1f}", *(f"{x:.2f}" for x in ratios), *(f"{x:.1%}" for x in shares)]
    return f"| {name} | {' | '.join(numbers)} |"


def _fed(found):
    lines = [FED.format(**found), head("config", "preset, crop", *RATES)]
    for name, row in found["configs"].items():
        lines.append(f"| `{name}` | {row['preset']}, {row['crop']} | {_rates(row)} |")
    lines += ["\nThe same for each augmentation preset, with crops of 256², `mask_border` and no weights:\n"]
    lines.append(head("preset", "ms a crop", *RATES))
    for name, row in found["presets"].items():
        lines.append(f"| `{name}` | {1000 / row['1 worker']:.1f} | {_rates(row)} |")
    return "\n".join([*lines, ""])


def _rates(row):
    one, two = row["1 worker"], row["2 workers"]
    return f"{one:.0f} | {two:.0f} | {2 * two:.0f}"


if __name__ == "__main__":
    page = render(json.loads(PLACE.read_text()))
    print(page) if "--write" not in sys.argv else PAGE.write_text(page)
