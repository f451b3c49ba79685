"""Films: every frame is there, in order, at its time, and enlarged without blur."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise.errors import UsageError
from equipoise.views.animation import save_film

FRAMES = torch.randint(0, 256, (5, 3, 16, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_webp_has_every_frame_exactly(tmp_path: Path, channels: int) -> None:
    save_film(tmp_path / "film.webp", FRAMES[:, :channels], 8)
    with Image.open(tmp_path / "film.webp") as film:
        assert (film.n_frames, film.size, film.info["loop"]) == (5, (240, 160), 0)
        for number in range(5):
            film.seek(number)
            film.load()
            assert film.info["duration"] == 125
            pixels = np.asarray(film.convert("RGB"))[::10, ::10].transpose(2, 0, 1)
            assert (pixels == FRAMES[number, :channels].expand(3, -1, -1).numpy()).all()


def test_a_gif_has_every_frame_and_gray_exactly(tmp_path: Path) -> None:
    save_film(tmp_path / "film.gif", FRAMES[:, :1], 10)
    with Image.open(tmp_path / "film.gif") as film:
        assert (film.n_frames, film.info["loop"], film.info["duration"]) == (5, 0, 100)
        for number in range(5):
            film.seek(number)
            assert (np.asarray(film.convert("L"))[::10, ::10] == FRAMES[number, 0].numpy()).all()


@pytest.mark.parametrize(("rate", "milliseconds"), [(24, 40), (18, 60), (60, 20), (100, 20)])
def test_a_gif_is_as_fast_as_browsers_let_it_be(tmp_path: Path, rate: int, milliseconds: int) -> None:
    """They show a frame of 10 ms or none for 100."""
    save_film(tmp_path / "film.gif", FRAMES, rate)
    with Image.open(tmp_path / "film.gif") as film:
        assert film.info["duration"] == milliseconds


def test_an_mp4_needs_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="ffmpeg"):
        save_film(tmp_path / "film.mp4", FRAMES, 8)
    broken = tmp_path / "ffmpeg"  # a real program, which fails
    broken.write_text("#!/bin/sh\ncat > /dev/null\necho no such codec >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    with pytest.raises(UsageError, match="no such codec"):
        save_film(tmp_path / "film.mp4", FRAMES, 8)
    assert not (tmp_path / "film.mp4").exists()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_an_mp4_has_every_frame_nearly(tmp_path: Path) -> None:
    smooth = (FRAMES[:, :, :1, :1].expand(-1, -1, 15, 25)).contiguous()  # plain frames, whose sides are odd
    save_film(tmp_path / "film.mp4", smooth, 8)
    raw = subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-i", tmp_path / "film.mp4", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
        capture_output=True,
        check=True,
    ).stdout
    frames = np.frombuffer(raw, np.uint8).reshape(5, 150, 250, 3)
    difference = frames[:, 40:110, 40:210].astype(int) - smooth.permute(0, 2, 3, 1).numpy()[:, :1, :1].astype(int)
    assert np.abs(difference).max() < 12, json.dumps(np.abs(difference).max(axis=(1, 2, 3)).tolist())


def test_other_kinds_and_places_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=".gif"):
        save_film(tmp_path / "film.avi", FRAMES, 8)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        save_film(tmp_path / "file/film.gif", FRAMES, 8)
