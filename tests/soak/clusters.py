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
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path

from kaggle_unet.steps.launch import Launch, read_plan
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


def launch_until_it_ends(home: Path, interrupt: Callable[[], object], *words: str) -> None:
    """Call `launch`, and again if it is killed."""
    while True:
        process = subprocess.Popen([*COMMAND, *words], cwd=home, env=environment(), stderr=subprocess.DEVNULL)
        interrupt()
        if process.wait() >= 0:
            return
        interrupt = lambda: None  # noqa: E731


def run_here(home: Path, interrupt: Callable[[], object] = lambda: None) -> None:
    """Run the plan by processes of this machine."""
    launch_until_it_ends(home, interrupt, "--workers", "2")


class RayCluster:
    """A Ray of two nodes of one core; the processes of a node are those of a session."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self.head = _start_ray("--head", f"--port={port}", "--include-dashboard=false")
        self.node = _start_ray(f"--address={self.address}")

    def kill_node(self, _home: Path, **_: object) -> str:
        """Kill the second node with all that runs there, and start another."""
        kill_sessions({self.node})
        self.node = _start_ray(f"--address={self.address}")
        return "node of Ray"

    def run(self, home: Path, interrupt: Callable[[], object] = lambda: None) -> None:
        """Run the plan on the cluster."""
        launch_until_it_ends(home, interrupt, "--executor", "ray", "--address", self.address)


def _start_ray(*words: str) -> int:
    ray = [str(Path(sys.executable).with_name("ray")), "start", "--num-cpus=1", "--disable-usage-stats"]
    process = subprocess.Popen([*ray, *words], env=environment(), stdout=subprocess.DEVNULL, start_new_session=True)
    assert process.wait() == 0, words
    return process.pid


@contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """Start a Ray cluster, and end it."""
    cluster = RayCluster()
    try:
        yield cluster
    finally:
        kill_sessions({cluster.node, cluster.head})


def kill_sessions(sessions: set[int]) -> None:
    """Kill all processes of these sessions."""
    for pid, _, session in _processes():
        if session in sessions:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


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
    """Run the plan by SLURM until no job is left; once more if what looks after a job was killed."""
    while True:
        subprocess.run([*COMMAND, "--executor", "slurm"], cwd=home, env=environment(), check=True, capture_output=True)
        is_again = interrupt()
        while jobs():
            time.sleep(0.5)
        if not is_again:
            return
        interrupt = lambda: None  # noqa: E731


def kill_slurm_node(folder: Path, _home: Path, **_: object) -> str:
    """Kill the second node with all that runs there, and start it again."""
    of_node = {f"SLURM_CONF={folder}/slurm.conf", "SLURMD_NODENAME=n2"}
    kill_sessions({session for pid, _, session in _processes() if of_node <= set(_read(pid, "environ").split("\0"))})
    os.kill(int((folder / "slurmd-n2.pid").read_text()), signal.SIGKILL)
    time.sleep(2)
    subprocess.run(["slurmd", "-N", "n2"], check=True)
    return "node of SLURM"


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
            rng, said = random.Random(f"{plan.seed}/{name}/{number}"), list[str]()
            kind, delay = list(kinds)[number % len(kinds)], rng.uniform(0.1, 0.9) * seconds
            write_home(home / "tried", 1)
            run(home / "tried", partial(disturb_once, home / "tried", delay, partial(kinds[kind], rng=rng), said))
            outcome, detail = judge(home / "tried", expected)
            row.add(outcome if said else "raw", f"{kind} killed after {delay:.1f} s ({said}): {detail}")
            shutil.rmtree(home / "tried")
    return row


@contextmanager
def _started(name: str, home: Path) -> Iterator[tuple[Callable[..., None], dict[str, Callable[..., str]]]]:
    """Yield what runs a plan, and what may be killed."""
    kinds: dict[str, Callable[..., str]] = {"worker": kill_one, "parent": partial(kill_one, is_launch=True)}
    if name == "local":
        yield run_here, kinds
    elif name == "ray":
        with ray_cluster() as cluster:
            yield cluster.run, kinds | {"node": cluster.kill_node}
    else:
        with slurm_cluster(home / "slurm") as folder:
            yield run_by_slurm, kinds | {"job": requeue_one, "node": partial(kill_slurm_node, folder)}


def disturb_once(home: Path, delay: float, kill: Callable[[Path], str], said: list[str]) -> bool:
    """Kill something after a while: what is there then, or the first that comes; True if nobody will restart it."""
    time.sleep(delay)
    end = time.monotonic() + 30
    while not said and time.monotonic() < end:
        if found := kill(home):
            said.append(found)
        time.sleep(0.1)
    return " launch " in "".join(said)


def requeue_one(_home: Path, rng: random.Random) -> str:
    """Requeue a job, as SLURM does with one that it preempts."""
    if not (found := jobs("RUNNING")):
        return ""
    chosen = rng.choice(found)
    subprocess.run(["scontrol", "requeue", chosen], check=False)
    return f"job {chosen}"


def kill_one(home: Path, rng: random.Random, *, is_launch: bool = False) -> str:
    """Kill a process that does a task's work, or one that looks after tasks."""
    found = []
    for pid, words, _ in _processes():
        looks_after = " kaggle_unet launch " in words or words.startswith("ray::_run")
        if looks_after if is_launch else "-m kaggle_unet " in words and not looks_after:
            with suppress(OSError):
                found += [(pid, words)] if Path(f"/proc/{pid}/cwd").readlink() == home else []
    if not found:
        return ""
    pid, words = rng.choice(found)
    os.kill(pid, signal.SIGKILL)
    return words


def _processes() -> list[tuple[int, str, int]]:
    """List all processes: number, words, session."""
    found = []
    for pid in (int(path.name) for path in Path("/proc").glob("[0-9]*")):
        with suppress(ProcessLookupError):
            found.append((pid, _read(pid, "cmdline").replace("\0", " ").strip(), os.getsid(pid)))
    return found


def _read(pid: int, what: str) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/{what}").read_bytes().decode(errors="replace")
    return ""
