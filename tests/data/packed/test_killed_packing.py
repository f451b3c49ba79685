"""Packing by processes that are killed: what is packed afterwards is what a packing that was not killed packs."""

import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from equipoise.data import open_images, pack

Saver = Callable[..., Path]
fork = multiprocessing.get_context("fork")
TOUCHING = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.listdir", "os.scandir"}


@pytest.fixture
def classes(save: Saver) -> Path:
    """Grays, of which a colour image midway makes all RGB, in folders of classes, and one that cannot be read."""
    for index in range(90):
        path = save(f"{index // 45}/{index:02}.png", mode="RGB" if index == 70 else "L", size=(9, 8), seed=index)
    path.with_name("broken.png").write_text("broken")
    return path.parents[1]


@pytest.fixture
def whole(classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Files of the pack that was never killed, by name."""
    with monkeypatch.context() as patch:
        patch.setenv("EQUIPOISE_CACHE", str(tmp_path / "whole"))
        return contents(open_images(classes, 8).path.parent)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def kill_at(event_number: int, inside: Path) -> None:
    """Kill this process before it touches a file in `inside` for the so-manyth time."""
    left = event_number

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in TOUCHING and str(arguments[0]).startswith(str(inside)):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def pack_in_child(classes: Path, out: Path, event_number: int | None = None) -> Any:
    def work() -> None:
        if event_number is not None:
            kill_at(event_number, classes.parent)
        pack(classes, 8, out)

    child = fork.Process(target=work)
    child.start()
    return child


def check(classes: Path, out: Path, cache: Path, whole: dict[str, bytes]) -> None:
    """Whatever has a pack's name is whole, and packing again gives the same; nothing else is left."""
    there = [path for path in cache.glob("images/*") if not path.name.endswith((".partial", ".lock"))]
    assert [contents(path) for path in there] == [whole] * len(there)
    packed = bool(there)
    told: list[int] = []
    if not out.exists():
        pack(classes, 8, out, progress=lambda done, total: told.append(done))
        assert bool(told) != packed, "what is whole is opened, and nothing else is"
    with np.load(out) as arrays:
        assert sorted(arrays) == ["images", "labels"]
        stored, labels = arrays["images"], arrays["labels"]
    images = open_images(classes, 8)
    assert contents(images.path.parent) == whole
    np.testing.assert_array_equal(stored, images.pixels)
    np.testing.assert_array_equal(labels, images.labels)
    assert list(cache.glob("images/*.partial")) == []
    for folder in (path for path in cache.glob("images/*") if path.is_dir()):
        shutil.rmtree(folder)
    out.unlink()


def test_a_packing_killed_before_it_touches_a_file(
    classes: Path, tmp_path: Path, cache: Path, whole: dict[str, bytes]
) -> None:
    """Each child is killed one step later, among what those before it have left, until one comes through."""
    out, killed = tmp_path / "out.npz", 0
    for event_number in range(1, 1000, 4):
        child = pack_in_child(classes, out, event_number)
        child.join()
        killed += child.exitcode == -signal.SIGKILL
        check(classes, out, cache, whole)
        if child.exitcode == 0:
            break
    assert child.exitcode == 0
    assert killed > 20


def test_a_packing_killed_at_random_instants(
    classes: Path, tmp_path: Path, cache: Path, whole: dict[str, bytes]
) -> None:
    out, started = tmp_path / "out.npz", time.monotonic()
    pack_in_child(classes, out).join()
    seconds = time.monotonic() - started
    check(classes, out, cache, whole)
    for _ in range(12):
        child = pack_in_child(classes, out)
        time.sleep(random.uniform(0, seconds))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        check(classes, out, cache, whole)
