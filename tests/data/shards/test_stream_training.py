"""Whole runs on shards: they resume at the same image, outlive a server, and are scored by images they never saw."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import torch

import equipoise
from equipoise import Run, TrainConfig, UsageError
from equipoise.config.datasets import open_dataset
from equipoise.config.train_config import write_yaml
from equipoise.data import pack
from equipoise.data.shards import open_stream
from equipoise.objectives import MAGAN
from equipoise.runs.checkpoint import load
from equipoise.training.batch import make_batch
from equipoise.training.distributed import Distributed
from shard_tools import QUICK, Server, numbers, serving, shards

pytestmark = pytest.mark.usefixtures("no_report")

COUNTS = [30, 26, 40, 24]


@pytest.fixture
def config(tmp_path: Path, small: TrainConfig) -> TrainConfig:
    """A run of more than one epoch of local shards."""
    return small.with_changes(data=shards(tmp_path / "shards", COUNTS), images=160, held_out=0.1, checkpoint_every=64)


@pytest.fixture
def server(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve the same shards to those who wait briefly."""
    monkeypatch.setattr("equipoise.data.shards.stream.RetryPolicy", lambda: QUICK)
    with serving(Path(config.data).parent) as told:
        yield told


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load(run.checkpoints()[-1])[0]


def assert_same(one: Run, other: Run) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    assert all(tensor.equal(theirs[name]) for name, tensor in ours.items())


def test_classes_of_shards_are_said_to_be_unknown_and_are_there_once_packed(
    config: TrainConfig, tmp_path: Path
) -> None:
    told = config.with_changes(tasks={"classify_d": 1.0})
    with pytest.raises(UsageError, match="how many classes there are shows only once all are read.*data pack --out"):
        equipoise.train(told, tmp_path / "run", quiet=True)
    pack(config.data, config.resolution, tmp_path / "packed.npz")
    packed = told.with_changes(data=str(tmp_path / "packed.npz"), images=32)
    assert equipoise.train(packed, tmp_path / "run", quiet=True).path.is_dir()


def test_a_run_outlives_its_server(
    config: TrainConfig, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run over HTTP breaks, resumes, and equals one of local shards that never stopped."""
    monkeypatch.setitem(open_stream.__kwdefaults__, "block", 16)
    whole = equipoise.train(config, tmp_path / "whole", quiet=True)
    config = config.with_changes(data=f"{server.url}/s-{{000..003}}.tar", checkpoint_every=32)

    def gone(handler: BaseHTTPRequestHandler, number: int) -> bool:
        handler.close_connection = True
        return (tmp_path / "run" / "checkpoints" / f"{32:012}.safetensors").exists()

    server.misbehave = gone
    with pytest.raises(UsageError, match=r"s-00\d\.tar cannot be reached .*tried 4 times.* `equipoise resume .*run`"):
        equipoise.train(config, tmp_path / "run", quiet=True)
    run = Run.open(tmp_path / "run")
    reached = int(run.checkpoints()[-1].stem)
    assert 32 <= reached < 160
    event = json.loads((run.path / "events.jsonl").read_text().splitlines()[-1])
    assert (event["images"], event["level"], event["kind"]) == (reached, "error", "data")

    server.misbehave = lambda handler, number: False
    assert_same(equipoise.resume(run.path, quiet=True), whole)


def test_a_server_that_is_not_there_costs_nothing_but_a_sentence(
    config: TrainConfig, server: Server, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=r"s-000\.tar cannot be reached or read \(Connection refused\)"):
        equipoise.train(config.with_changes(data="http://127.0.0.1:9/s-000.tar"), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_processes_share_every_batch(config: TrainConfig) -> None:
    """Together two processes see each image of an epoch of training once."""
    kept = sorted(numbers(open_dataset(config.with_changes(resolution=4)).split("train").pixels))
    config, seen = config.with_changes(resolution=4, batch=2), []
    for rank in range(2):
        feed = open_dataset(config).feed
        for position in range(0, len(kept) - 20, 2):  # the shares are not of one length
            given = make_batch(config, feed, position, Distributed(rank, 2), torch.device("cpu"))
            seen += numbers(((given.real + 1) * 127.5).round())
        feed.close()
    assert len(seen) == len(set(seen)) > 80
    assert set(seen) <= set(kept)


def test_when_one_process_cannot_read_both_leave(config: TrainConfig, tmp_path: Path) -> None:
    """The first process makes ready at the cut shard, and the other waits for it."""
    path = tmp_path / "shards" / "s-002.tar"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UsageError, match=r"s-002\.tar is cut off"):
        equipoise.train(config.with_changes(devices=2), tmp_path / "run", quiet=True)


def test_runs_on_shards_are_scored_by_what_they_never_saw(config: TrainConfig, tmp_path: Path) -> None:
    config = config.with_changes(held_out=0.3, images=32, score_every=32, score_count=30)
    run = equipoise.train(config, tmp_path / "run", quiet=True)
    assert run.best_checkpoint() is not None
    scores = equipoise.evaluate(run, features="pixels", metrics=("kid",), count=20, device="cpu", quiet=True)
    assert scores.protocol["reference"]["count"] == 20
    assert "held-out" in scores.protocol["reference"]["split"]


def test_shards_that_were_counted_before_give_the_same_run(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`magan` pretrains and sets its margin by epochs: their length is fixed before the first step."""
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    config = config.with_changes(objective=MAGAN(), batch=16)
    cold, warm = (equipoise.train(config, tmp_path / name, quiet=True) for name in ("cold", "warm"))
    assert list((tmp_path / "cache" / "shards").iterdir()), "the shards were counted"
    assert_same(cold, warm)
    assert cold.rows() == warm.rows()


def test_a_signal_ends_the_wait_for_a_server_that_stalls(config: TrainConfig, tmp_path: Path) -> None:
    """Who is told to stop has a minute or two, and a server may be silent for longer."""
    stalled, done = threading.Event(), threading.Event()
    with serving(Path(config.data).parent) as server:
        config = config.with_changes(data=f"{server.url}/s-{{000..003}}.tar", images=10**9, batch=16, log_every=16)
        (tmp_path / "run.yaml").write_text(write_yaml(config, {}))

        def silent(handler: BaseHTTPRequestHandler, number: int) -> bool:
            if not (tmp_path / "run" / "metrics.jsonl").exists():
                return False
            stalled.set()
            return done.wait(120)

        server.misbehave = silent
        command = [sys.executable, "-m", "equipoise", "train", "--config", "run.yaml", "--out", "run", "--quiet"]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        assert stalled.wait(120)
        run, before = Run.open(tmp_path / "run"), -1
        while len(run.rows()) > before:  # until the images that it has are used up
            before = len(run.rows())
            time.sleep(1.5)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=25)  # of the 30 seconds that it would wait, six times
        done.set()
    assert process.returncode == 143, told
    assert "nothing is lost" in told
    assert int(run.checkpoints()[-1].stem) == run.rows()[-1]["images"]
