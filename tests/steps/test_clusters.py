"""The same plan on processes, Ray and SLURM: the same bytes, also where something is killed."""

import shutil
from functools import partial
from random import Random

import pytest

from tests.soak import clusters

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("cluster")]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The hashes of all results, as processes of this machine make them, undisturbed."""
    home = tmp_path_factory.mktemp("local") / "home"
    clusters.write_home(home, 1)
    clusters.run_here(home)
    assert clusters.judge(home, clusters.digest(home)) == ("done", "")
    return clusters.digest(home)


def run_and_kill(run, home, expected, kill):
    clusters.write_home(home, 1)
    run(home, partial(clusters.disturb_once, home, 4, partial(kill, rng=Random(0)), []))
    assert clusters.judge(home, expected) == ("done", "")


def test_processes_survive_the_death_of_the_launch(expected, tmp_path):
    run_and_kill(clusters.run_here, tmp_path / "home", expected, partial(clusters.kill_one, is_launch=True))


def test_ray_makes_the_same_bytes_and_survives_the_death_of_a_worker(expected, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed (pip install -e '.[ray]')")
    with clusters.ray_cluster() as cluster:
        run_and_kill(cluster.run, tmp_path / "home", expected, clusters.kill_one)


@pytest.mark.skipif(not shutil.which("sbatch"), reason="SLURM is not installed (apt-get install slurm-wlm munge)")
def test_slurm_makes_the_same_bytes_and_survives_the_requeue_of_a_job(expected, tmp_path):
    with clusters.slurm_cluster(tmp_path / "slurm"):
        run_and_kill(clusters.run_by_slurm, tmp_path / "home", expected, clusters.requeue_one)
