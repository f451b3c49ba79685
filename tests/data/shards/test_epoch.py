"""An epoch over HTTP by four processes, as `benchmarks.shard_epoch` streams a million images, of four thousand."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

IMAGES, PROCESSES = 4_000, 4
ROOT = Path(__file__).parents[3]


def test_four_processes_see_every_image_of_an_epoch_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.shard_epoch", "--images", str(IMAGES), "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen = [np.load(tmp_path / f"rank-{rank}.npy") for rank in range(PROCESSES)]
    assert [len(numbers) for numbers in seen] == [IMAGES // PROCESSES] * PROCESSES
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(IMAGES))
    assert not (np.diff(seen[0]) == 1).all(), "they come shuffled"
    table = [line.split("|")[4:-1] for line in done.stdout.splitlines() if line.startswith(("| 0 ", "| 1 ", "| 2 "))]
    memory = np.array(table, float)  # MiB over the epoch
    assert (np.ptp(memory, axis=1) < 64).all()
