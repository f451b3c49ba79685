"""Places to write to that cannot be written: below a file, a folder in the way, another's folder, a full disk.

Each command says it in a sentence, and leaves nothing half-written; most before their work, which may be long.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command import Command
from equipoise import Run, TrainConfig, train
from permissions import run_obeying_permissions
from zygote import Zygote

TINY = "--resolution 16 --width 4 --images 64 --log-every 32 --batch 16 --quiet"
COMMANDS = {
    "train": f"train gan {TINY} --out T/x",
    "sample": "sample RUN --out T/x.png",
    "sample, an array": "sample RUN --out T/x.npz",
    "sample, a folder": "sample RUN --out T/x",
    "sample, a traversal": "sample RUN --traverse 0 --out T/x.png",
    "interpolate": "interpolate RUN photos --fast --frames 3 --out T/x.webp",
    "invert": "invert RUN photos --fast --out T/x",
    "reconstruct": "reconstruct RUN photos --out T/x.png",
    "outliers, a table": "outliers RUN --csv T/x.csv",
    "outliers, a sheet": "outliers RUN --sheet T/x.png",
    "export": "export RUN --format safetensors --out T/x",
    "evaluate": "evaluate RUN --count 20 --draws 1 --metrics ms-ssim --json T/x.json",
    "evaluate, suspects": "evaluate RUN --count 20 --draws 1 --metrics ms-ssim --suspects T/x.png",
    "study": "study --objectives gan --budget 640 --seeds 1 --set resolution=16 width=4 log-every=64 "
    "--count 20 --out T/x",
    "bench": "bench --objective gan --json T/x.json",
    "data inspect": "data inspect photos --out T/x.png",
    "data pack": "data pack photos --resolution 16 --out T/x.npy",
    "suggest": "suggest photos --json T/x.json",
}
LATE = {"bench", "study", "suggest"}  # which work for long before they write, and are tried on a full disk elsewhere


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("places")
    network = {"name": "autoencoder", "width": 4, "latent": 8}
    settings = {"resolution": 16, "images": 32, "batch": 16, "precision": "fp32", "device": "cpu", "network": network}
    train(TrainConfig.from_dict(settings), folder / "run", quiet=True)
    (folder / "photos").mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (60, 16, 16), dtype=np.uint8)):
        Image.fromarray(pixels).save(folder / "photos" / f"{number:02d}.png")
    return folder / "run"


def words(name: str, run: Path) -> list[str]:
    given = COMMANDS[name].replace("RUN", str(run)).replace("photos", str(run.with_name("photos")))
    return given.split()


def refused(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 2, done.stderr
    message = done.stderr.strip()
    assert len(message.splitlines()) == 1, message
    assert message.startswith("equipoise: ")
    return message


@pytest.mark.parametrize("name", COMMANDS)
def test_below_a_file(name: str, within: Command, run: Path, tmp_path: Path) -> None:
    (tmp_path / "T").write_text("kept")
    message = refused(within(*words(name, run)))
    assert "T/x" in message
    assert "no folder" in message or "Not a directory" in message
    assert [path.name for path in tmp_path.iterdir()] == ["T"]
    assert (tmp_path / "T").read_text() == "kept"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_in_the_way(name: str, within: Command, run: Path, tmp_path: Path) -> None:
    out = Path(words(name, run)[-1])
    (tmp_path / out / "inside").mkdir(parents=True)
    message = refused(within(*words(name, run)))
    assert str(out) in message
    assert "choose another" in message
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(["T", out.name, "inside"])


IN_ANOTHERS_FOLDER = """
import sys
from equipoise.cli.main import main
for line in sys.stdin.read().splitlines():
    code = main(line.split())
    print(code, file=sys.stderr)
"""


def test_in_anothers_folder(run: Path, tmp_path: Path) -> None:
    """By all commands in one process, which may do what permissions say."""
    (tmp_path / "T").mkdir(mode=0o500)
    lines = "\n".join(" ".join(words(name, run)) for name in COMMANDS)
    done = run_obeying_permissions("-c", IN_ANOTHERS_FOLDER, cwd=tmp_path, stdin=lines)
    told = done.stderr.splitlines()
    assert told[1::2] == ["2"] * len(COMMANDS), done.stderr
    for message in told[::2]:
        assert "T/x" in message
        assert "may not be written" in message or "Permission denied" in message
    assert list((tmp_path / "T").iterdir()) == []


@pytest.mark.parametrize("words", ["outliers RUN --csv data.npy", "evaluate RUN --json ./data.npy"])
def test_a_runs_own_data_are_not_written_over(words: str, within: Command, tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", np.zeros((4, 16, 16), np.uint8))
    kept = (tmp_path / "data.npy").read_bytes()
    Run.create(tmp_path / "run", TrainConfig(data=str(tmp_path / "data.npy"), resolution=16))
    assert "is among what is given" in refused(within(*words.replace("RUN", "run").split()))
    assert (tmp_path / "data.npy").read_bytes() == kept


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_command_that_is_ended_leaves_nothing_under_the_name(
    number: signal.Signals, zygote: Zygote, run: Path, tmp_path: Path
) -> None:
    """As by a terminal that is closed, outside of training, which writes a checkpoint first."""
    process = zygote.start("sample", run, "--count", 5000, "--out", "pictures", cwd=tmp_path)
    while not list(tmp_path.glob("pictures.*.partial/*.png")):
        assert process.alive, process.output.read_text()
        time.sleep(0.01)
    process.kill(number)
    code, told = process.wait()
    assert code == -number  # which a shell reports as 128 + the signal's number
    assert "Traceback" not in told
    assert not (tmp_path / "pictures").exists()
    for left in tmp_path.glob("*.partial"):
        os.utime(left, (0, 0))  # long ago, by when nobody writes it any more
    assert zygote.run("sample", run, "--count", 2, "--out", "pictures", cwd=tmp_path)[0] == 0
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["0.png", "1.png"]
    assert not list(tmp_path.glob("*.partial"))


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB, of which some bytes are left."""
    folder = tmp_path / "T"
    folder.mkdir()
    if not shutil.which("mount") or os.geteuid() != 0:
        pytest.skip("only root may mount a small disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here")
    with (folder / "filler").open("wb") as file:
        file.write(bytes(shutil.disk_usage(folder).free - 4096))
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in LATE])
def test_on_a_full_disk(name: str, within: Command, run: Path, full: Path) -> None:
    done = within(*words(name, run))
    if done.returncode == 0:  # a little file has found room
        return
    message = refused(done)
    assert "No space left on device" in message
    left = {path.name for path in full.rglob("*") if path.is_file()} - {"filler"}
    if name == "train":  # as far as a run was begun, it goes on when there is room
        (full / "filler").unlink()
        again = ["resume", full / "x", "--quiet"] if "then resume" in message else words(name, run)
        assert within(*again).returncode == 0
    elif name == "invert":  # what is done is kept
        assert left <= {"00000.png"}
    else:
        assert not left
        assert not (full / "x").exists()


@pytest.mark.long
def test_a_study_on_a_full_disk_goes_on_when_there_is_room(within: Command, run: Path, full: Path) -> None:
    message = refused(within(*words("study", run), "--quiet"))
    assert "No space left on device" in message
    begun = (full / "x" / "study.yaml").exists()
    assert ("then go on with `equipoise study T/x`" if begun else "then start the study again") in message
    (full / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=64m", full], check=True)
    again = ["study", "T/x"] if begun else words("study", run)
    assert within(*again, "--quiet").returncode == 0
    assert (full / "x" / "report.html").exists()
