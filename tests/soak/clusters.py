"""Plans on this machine's processes, on a Ray cluster of two nodes and on a SLURM of two nodes: the same bytes.

A worker, its parent, a job or a whole node is killed at some moment; the plan still ends, with the bytes of a plan that
nobody disturbed, and nothing that was done is done again.
"""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path

from kaggle_unet.steps.launch import Launch, describe_launch, read_plan
from kaggle_unet.synthetic.files import write_dsb_zip
from tests.soak.home import CONFIG
from tests.soak.kills import hash_tensors
from tests.soak.row import Plan, Row

PROMISE = "a plan ends with the same bytes whatever is killed, and nothing is done twice"
RESULTS = ("store/**/*.npz", "store/**/folds.csv", "runs/**/*.safetensors", "runs/**/planes/*.npz", "results/*.csv")
SCRIPT = Path(__file__).with_name("slurm.sh")
COMMAND = (sys.executable, "-m", "kaggle_unet", "launch", "plan.yaml")


def write_home(home: Path, n_configs: int) -> None:
    """Write data, a config and a plan of it: two folds, the images in two shards."""
    home.mkdir(parents=True)
    write_dsb_zip(home / "train.zip", seed=1, n=12, shape=(48, 56))
    write_dsb_zip(home / "test.zip", seed=2, n=6, shape=(48, 56), with_masks=False)
    (home / "a.yaml").write_text(CONFIG)
    configs = [
        {"config": "a.yaml", "data": "train.zip", "test": "test.zip", "name": f"c{k}", "set": [f"training.seed={k}"]}
        for k in range(n_configs)
    ]
    plan = {"configs": configs, "verbs": ["make-targets", "train", "submit"], "shards": 2, "retries": 5}
    (home / "plan.yaml").write_text(json.dumps(plan))


def digest(home: Path) -> dict[str, str]:
    """Hash the results of a plan: of a checkpoint its tensors, for it says when it was made."""
    files = sorted({file for pattern in RESULTS for file in home.glob(pattern)})
    return {
        str(file.relative_to(home)): hash_tensors(file)
        if file.suffix == ".safetensors"
        else sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def judge(home: Path, expected: dict[str, str]) -> tuple[str, str]:
    """Compare the results of a plan, and count what was done."""
    launch = Launch(home / "plan.yaml", read_plan(home / "plan.yaml"), home / "launches" / "plan")
    records = [json.loads(path.read_text()) for path in launch.folder.rglob("task.json")]
    if unfinished := [record for record in records if record["state"] != "done"]:
        return "raw", f"not done: {unfinished[0]['reason']}"
    if [sum(attempt["code"] == 0 for attempt in record["attempts"]) for record in records] != [1] * len(records):
        return "wrong", "a task that was done was done again"
    found = digest(home)
    if found != expected:
        return "wrong", f"{[key for key in found | expected if found.get(key) != expected.get(key)][:5]} differ"
    return "done", ""


def environment() -> dict[str, str]:
    """Return the environment of a launch, without what cuts tests off from the network."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}


def run_here(home: Path, interrupt: Callable[[], object] = lambda: None) -> None:
    """Run the plan by processes of this machine; a launch that is killed is called again."""
    while True:
        process = subprocess.Popen([*COMMAND, "--workers", "2"], cwd=home, env=environment(), stderr=subprocess.DEVNULL)
        interrupt()
        if process.wait() >= 0:
            return
        interrupt = lambda: None  # noqa: E731


@contextmanager
def ray_cluster() -> Iterator[str]:
    """Start a Ray of two nodes of one core, and yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    try:
        _ray("start", "--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false")
        start_ray_node(address)
        yield address
    finally:
        _ray("stop", "--force")


def start_ray_node(address: str) -> None:
    """Add a node to a Ray cluster."""
    _ray("start", f"--address={address}", "--num-cpus=1")


def _ray(*words: str) -> None:
    quiet = ("--disable-usage-stats",) if words[0] == "start" else ()
    ray = str(Path(sys.executable).with_name("ray"))
    subprocess.run([ray, *words, *quiet], check=True, capture_output=True, env=environment())


def run_on_ray(address: str, home: Path, interrupt: Callable[[], object] = lambda: None) -> None:
    """Run the plan on a Ray cluster."""
    words = [*COMMAND, "--executor", "ray", "--address", address]
    process = subprocess.Popen(words, cwd=home, env=environment(), stderr=subprocess.DEVNULL)
    interrupt()
    process.wait()


@contextmanager
def slurm_cluster(folder: Path) -> Iterator[Path]:
    """Start a SLURM of two nodes of one core, and yield its folder."""
    subprocess.run(["sh", str(SCRIPT), "start", str(folder)], check=True, capture_output=True)
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    try:
        while "idle" not in subprocess.run(["sinfo", "-h"], capture_output=True, text=True, check=False).stdout:
            time.sleep(0.2)
        yield folder
    finally:
        del os.environ["SLURM_CONF"]
        subprocess.run(["sh", str(SCRIPT), "stop", str(folder)], check=False, capture_output=True)


def run_by_slurm(home: Path, interrupt: Callable[[], object] = lambda: None) -> None:
    """Run the plan by SLURM, and wait until no job is left."""
    subprocess.run([*COMMAND, "--executor", "slurm"], cwd=home, env=environment(), check=True, capture_output=True)
    interrupt()
    while jobs():
        time.sleep(0.5)


def jobs(state: str = "PENDING,RUNNING,COMPLETING,CONFIGURING,SUSPENDED") -> list[str]:
    """List the jobs of these states."""
    words = ["squeue", "-h", "-r", "-t", state, "-o", "%A"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.split()


def rows(plan: Plan) -> Iterator[tuple[str, Callable[[], Row]]]:
    """Yield a row for each executor."""
    for name in () if plan.quick else ("local", "ray", "slurm"):
        yield name, partial(disturb, name, plan)


def disturb(name: str, plan: Plan) -> Row:
    """Run a plan again and again, and kill something each time."""
    row, home = Row("clusters", name, PROMISE), plan.home / "cluster"
    shutil.rmtree(home, ignore_errors=True)
    write_home(home / "expected", 1)
    begin = time.monotonic()
    run_here(home / "expected")
    seconds, expected = time.monotonic() - begin, digest(home / "expected")
    with _started(name, home) as (run, kinds):
        for number in range(plan.tries(full=7, quick=0)):
            rng = random.Random(f"{plan.seed}/{name}/{number}")
            kind, delay = kinds[number % len(kinds)], rng.uniform(0.1, 0.9) * seconds
            write_home(home / "tried", 1)
            said = list[str]()
            run(home / "tried", partial(_after, delay, kind, rng, said))
            outcome, detail = judge(home / "tried", expected)
            row.add(outcome, f"{kind} killed after {delay:.1f} s ({said}): {detail}")
            shutil.rmtree(home / "tried")
    return row


@contextmanager
def _started(name: str, home: Path) -> Iterator[tuple[Callable[..., None], list[str]]]:
    if name == "local":
        yield run_here, ["worker", "parent"]
    elif name == "ray":
        with ray_cluster() as address:
            yield partial(run_on_ray, address), ["worker", "parent", f"node {address}"]
    else:
        with slurm_cluster(home / "slurm") as folder:
            yield run_by_slurm, ["worker", "parent", "job", f"node {folder}"]


def _after(delay: float, kind: str, rng: random.Random, said: list[str]) -> None:
    """Kill something after a while: what is there then, or the first that comes."""
    time.sleep(delay)
    kind, _, where = kind.partition(" ")
    for _ in range(100):
        if kind == "node":
            said.append(_kill_node(where))
            return
        if kind == "job" and (found := jobs("RUNNING")):
            subprocess.run(["scontrol", "requeue", said.append(one := rng.choice(found)) or one], check=False)
            return
        if found := find_processes("launch" if kind == "parent" else "worker"):
            pid, words = rng.choice(found)
            said.append(words)
            os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.1)


def _kill_node(where: str) -> str:
    if Path(where).is_dir():
        subprocess.run(["sh", str(SCRIPT), "node", where], check=False, capture_output=True)
        return "slurmd"
    raylets = [pid for pid, words in _processes() if "raylet/raylet" in words and "--head" not in words]
    os.kill(max(raylets), signal.SIGKILL)  # the one that was started last
    start_ray_node(where)
    return "raylet"


def find_processes(kind: str) -> list[tuple[int, str]]:
    """List the processes that do a task's work, or those that look after one."""
    mine = [(pid, words) for pid, words in _processes() if "-m kaggle_unet " in words or words.startswith("ray::_run")]
    is_launch = [" kaggle_unet launch " in words or words.startswith("ray::") for _, words in mine]
    return [one for one, launches in zip(mine, is_launch, strict=True) if launches == (kind == "launch")]


def _processes() -> Iterator[tuple[int, str]]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield int(path.parent.name), path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue


def is_done(home: Path) -> bool:
    """Return True if every task of a plan is done."""
    launch = Launch(home / "plan.yaml", read_plan(home / "plan.yaml"), home / "launches" / "plan")
    found = describe_launch(launch)
    return bool(found["states"] == {"done": found["tasks"]})
