"""A study on a real Ray cluster of two nodes on this machine, one of which is killed."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from equipoise.runs.run import Run
from equipoise.studies.trials import read_outcome, read_progress

pytest.importorskip("ray")
pytestmark = pytest.mark.long

WORDS = ["--set", "resolution=16", "width=4", "log-every=64", "--count", "40", "--quiet"]
MEMORY = 80 * 2**20  # bytes of a node's object store, which nothing here needs


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head without processors, and two nodes with one each."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": MEMORY})
    cluster.two = [cluster.add_node(num_cpus=1, object_store_memory=MEMORY) for _ in range(2)]
    yield cluster
    cluster.shutdown()


def start_study(words: list[str], cluster: Any, folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "equipoise", "study", *words, *WORDS, "--ray", cluster.address, "--out", "s"]
    return subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True)


def test_a_search_runs_on_the_cluster_group_by_group(cluster: Any, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    words = ["--objectives", "gan", "--search", "4", "--of", "lr", "--budget", "1280", "--seeds", "2"]
    study = start_study(words, cluster, tmp_path)
    _, errors = study.communicate(timeout=300)
    assert study.returncode == 0, errors
    # A group that collapses is given up, maybe before its second seed has begun: that one then has an outcome, no run.
    outcomes = [read_outcome(file.with_suffix("")) for file in tmp_path.glob("s/trials/*/digits/seed-?.json")]
    assert len(outcomes) == 8
    assert all(outcome and outcome.state in ("finished", "stopped") for outcome in outcomes)
    rates = {Run.open(file.parent).config.lr for file in tmp_path.glob("s/trials/*/digits/seed-?/config.yaml")}
    assert len(rates) >= 3, "the arm's own, the published, and what Optuna proposed"
    assert "settings" in (tmp_path / "s/report.md").read_text()


def test_trials_of_a_killed_node_go_on_elsewhere_from_their_checkpoints(cluster: Any, tmp_path: Path) -> None:
    study = start_study(["--objectives", "gan", "--budget", "25600", "--seeds", "2"], cluster, tmp_path)
    folders = [tmp_path / f"s/trials/gan/digits/seed-{seed}" for seed in (0, 1)]
    until = time.monotonic() + 120
    while any(read_progress(folder).images < 2560 for folder in folders):
        assert study.poll() is None
        assert time.monotonic() < until
        time.sleep(0.2)
    assert len(list(tmp_path.glob("s/trials/*/*/seed-?/.lock"))) == 2  # one on each node, side by side
    cluster.remove_node(cluster.two[0], allow_graceful=False)
    _, errors = study.communicate(timeout=300)
    assert study.returncode == 0, errors
    outcomes = [read_outcome(folder) for folder in folders]
    assert [outcome and outcome.state for outcome in outcomes] == ["finished", "finished"]
    assert sorted(outcome.cost.attempts for outcome in outcomes if outcome) == [1, 2]
    moved = folders[0 if outcomes[0] and outcomes[0].cost.attempts == 2 else 1]
    (resumed,) = [event for event in Run.open(moved).rows("events.jsonl") if event["kind"] == "resumed"]
    assert resumed["images"] >= 2560
    assert (tmp_path / "s/report.html").exists()


def test_a_signal_is_heeded_on_the_cluster(cluster: Any, tmp_path: Path) -> None:
    """Ray, as it connects, sets a handler of its own for SIGTERM."""
    study = start_study(["--objectives", "gan", "--budget", "256k", "--seeds", "1"], cluster, tmp_path)
    folder, until = tmp_path / "s/trials/gan/digits/seed-0", time.monotonic() + 120
    while read_progress(folder).images < 2560:
        assert study.poll() is None
        assert time.monotonic() < until
        time.sleep(0.2)
    study.send_signal(signal.SIGTERM)
    _, errors = study.communicate(timeout=120)
    assert study.returncode == 143
    assert "stopped with 0 of 1 trials done, nothing is lost: go on with `equipoise study s`" in errors
    assert Run.open(folder).checkpoints()
