"""Killed at any instant, stopped, starved of disk: what comes out equals what never stopped, to the bit."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from equipoise import Autoencoder, Run, TrainConfig
from equipoise.config.train_config import write_yaml
from equipoise.runs.checkpoint import load
from zygote import Forked, Zygote

CONFIG = TrainConfig(
    network=Autoencoder(width=2, latent=3),
    resolution=16,
    images=600,
    batch=4,
    log_every=20,
    sample_every=100,
    checkpoint_every=60,
    keep_every=200,
    ema=100,
    warmup=100,
    precision="fp32",
    device="cpu",
)
TRAIN = ("train", "--config", "run.yaml", "--out", "run", "--resume-if-exists", "--quiet")


@pytest.fixture(scope="module")
def whole(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that never stopped."""
    folder = place(tmp_path_factory.mktemp("whole"))
    code, told = zygote.run(*TRAIN, cwd=folder)
    assert code == 0, told
    return folder / "run"


@pytest.fixture
def here(tmp_path: Path) -> Path:
    return place(tmp_path)


def place(folder: Path, config: TrainConfig = CONFIG) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "run.yaml").write_text(write_yaml(config, {}))
    return folder


def result(run: Path) -> dict[str, Any]:
    """All that two equal runs agree on, and the name of every file but TensorBoard's, one for each start."""
    files = {str(path.relative_to(run)): path for path in sorted(run.rglob("*")) if path.is_file()}
    files = {name: path for name, path in files.items() if "tfevents" not in name}
    exact = {name: path.read_bytes() for name, path in files.items() if name.startswith(("samples", "metrics"))}
    return {"names": list(files), **exact, **{name: load(path) for name, path in files.items() if "safetens" in name}}


def assert_same(run: Path, whole: Path) -> None:
    ours, theirs = result(run), result(whole)
    assert ours["names"] == theirs["names"]
    for name in theirs["names"]:
        if name.endswith(".safetensors"):
            (tensors, facts), (wanted, known) = ours[name], theirs[name]
            assert facts == known, name
            assert tensors.keys() == wanted.keys()
            for key, tensor in wanted.items():
                assert torch.equal(tensors[key], tensor), (name, key)
        elif name in theirs:
            assert ours[name] == theirs[name], name
    assert curves(run) == curves(whole)


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard shows, and at which steps it shows samples."""
    board = EventAccumulator(str(run), {"scalars": 0, "images": 0})
    board.Reload()
    scalars = {tag: [(event.step, event.value) for event in board.Scalars(tag)] for tag in board.Tags()["scalars"]}
    return scalars | {tag: [(event.step, 0.0) for event in board.Images(tag)] for tag in board.Tags()["images"]}


def images_logged(run: Path) -> int:
    rows = Run.open(run).rows() if (run / "config.yaml").exists() else []
    return rows[-1]["images"] if rows else -1


def wait_until(process: Forked, happened: Any) -> None:
    deadline = time.monotonic() + 120
    while process.alive and not happened():
        assert time.monotonic() < deadline, process.output.read_text()
        time.sleep(0.0005)


def wait_for_writing(process: Forked, run: Path, pattern: str = "checkpoints/.*.tmp") -> None:
    """Wait until a file is being written, which is not one that an earlier kill has left."""
    left = set(run.glob(pattern))
    wait_until(process, lambda: set(run.glob(pattern)) - left)


def kill_somewhere(process: Forked, run: Path, rng: random.Random, mode: str) -> bool:
    """Send SIGKILL at an instant that `mode` and `rng` choose; whether it came before the end."""
    if mode == "soon":
        time.sleep(rng.uniform(0, 0.5))
    elif mode == "training":
        goal = images_logged(run) + rng.randrange(1, 200)
        wait_until(process, lambda: images_logged(run) >= goal)
        time.sleep(rng.uniform(0, 0.02))
    else:  # while a file is being written: a checkpoint, or whatever is at that moment
        time.sleep(rng.uniform(0, 0.3))
        wait_for_writing(process, run, "checkpoints/.*.tmp" if rng.random() < 0.7 else "**/.*.tmp")
    process.kill(signal.SIGKILL)
    return process.wait()[0] == -signal.SIGKILL


def kill_often(zygote: Zygote, folder: Path, whole: Path, kills: int, seed: int) -> dict[str, int]:
    """Kill and go on until so many kills have struck, and compare each run that got to its end."""
    rng, run, struck, torn = random.Random(seed), folder / "run", 0, 0
    while struck < kills:
        mode = rng.choice(["soon", "training", "training", "writing"])
        words = TRAIN if not (run / "config.yaml").exists() or rng.random() < 0.5 else ("resume", "run", "--quiet")
        process = zygote.start(*words, cwd=folder, slow_disk=0.02 if mode == "writing" else 0)
        if kill_somewhere(process, run, rng, mode):
            struck += 1
            torn += bool(list(run.rglob(".*.tmp")))
        else:
            assert process.code == 0, process.text
            assert_same(run, whole)
            shutil.rmtree(run)
    code, told = zygote.run(*TRAIN, cwd=folder)
    assert code == 0, told
    assert_same(run, whole)
    return {"struck": struck, "torn": torn}


def test_killed_five_times(zygote: Zygote, here: Path, whole: Path) -> None:
    assert kill_often(zygote, here, whole, kills=5, seed=1)["struck"] == 5


@pytest.mark.long
def test_killed_forty_times(zygote: Zygote, here: Path, whole: Path) -> None:
    counts = kill_often(zygote, here, whole, kills=40, seed=2)
    assert counts["struck"] == 40
    assert counts["torn"] >= 3, "some kills struck while a file was being written"


def test_killed_while_every_checkpoint_is_written(zygote: Zygote, here: Path, whole: Path) -> None:
    """Half a checkpoint is never taken for one: each attempt gets no further than the next one's beginning."""
    run = here / "run"
    for attempt in range(3):
        process = zygote.start(*TRAIN, cwd=here, slow_disk=0.2)
        wait_for_writing(process, run)
        process.kill(signal.SIGKILL)
        assert process.wait()[0] == -signal.SIGKILL, attempt
        assert list(run.glob("checkpoints/.*.tmp"))
        assert not list(run.glob("checkpoints/*.safetensors"))
    assert zygote.run(*TRAIN, cwd=here)[0] == 0
    assert_same(run, whole)


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGUSR1, 138, marks=pytest.mark.long),
        *(pytest.param(number, 128 + number, marks=pytest.mark.long) for number in (signal.SIGINT, signal.SIGHUP)),
    ],
)
def test_stopped_on_request(zygote: Zygote, here: Path, whole: Path, number: int, code: int) -> None:
    """A checkpoint within a few steps, and nothing lost by the signal: it stands where training stood."""
    run = here / "run"
    process = zygote.start(*TRAIN, cwd=here)
    wait_until(process, lambda: images_logged(run) >= 180)
    process.kill(number)
    assert process.wait()[0] == code
    assert "nothing is lost: go on with `equipoise resume run`" in process.text
    assert "Traceback" not in process.text
    stopped = Run.open(run).load_checkpoint()[1]["images"]
    assert images_logged(run) <= stopped < images_logged(run) + 20
    assert zygote.run("resume", "run", "--quiet", cwd=here)[0] == 0
    shutil.rmtree(run / "checkpoints" / f"{stopped:012d}.safetensors", ignore_errors=True)
    last = f"checkpoints/{CONFIG.images:012d}.safetensors"
    ours, theirs = result(run), result(whole)
    assert all(torch.equal(ours[last][0][key], tensor) for key, tensor in theirs[last][0].items())
    assert ours[last][1] == theirs[last][1]
    assert {name: ours[name] for name in ours if name.startswith(("samples", "metrics"))} == {
        name: theirs[name] for name in theirs if name.startswith(("samples", "metrics"))
    }
    assert curves(run) == curves(whole)


def test_the_second_interrupt_acts_at_once(zygote: Zygote, here: Path, whole: Path) -> None:
    run = here / "run"
    process = zygote.start(*TRAIN, cwd=here, slow_disk=0.5)
    wait_until(process, lambda: next(run.glob("checkpoints/0*060.safetensors"), None))
    process.kill(signal.SIGINT)
    wait_for_writing(process, run)
    process.kill(signal.SIGINT)
    assert process.wait()[0] == 130
    assert "stopped at once; what was saved before is intact" in process.text
    assert not list(run.rglob(".*.tmp"))
    assert zygote.run(*TRAIN, cwd=here)[0] == 0
    assert_same(run, whole)


def test_notices_may_come_more_than_once(zygote: Zygote, here: Path) -> None:
    """SLURM sends SIGUSR1, then SIGTERM; a launcher passes on what the process group had already."""
    run = here / "run"
    process = zygote.start(*TRAIN, cwd=here, slow_disk=0.2)
    wait_until(process, lambda: images_logged(run) >= 20)
    for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        process.kill(number)
        time.sleep(0.02)
    assert process.wait()[0] == 138
    assert Run.open(run).load_checkpoint()[1]["images"] >= 20
    assert not list(run.rglob(".*.tmp"))


@pytest.mark.parametrize("room", [20_000, *(pytest.param(room, marks=pytest.mark.long) for room in (150_000, 300_000))])
def test_a_full_disk(zygote: Zygote, tmp_path: Path, whole: Path, room: int) -> None:
    """One sentence, the last checkpoint intact, and with more room it goes on."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", tmp_path]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        run = place(tmp_path) / "run"
        filler = tmp_path / "filler"
        filler.write_bytes(bytes(6 * 2**20 - room - 16_384))
        code, told = zygote.run(*TRAIN, cwd=tmp_path)
        assert code == 2, told
        assert told.count("\n") == 1, told
        assert "No space left on device" in told
        saved = Run.open(run).checkpoints()
        assert all(load(path) for path in saved), "whatever was saved is intact"
        assert saved or room < 100_000
        filler.unlink()
        subprocess.run(["mount", "-o", "remount,size=40m", tmp_path], check=True)
        assert zygote.run(*TRAIN, cwd=tmp_path)[0] == 0
        assert_same(run, whole)
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_second_writer_is_refused(zygote: Zygote, here: Path, whole: Path) -> None:
    run = here / "run"
    first = zygote.start(*TRAIN, cwd=here, slow_disk=1.0)
    wait_for_writing(first, run)
    before = (run / "config.yaml").read_bytes()
    others = [zygote.start(*words, cwd=here) for words in (("resume", "run", "--quiet", "--images", "9k"), TRAIN)]
    for other in others:  # each waits ten seconds for the first to end, both the same ten
        code, told = other.wait()
        assert code == 2
        assert f"run is being written by process {first.pid} on " in told
    assert (run / "config.yaml").read_bytes() == before
    first.kill(signal.SIGKILL)
    assert first.wait()[0] == -signal.SIGKILL
    assert zygote.run(*TRAIN, cwd=here)[0] == 0, "no stale lock"
    assert_same(run, whole)


def test_events_tell_of_every_start(zygote: Zygote, here: Path) -> None:
    process = zygote.start(*TRAIN, cwd=here)
    wait_until(process, lambda: images_logged(here / "run") >= 200)
    process.kill(signal.SIGKILL)
    process.wait()
    assert zygote.run(*TRAIN, cwd=here)[0] == 0
    kinds = [json.loads(line)["kind"] for line in (here / "run" / "events.jsonl").read_text().splitlines()]
    assert kinds.count("resumed") == 1


@pytest.mark.long
def test_torchrun_restarts_what_was_killed(here: Path, tmp_path: Path) -> None:
    """One of two processes dies without warning: torchrun starts both anew, and the end is as if nothing had been."""
    words = [*TRAIN[:3], "--out", "both", "--resume-if-exists", "--quiet"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--max-restarts=2"]
    ends = []
    for name, kills in (("whole", False), ("run", True)):
        words[4] = name
        process = subprocess.Popen(
            [*command, f"--master-port={free_port()}", "-m", "equipoise", *words],
            cwd=here,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if kills:
            deadline = time.monotonic() + 240
            while images_logged(here / name) < 200 and time.monotonic() < deadline:
                time.sleep(0.01)
            os.kill(child_of_rank(process.pid, 1), signal.SIGKILL)
        told, _ = process.communicate(timeout=300)
        assert process.returncode == 0, told
        ends.append(here / name)
    assert any(row["kind"] == "resumed" for row in Run.open(ends[1]).rows("events.jsonl"))
    assert_same(ends[1], ends[0])


def child_of_rank(launcher: int, rank: int) -> int:
    """The process that torchrun has started as that rank."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == launcher and f"\0RANK={rank}\0" in "\0" + (folder / "environ").read_text():
                return int(folder.name)
    raise AssertionError("no such process")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_two_that_go_on_at_the_same_instant(zygote: Zygote, here: Path, whole: Path) -> None:
    """One of them trains; the other waits for it, and finds the run finished, or is refused."""
    first = zygote.start(*TRAIN, cwd=here)
    wait_until(first, lambda: images_logged(here / "run") >= 100)
    first.kill(signal.SIGKILL)
    first.wait()
    both = [zygote.start("resume", "run", "--quiet", cwd=here) for _ in range(2)]
    ends = [process.wait() for process in both]
    assert sorted(code for code, _ in ends)[0] == 0, ends
    assert all(code == 0 or (code == 2 and "is being written by process" in told) for code, told in ends), ends
    assert_same(here / "run", whole)


@pytest.mark.parametrize("pattern", [".curves.png.*.tmp", pytest.param(".report.html.*.tmp", marks=pytest.mark.long)])
def test_killed_while_the_report_is_drawn(zygote: Zygote, here: Path, whole: Path, pattern: str) -> None:
    """That is the last thing a run does: going on draws it anew, and nothing else."""
    run = here / "run"
    process = zygote.start(*TRAIN, cwd=here, slow_disk=0.1)
    wait_for_writing(process, run, pattern)
    process.kill(signal.SIGKILL)
    assert process.wait()[0] == -signal.SIGKILL
    assert zygote.run(*TRAIN, cwd=here)[0] == 0
    assert_same(run, whole)


@pytest.mark.long
def test_other_numbers_of_threads_go_on_to_other_rounding(zygote: Zygote, here: Path, whole: Path) -> None:
    """Not to the same bits, which is promised for one number alone, but to the same images, in the same order."""
    process = zygote.start(*TRAIN, cwd=here)
    wait_until(process, lambda: images_logged(here / "run") >= 300)
    process.kill(signal.SIGTERM)
    assert process.wait()[0] == 143
    command = [sys.executable, "-m", "equipoise", "resume", "run", "--quiet"]
    done = subprocess.run(command, cwd=here, env={**os.environ, "OMP_NUM_THREADS": "2"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ours, theirs = (Run.open(path).rows() for path in (here / "run", whole))
    assert [row["images"] for row in ours] == [row["images"] for row in theirs]
    assert ours[-2]["energy_real"] == pytest.approx(theirs[-2]["energy_real"], rel=0.1)
