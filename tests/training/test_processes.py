"""Processes that a run starts: scripts that cannot be run anew, and processes that die."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from equipoise import Run, TrainConfig
from equipoise.config.train_config import write_yaml

SCRIPT = """
import equipoise
from equipoise.config.train_config import read_yaml

def go():
    equipoise.train(read_yaml(open("run.yaml").read(), "it"), "run", quiet=True)

{call}
"""


def place(folder: Path, config: TrainConfig) -> None:
    (folder / "run.yaml").write_text(write_yaml(config.with_changes(devices=2), {}))


@pytest.mark.parametrize("call", [pytest.param("go()", marks=pytest.mark.long), "for _ in range(2):\n    go()"])
def test_a_script_without_a_main_guard_is_refused(small: TrainConfig, tmp_path: Path, call: str) -> None:
    place(tmp_path, small)
    (tmp_path / "script.py").write_text(SCRIPT.format(call=call))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("equipoise.errors.UsageError: each of the processes would run")
    assert "`if __name__ == '__main__':`" in last
    assert not (tmp_path / "run").exists()


@pytest.mark.long
def test_a_script_with_a_main_guard_trains(small: TrainConfig, tmp_path: Path) -> None:
    place(tmp_path, small.with_changes(images=32))
    (tmp_path / "script.py").write_text(SCRIPT.format(call="if __name__ == '__main__':\n    go()"))
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert Run.open(tmp_path / "run").checkpoints()


def children(parent: int) -> list[int]:
    """Processes that `parent` has spawned to train."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent
            if ours and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return sorted(found)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes as Linux lists them")
@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGKILL, 2, id="killed"),
        pytest.param(signal.SIGTERM, 143, id="stopped", marks=pytest.mark.long),
    ],
)
def test_a_process_that_dies_is_told_in_a_sentence(small: TrainConfig, tmp_path: Path, number: int, code: int) -> None:
    """One is killed, as by a system without memory; or all are stopped while they still start."""
    place(tmp_path, small.with_changes(images=10_000_000))
    words = ["train", "--config", "run.yaml", "--out", "run", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "equipoise", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while len(started := children(process.pid)) < 2 or (
        number == signal.SIGKILL and not (tmp_path / "run" / "metrics.jsonl").exists()
    ):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(started[-1] if number == signal.SIGKILL else process.pid, number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith("equipoise: ")
    assert "`equipoise resume run`" in told.splitlines()[-1]
    assert not children(process.pid)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes as Linux lists them")
@pytest.mark.parametrize("ignoring", [False, True], ids=["while-they-start", "in-the-background-of-a-script"])
def test_no_process_outlives_the_one_that_started_it(small: TrainConfig, tmp_path: Path, *, ignoring: bool) -> None:
    """Killed, that can tell them nothing; nor does SIGINT reach them where a script has it ignored."""
    place(tmp_path, small.with_changes(images=10_000_000))
    words = ["train", "--config", "run.yaml", "--out", "run", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "equipoise", *words],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        preexec_fn=(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)) if ignoring else None,  # noqa: PLW1509
    )
    deadline = time.monotonic() + 240
    while len(started := children(process.pid)) < 2 or (ignoring and not (tmp_path / "run" / "metrics.jsonl").exists()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    while any(Path(f"/proc/{each}").exists() for each in started):
        assert time.monotonic() < deadline, "a process was left behind"
        time.sleep(0.05)
    assert Run.open(tmp_path / "run").config.devices == 2
