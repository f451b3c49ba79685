"""Train for half an hour with samples, scores and checkpoints all the while, and watch what the process holds.

    nice -n 10 python benchmarks/soak.py --minutes 30

The real command runs in a process of its own; resident memory, open files and threads are the kernel's figures.
Writes docs/results/soak.md and soak.png.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
import numpy as np

from equipoise.runs.run import Run, versions

matplotlib.use("Agg")
from matplotlib import pyplot as plt

RESULTS = Path(__file__).parent.parent / "docs" / "results"
SETTINGS = [
    *("--width", "8", "--latent", "10", "--resolution", "32", "--images", "100M", "--log-every", "500"),
    *("--sample-every", "2k", "--checkpoint-every", "2k", "--keep-every", "50k"),
    *("--score-every", "4k", "--score-count", "200"),
]
FIGURES = ("resident memory, MiB", "open files", "threads")
WARM_UP = 0.2  # of the time: caches fill, and allocators find their size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        watched, run = soak(Path(folder), 60 * options.minutes)
        report(watched, run, options.minutes, options.out)


def soak(folder: Path, seconds: float) -> tuple[np.ndarray, Run]:
    """Train for so long; gives rows of seconds and FIGURES (n, 4), and the run."""
    command = [sys.executable, "-m", "equipoise", "train", "began", *SETTINGS, "--out", "run", "--quiet"]
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"})
    start, rows = time.monotonic(), []
    while (passed := time.monotonic() - start) < seconds:
        if process.poll() is not None:
            raise SystemExit(f"training ended by itself, with code {process.returncode}")
        rows.append((passed, *held(process.pid)))
        time.sleep(min(5.0, seconds / 100))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    return np.array(rows), Run.open(folder / "run")


def held(pid: int) -> tuple[float, int, int]:
    """Resident MiB, open files and threads of a process, as Linux tells."""
    folder = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    return int(status["VmRSS"].split()[0]) / 1024, len(list((folder / "fd").iterdir())), int(status["Threads"])


def report(watched: np.ndarray, run: Run, minutes: float, out: Path) -> None:
    """Draw the figures over time, and write what they come to."""
    out.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(1, 3, figsize=(12, 3), layout="constrained")
    warm = watched[watched[:, 0] >= WARM_UP * watched[-1, 0]]
    lines = []
    for column, (name, axis) in enumerate(zip(FIGURES, axes, strict=True), 1):
        axis.plot(watched[:, 0] / 60, watched[:, column], linewidth=1)
        axis.set(title=name, xlabel="minutes", ylim=(0, 1.25 * watched[:, column].max()))
        slope = np.polyfit(warm[:, 0] / 3600, warm[:, column], 1)[0]
        least, most = warm[:, column].min(), warm[:, column].max()
        lines.append(f"| {name} | {least:.0f} | {most:.0f} | {slope:+.1f} |")
    figure.savefig(out / "soak.png", dpi=110)
    rows = run.rows()
    done = {
        "images trained on": rows[-1]["images"],
        "samples drawn": sum("diversity" in row for row in rows),
        "scores taken": sum("kid" in row for row in rows),
        "checkpoints written": rows[-1]["images"] // run.config.checkpoint_every + 1,
    }
    made = ", ".join(f"{name} {version}" for name, version in versions().items())
    (out / "soak.md").write_text(
        f"# {minutes:.0f} minutes of training\n\n"
        f"`nice -n 10 python benchmarks/soak.py --minutes {minutes:.0f}`: BEGAN on the bundled digits, with samples, "
        f"scores by KID and checkpoints all the while ({made}; one thread).\n\n"
        f"Done: {', '.join(f'{name} {count:,}' for name, count in done.items())}.\n\n"
        f"After the first {WARM_UP:.0%} of the time:\n\n"
        "| | least | most | trend per hour |\n|---|---|---|---|\n" + "\n".join(lines) + "\n\n"
        "![resident memory, open files and threads over time](soak.png)\n"
    )
    print((out / "soak.md").read_text())


if __name__ == "__main__":
    main()
