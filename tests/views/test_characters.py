"""Names and streams that are not UTF-8: what is printed never ends in a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from equipoise import Scores
from equipoise.views import characters

LATIN = os.fsdecode("café".encode("latin-1"))


@pytest.mark.parametrize(
    ("text", "encoding", "written"),
    [
        ("γ ± 2 × 3 …", "ascii", b"gamma +- 2 x 3 ..."),
        ("γ ± 2", "cp1252", b"gamma \xb1 2"),
        (LATIN, "utf-8", "café".encode("latin-1")),
        (LATIN, "ascii", "café".encode("latin-1")),
        ("日本\ud800", "ascii", b"???"),
        ("日本\ud800", "utf-8", "日本?".encode()),
    ],
)
def test_text_becomes_what_a_stream_can_write(text: str, encoding: str, written: bytes) -> None:
    assert text.encode(encoding, characters.PLAIN) == written


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_results_are_printed_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    scores = Scores(
        {"kid": {"value": 0.1, "spread": 0.01}},
        {"name": f"γ {LATIN} 日本", "count": 20, "beside": "b"},
        {"reference": {"identity": "x", "count": 20, "split": "all"}},
    )
    code = f"from equipoise.views.characters import write_anything\nwrite_anything()\nprint({str(scores)!a})"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"0.1 " in done.stdout
    assert b"0.01" in done.stdout


def test_no_color_is_honoured_by_help() -> None:
    """On a terminal, where tyro colours its help."""
    for environment, coloured in (({"NO_COLOR": ""}, True), ({"NO_COLOR": "1"}, False)):
        told = on_a_terminal({**os.environ, "TERM": "xterm", **environment}, "resume", "--help")
        assert b"Continue a run" in told
        assert (b"\x1b[1m" in told) == coloured, environment


def on_a_terminal(environment: dict[str, str], *words: str) -> bytes:
    import pty

    master, slave = pty.openpty()
    command = [sys.executable, "-m", "equipoise", *words]
    with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        told = b""
        while piece := _read(master):
            told += piece
        assert process.wait() == 0
    os.close(master)
    return told


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # its other side is closed
        return b""


def test_a_run_of_names_that_are_no_text(tmp_path: Path) -> None:
    """Data and run in folders of another encoding: trained, resumed, sampled, evaluated, reported."""
    data, run = tmp_path / LATIN / "photos", f"{LATIN}-run"
    for number in range(40):
        file = data / ("a" if number % 2 else LATIN) / f"{number}-{LATIN}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (16, 16), number * 6).save(file)
    (data / "a" / f"broken-{LATIN}.png").write_bytes(b"no image")
    small = ["--resolution", "16", "--width", "2", "--latent", "2", "--images", "16", "--batch", "8", "--device", "cpu"]
    commands = [
        ["train", "began", "--preset", "default", "--data", str(data), *small, "--out", run],
        ["resume", run, "--images", "24"],
        ["sample", run, "--out", f"{LATIN}.png"],
        [
            "evaluate",
            "--images",
            str(data),
            "--reference",
            str(data),
            "--features",
            "pixels",
            "--json",
            f"{LATIN}.json",
        ],
        ["compare", f"{LATIN}.json", f"{LATIN}.json"],
        ["data", "inspect", str(data), "--out", f"{LATIN}-sheet.png"],
    ]
    code = f"from equipoise.cli.main import main\nfor words in {commands!a}: assert main(words) == 0, words"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert "café-run".encode("latin-1") in done.stdout
    for name in ("report.html", "curves.png", "config.yaml"):
        assert (tmp_path / run / name).is_file()
