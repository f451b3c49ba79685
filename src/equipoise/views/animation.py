"""Films: frames written as an animated GIF or WebP, or by ffmpeg as an MP4."""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from equipoise.errors import UsageError, quoted
from equipoise.runs.files import check_kind, file_where_asked
from equipoise.views.figures import grid

FILMS = (".gif", ".webp", ".mp4")
SIDE = 256  # pixels: a smaller frame is enlarged until its longer side has these


def save_film(path: Path, frames: Tensor, frames_per_second: float) -> None:
    """Write frames (T, 1 or 3, H, W) uint8 as a film that begins anew when it has ended, of a kind in FILMS.

    Raises:
        UsageError: it is of another kind or cannot be written, or ffmpeg, which an MP4 needs, is missing or fails.
    """
    check_kind(path, "a film", FILMS)
    check_ffmpeg(path)
    kind = path.suffix.lower()
    scale = max(1, SIDE // max(frames.shape[2:]))
    pictures = [grid(frame[None], gap=0, scale=scale) for frame in frames]
    if kind == ".mp4":
        _save_mp4(path, pictures, frames_per_second)
        return
    milliseconds = max(1, round(1000 / frames_per_second))
    options: dict[str, Any] = {"lossless": True}
    if kind == ".gif":  # in hundredths of a second, of which browsers take a single one, or none, for ten
        milliseconds, options = 10 * max(2, round(100 / frames_per_second)), {"disposal": 1}
    with file_where_asked(path) as file:
        pictures[0].save(
            file,
            kind[1:].upper(),
            save_all=True,
            append_images=pictures[1:],
            duration=milliseconds,
            loop=0,
            **options,
        )


def check_ffmpeg(path: Path) -> None:
    """Raise UsageError where `path` is to be an MP4, and ffmpeg is missing; before there are frames."""
    if path.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        name = quoted(path.name)
        raise UsageError(f"{name} needs ffmpeg, which is not on the PATH: install it, or write a .gif or .webp")


def _save_mp4(path: Path, pictures: list[Image.Image], frames_per_second: float) -> None:
    width, height = pictures[0].size
    frames = b"".join(np.asarray(picture.convert("RGB")).tobytes() for picture in pictures)
    with TemporaryDirectory() as folder:
        made = Path(folder, "film.mp4")  # which ffmpeg wants to go back and forth in, as in no pipe
        command = [
            *("ffmpeg", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24"),
            *("-s", f"{width}x{height}", "-r", f"{frames_per_second:g}", "-i", "-"),
            # Players want even sides, and colours at half resolution.
            *("-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", "-crf", "12", str(made)),
        ]
        done = subprocess.run(command, input=frames, capture_output=True, check=False)  # noqa: S603
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip().splitlines() or ["it gives no reason"]
            raise UsageError(f"ffmpeg cannot write {path.name}: {words[-1]}; write a .gif or .webp instead")
        with file_where_asked(path) as file:
            file.write(made.read_bytes())
