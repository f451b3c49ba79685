"""A disk that is full, read-only or forbidden: one sentence, nothing half-written, and what was there stays."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise import Run, TrainConfig, UsageError
from equipoise.config.datasets import open_dataset
from equipoise.data import open_images, pack
from equipoise.runs import checkpoint, jsonl
from equipoise.runs.files import WriteError
from permissions import run_obeying_permissions
from shard_tools import shards

SIZE = 4 * 2**20  # bytes of the disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of SIZE bytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = mount("-t", "tmpfs", "-o", f"size={SIZE}", "none", folder)
    if not mounted:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def mount(*words: object) -> bool:
    if shutil.which("mount") is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    return subprocess.run(["mount", *map(str, words)], capture_output=True).returncode == 0


def read_only(disk: Path) -> None:
    assert mount("-o", "remount,ro", disk)


def fill(disk: Path, leave: int = 0) -> Path:
    """Leave so many bytes free."""
    filler = disk / "filler"
    filler.write_bytes(b"")
    with filler.open("wb", buffering=0) as file:
        file.write(bytes(max(0, shutil.disk_usage(disk).free - leave)))
    return filler


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "filler"}


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(disk: Path) -> None:
    path = disk / "c"
    checkpoint.save(path, {"a": torch.ones(200_000)}, {"images": 1})
    before = files(disk)
    filler = fill(disk, leave=500_000)
    with pytest.raises(WriteError, match="cannot write .*No space left on device; make room"):
        checkpoint.save(path, {"a": torch.zeros(200_000)}, {"images": 2})
    assert files(disk) == before
    filler.unlink()
    checkpoint.save(path, {"a": torch.zeros(200_000)}, {"images": 2})
    assert checkpoint.load(path)[1] == {"images": 2}


def test_lines_that_do_not_fit_leave_those_before(disk: Path) -> None:
    path = disk / "metrics.jsonl"
    jsonl.append(path, {"images": 1})
    fill(disk)
    with pytest.raises(WriteError, match="cannot write .*metrics.jsonl: No space left"):
        list(map(jsonl.append, [path] * 2000, ({"images": images} for images in range(2, 2002))))
    rows = jsonl.read(path)
    assert [row["images"] for row in rows] == list(range(1, len(rows) + 1))
    with pytest.raises(WriteError, match="No space left"):
        jsonl.cut(path, len(rows))
    assert jsonl.read(path) == rows


def test_a_run_that_cannot_be_made_leaves_nothing_in_its_way(small: TrainConfig, disk: Path) -> None:
    filler = fill(disk)
    with pytest.raises(UsageError, match="cannot make a run at .*No space left on device"):
        Run.create(disk / "run", small)
    filler.unlink()
    Run.create(disk / "run", small)


def test_packing_on_a_full_disk(disk: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 256, (3000, 32, 32, 3), dtype=np.uint8))
    with pytest.raises(UsageError, match="the cache folder .*(there are|No space left)"):
        open_images(str(tmp_path / "a.npy"), 32, cache=disk / "cache")
    assert not [path for path in disk.rglob("*") if path.is_file() and path.suffix != ".lock"]
    images = open_images(str(tmp_path / "a.npy"), 16, cache=disk / "cache")
    assert len(images) == 3000
    fill(disk, leave=100_000)
    with pytest.raises(UsageError, match=r"cannot write|No space left"):
        pack(str(tmp_path / "a.npy"), 16, disk / "b.npz", cache=disk / "cache")
    assert not [path for path in disk.iterdir() if "b.npz" in path.name]


def test_few_images_of_shards_need_room_for_no_more(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where 10,000 of this size, as many as are packed of shards at most, would not fit."""
    monkeypatch.setenv("EQUIPOISE_CACHE", str(disk))
    dataset = open_dataset(TrainConfig(data=shards(tmp_path / "shards", [12]), resolution=64, held_out=0.0))
    assert SIZE < 10_000 * 3 * 64 * 64
    assert len(dataset.split("train")) == 12
    dataset.close()


def test_read_only_disks(small: TrainConfig, disk: Path, tmp_path: Path) -> None:
    run = Run.create(disk / "run", small)
    run.rewind(-1)
    run.append("metrics.jsonl", {"images": 0})
    run.save_checkpoint(0, {"a": torch.ones(3)}, {"shape": [1, 16, 16], "data": "d"})
    read_only(disk)
    before = files(disk)
    for write in (
        lambda: Run.create(disk / "other", small),
        lambda: run.change_config(small, small.data),
        lambda: run.rewind(0),
        lambda: run.append("metrics.jsonl", {"images": 1}),
        lambda: run.save_checkpoint(16, {}, {}),
        lambda: run.keep_best(0),
        lambda: open_images("digits", 16, cache=disk / "cache"),
    ):
        with pytest.raises(UsageError, match="Read-only file system"):
            write()
    assert files(disk) == before
    assert torch.equal(run.load_checkpoint()[0]["a"], torch.ones(3)), "reading goes on"


IN_A_LOCKED_FOLDER = """
from pathlib import Path
from equipoise import TrainConfig, UsageError
from equipoise.data import open_images
from equipoise.runs.run import Run

for write in (
    lambda: Run.create(Path("locked/run"), TrainConfig()),
    lambda: open_images("digits", 16, cache=Path("locked/cache")),
):
    try:
        write()
    except UsageError as error:
        print(error)
"""


def test_folders_of_others(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    done = run_obeying_permissions("-c", IN_A_LOCKED_FOLDER, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run, cache = done.stdout.splitlines()
    assert re.search("cannot make a run at .*Permission denied; choose another --out", run)
    assert "Permission denied" in cache
    assert list((tmp_path / "locked").iterdir()) == []
