"""Files named by images seen, and whatever else people leave beside them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import equipoise
from command import Command
from equipoise import Run, TrainConfig
from equipoise.runs.checkpoint import load
from equipoise.runs.numbered import images_of, numbered_files, numbered_name


@pytest.mark.parametrize("images", [0, 7, 300_000, 10**12 - 1, 10**12, 10**15])
def test_names_are_found_again(tmp_path: Path, images: int) -> None:
    (tmp_path / numbered_name(images, ".png")).touch()
    (tmp_path / numbered_name(images, ".png", "best-")).touch()
    for prefix in ("", "best-"):
        [file] = numbered_files(tmp_path, ".png", prefix)
        assert images_of(file) == images
        assert file.name == numbered_name(images, ".png", prefix)


def test_the_order_is_that_of_the_images(tmp_path: Path) -> None:
    for images in (10**12, 5, 10**12 - 1):
        (tmp_path / numbered_name(images, ".png")).touch()
    assert [images_of(file) for file in numbered_files(tmp_path, ".png")] == [5, 10**12 - 1, 10**12]
    assert numbered_files(tmp_path / "missing", ".png") == []


def test_a_folder_that_comes_and_goes_has_files_or_none(tmp_path: Path) -> None:
    looked_at = tmp_path / "samples"
    code = "import os, sys\nwhile True: os.mkdir(sys.argv[1]); os.rmdir(sys.argv[1])"
    with subprocess.Popen([sys.executable, "-c", code, looked_at]) as other:
        try:
            found = [numbered_files(looked_at, ".png") for _ in range(30_000)]  # some ten of them amidst
            assert other.poll() is None
        finally:
            other.kill()
    assert not any(found)


STRANGERS = {
    "samples": ["1 copy.png", "1.png", "000000000016 copy.png", "00000000001６.png", "0000000000016.png", "x.png"],
    "checkpoints": [
        *("best-xyz.safetensors", "best-.safetensors", "1.safetensors", "9 (1).safetensors", "best-16.safetensors"),
        *("000000000016.safetensors.bak", "-00000000016.safetensors", "best-000000000016 copy.safetensors"),
    ],
    ".": [".hidden.tmp", "notes.tmp", "x.safetensors"],
}


def leave(run: Path) -> list[Path]:
    """What a person, a file manager or a synchronising program may leave in the run's folders."""
    files = [run / folder / name for folder, names in STRANGERS.items() for name in names]
    for file in files:
        file.write_text("mine")
    made: list[tuple[Callable[[Path], object], str]] = [
        (Path.mkdir, "checkpoints/000000009999.safetensors"),
        (Path.mkdir, "checkpoints/best-000000009999.safetensors"),
        (Path.mkdir, "samples/000000009999.png"),
        (Path.mkdir, "samples/.a.00000000.tmp"),
        (os.mkfifo, "checkpoints/000000009998.safetensors"),
        (os.mkfifo, "samples/000000009998.png"),
        (lambda path: path.symlink_to("nowhere"), "checkpoints/000000009997.safetensors"),
    ]
    for make, name in made:
        make(run / name)
    return [*files, *(run / name for _, name in made)]


def test_strangers_files_are_left_alone(small: TrainConfig, tmp_path: Path, within: Command) -> None:
    """The run goes on to the same weights and samples, and theirs stay; only the last of three is asked for."""
    config = small.with_changes(images=32, batch=16, log_every=16, sample_every=16, checkpoint_every=16)
    alone = equipoise.train(config, tmp_path / "alone", quiet=True)
    run = equipoise.train(config, tmp_path / "run", quiet=True)
    strangers = leave(run.path)
    for path in (alone.path, run.path):
        told = within("resume", path, "--images", "64", "--quiet")
        assert (told.returncode, told.stderr) == (0, "")
    assert [path.name for path in run.samples()] == [path.name for path in alone.samples()]
    assert [path.name for path in run.checkpoints()] == [path.name for path in alone.checkpoints()]
    (tensors, facts), (wanted, known) = (load(each.checkpoints()[-1]) for each in (run, alone))
    assert facts == known
    assert all(torch.equal(tensors[name], tensor) for name, tensor in wanted.items())
    assert all(os.path.lexists(path) for path in strangers)
    assert within("sample", run.path, "--out", "grid.png").returncode == 0
    told = within("sample", run.path, "--best", "--out", "grid.png")
    assert told.returncode == 2
    assert "keeps no best checkpoint: train with --score-every" in told.stderr


def test_what_a_kill_left_is_removed(small: TrainConfig, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", small)
    run.rewind(-1)
    left = [run.path / ".config.yaml.0123abcd.tmp", run.path / "samples/.000000000016.png.0123abcd.tmp"]
    for path in left:
        path.touch()
    run.rewind(-1)
    assert not any(path.exists() for path in left)
