"""Does memory stay flat as the data grows? Packs and trains on a folder of images and on an array ten times as large.

    python -m benchmarks.data_memory              # 20,000 PNGs and 200,000 images in an .npy, 64x64 RGB; 5 GB of room
    python -m benchmarks.data_memory --scale 0.1  # a tenth of each

Each packing and each training runs in a process of its own, which reports what the system says of its memory. The
results are written to docs/results/data-memory.md.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 64  # pixels
FOLDER, ARRAY = 20_000, 200_000  # images
STEPS, BATCH = 300, 64
BLOCK = 1000  # images made together
RESULT = Path(__file__).parents[1] / "docs" / "results" / "data-memory.md"


def main() -> None:
    """Make the data, measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of images")
    parser.add_argument("--child", nargs=2, metavar=("WORK", "DATA"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(_measured(*given.child)))
        return
    folder, array = (max(2 * BATCH, round(count * given.scale)) for count in (FOLDER, ARRAY))
    with tempfile.TemporaryDirectory(prefix="data-memory-") as scratch:
        _require_room(Path(scratch), 2 * (array + folder) * 3 * SIDE * SIDE)
        rows = [row for count, data in _data(Path(scratch), folder, array) for row in _rows(count, data, scratch)]
    lines = [
        "| data | images | work | resident at most | at the end | anonymous at the end |",
        "|---|---|---|---|---|---|",
    ]
    command = "python -m benchmarks.data_memory" + (f" --scale {given.scale:g}" if given.scale != 1 else "")
    note = (
        f"`{command}`: {SIDE}x{SIDE} RGB, {STEPS} steps of {BATCH} on one CPU; resident memory of a process of its own."
    )
    RESULT.write_text("\n".join(["# Memory", "", note, "", *lines, *rows]) + "\n")
    print(RESULT.read_text())


def _data(scratch: Path, folder: int, array: int) -> Iterator[tuple[int, Path]]:
    """Write images of noise as PNGs, and as an .npy; each is removed when the next is asked for."""
    (scratch / "folder").mkdir()
    with ThreadPoolExecutor() as pool:
        list(
            pool.map(lambda k: Image.fromarray(_noise(k, 1)[0]).save(scratch / "folder" / f"{k:06}.png"), range(folder))
        )
    yield folder, scratch / "folder"
    shutil.rmtree(scratch / "folder")
    with (scratch / "array.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (array, SIDE, SIDE, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, array, BLOCK):
            file.write(_noise(start, min(BLOCK, array - start)).data)
    yield array, scratch / "array.npy"


def _noise(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def _rows(count: int, data: Path, scratch: str) -> list[str]:
    """Pack, then train, and tell each in a line of the table."""
    lines = []
    for work in ("pack", "train"):
        command = [sys.executable, "-m", "benchmarks.data_memory", "--child", work, str(data)]
        environment = {**os.environ, "EQUIPOISE_CACHE": f"{scratch}/cache"}
        done = subprocess.run(
            command, env=environment, check=True, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
        )
        seen = json.loads(done.stdout.splitlines()[-1])
        most, end, anonymous = (f"{seen[key]:,.0f} MB" for key in ("VmHWM", "VmRSS", "RssAnon"))
        lines.append(
            f"| {'PNG files' if data.is_dir() else '.npy'} | {count:,} | {work} | {most} | {end} | {anonymous} |"
        )
        print(lines[-1], flush=True)
    return lines


def _measured(work: str, data: str) -> dict[str, float]:
    """Do the work in this process, and tell its memory in MB."""
    import equipoise  # only in the child: what it takes counts
    from equipoise.data import open_images
    from equipoise.networks import Autoencoder

    if work == "pack":
        open_images(data, SIDE)
    else:
        config = equipoise.TrainConfig(
            network=Autoencoder(width=4, latent=8),
            data=data,
            resolution=SIDE,
            images=STEPS * BATCH,
            batch=BATCH,
            device="cpu",
            checkpoint_every=STEPS * BATCH,
            sample_every=STEPS * BATCH,
        )
        equipoise.train(config, Path(data).parent / f"run-{Path(data).stem}", quiet=True)
    return _memory()


def _memory() -> dict[str, float]:
    """Read this process's memory in MB: the most that was resident, what is now, and how much of it is its own."""
    status = Path("/proc/self/status").read_text()
    return {
        name: int(kib) / 1024 for name, kib in re.findall(r"^(VmHWM|VmRSS|RssAnon):\s+(\d+) kB", status, re.MULTILINE)
    }


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        sys.exit(f"{folder} has {free / 2**30:.1f} GiB free of the {size / 2**30:.1f} needed: give a smaller --scale")


if __name__ == "__main__":
    main()
