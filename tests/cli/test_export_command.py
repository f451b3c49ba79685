"""`equipoise export` and `import` as a person uses them, with what goes wrong."""

import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

from command import Command
from equipoise import Run
from equipoise.runs.checkpoint import FORMAT
from exporting.conftest import make_run as make_run  # noqa: PLC0414  # fixtures
from exporting.conftest import onnxruntime_web as onnxruntime_web  # noqa: PLC0414

MakeRun = Callable[..., Run]


def refused(done: "subprocess.CompletedProcess[str]", words: str) -> None:
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    message = " ".join(done.stderr.split())
    assert re.search(words, message), message


def test_it_says_what_it_wrote(make_run: MakeRun, within: Command, tmp_path: Path) -> None:
    make_run("classes")
    done = within("export", "run", "--format", "onnx", "--no-fp16", "--out", "deep/onnx")
    assert done.returncode == 0, done.stderr
    assert "generator.onnx" in done.stdout
    assert "largest difference" in done.stdout
    assert "deep/onnx" in done.stdout
    assert sorted(path.name for path in (tmp_path / "deep" / "onnx").iterdir()) == [
        "export.json",
        "generator-batch1.onnx",
        "generator.onnx",
    ]


def test_help_has_examples(within: Command) -> None:
    for command in ("export", "import"):
        done = within(command, "--help")
        assert done.returncode == 0
        assert f"equipoise {command} " in done.stdout


def test_into_a_folder_that_is_not_empty(make_run: MakeRun, within: Command, tmp_path: Path) -> None:
    make_run("autoencoder")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    refused(within("export", "run", "--out", "full"), "full is not an empty folder: choose another --out")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    refused(within("export", "run", "--out", "full/mine.txt"), "not an empty folder")
    refused(within("export", "run", "--out", "full/mine.txt/below"), "cannot write")
    (tmp_path / "empty").mkdir()
    assert within("export", "run", "--out", "empty").returncode == 0


def test_runs_that_cannot_be_exported(make_run: MakeRun, within: Command, tmp_path: Path) -> None:
    run = make_run("autoencoder")
    refused(within("export", "missing", "--out", "out"), "missing is not a run")
    refused(within("export", "run", "--out", "out", "--best"), "no best checkpoint")
    whole = run.checkpoints()[-1].read_bytes()
    newer = whole.replace(f'"format":"{FORMAT}"'.encode(), b'"format":"9"')
    assert newer != whole
    run.checkpoints()[-1].write_bytes(newer)
    refused(within("export", "run", "--out", "out"), "format 9.*use the version of equipoise.*: mend that")
    run.checkpoints()[-1].unlink()
    refused(within("export", "run", "--out", "out"), "no checkpoint that can be read")
    config = yaml.safe_load((run.path / "config.yaml").read_text())
    (run.path / "config.yaml").write_text(yaml.safe_dump(config | {"made_in_2030": 1}))
    refused(within("export", "run", "--out", "out"), "unknown key 'made_in_2030'")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_toys_are_not_exported(within: Command) -> None:
    words = ("--data", "ring8", "--images", "128", "--batch", "64", "--quiet", "--out", "toy")
    assert within("train", "gan", *words).returncode == 0
    refused(within("export", "toy", "--out", "out"), "points of the toy ring8")


def test_settings_that_do_not_go_together(make_run: MakeRun, within: Command, tmp_path: Path) -> None:
    make_run("filling")
    refused(within("export", "run", "--out", "out", "--what", "discriminator"), "--format onnx")
    refused(within("export", "run", "--out", "out", "--int8"), "--format onnx")
    words = ("export", "run", "--out", "out", "--what", "discriminator", "--format", "onnx", "--best")
    refused(within(*words), "without --best")
    refused(within("export", "run", "--out", "out", "--push", "me/it"), "add --format hub")
    refused(within("export", "run", "--out", "out", "--name", "Cats"), "--name is for .* --format web or hub")
    refused(within("export", "run", "--out", "out", "--format", "web", "--licence", "mit"), "add --format hub")
    refused(within("export", "run", "--out", "out", "--format", "onnx", "--scores", "a.json"), "add --format hub")
    refused(within("export", "run", "--out", "out", "--format", "web"), "fills in images")
    refused(within("export", "run", "--out", "out", "--format", "onnx", "--batch", "0"), "batch")
    refused(within("export", "run", "--out", "out", "--format", "gguf"), "format")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_without_the_extras_it_says_what_to_install(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("autoencoder")
    code = """
import sys
sys.modules["onnxruntime"] = sys.modules["huggingface_hub"] = None  # as where they are not installed
from equipoise.cli.main import main
print(main(["export", "run", "--format", "onnx", "--out", "a"]))
print(main(["export", "run", "--format", "hub", "--out", "b", "--push", "me/b"]))
print(main(["export", "run", "--format", "hub", "--out", "c"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert [line for line in done.stdout.split("\n") if line.isdigit()] == ["2", "2", "0"]
    assert "pip install 'equipoise[onnx]'" in done.stderr
    assert "pip install 'equipoise[hub]'" in done.stderr


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1048576", "none", str(folder)]
    if shutil.which("mount") is None or os.geteuid() != 0 or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("form", ["safetensors", "onnx", "hub", "web"])
def test_a_full_disk_keeps_nothing_half_written(
    make_run: MakeRun, within: Command, disk: Path, form: str, request: pytest.FixtureRequest
) -> None:
    if form == "web":
        request.getfixturevalue("onnxruntime_web")
    make_run("autoencoder")
    (disk / "filler").write_bytes(bytes(1048576 - 2 * 4096))
    refused(within("export", "run", "--format", form, "--out", disk / "out"), "No space left on device; make room")
    assert [path.name for path in disk.iterdir()] == ["filler"]


def test_ctrl_c_leaves_nothing(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("dcgan")
    words = [sys.executable, "-m", "equipoise", "export", "run", "--format", "onnx", "--out", "out"]
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not [path for path in tmp_path.iterdir() if path.name.startswith("out.")] and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_pickles_are_refused_without_warnings(
    within: Command, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"a": 1}))  # of a newer protocol than torch reads
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "script.pt")
    recwarn.clear()
    for name in ("plain.pkl", "script.pt"):
        refused(within("import", name, "--map", "dcgan-pytorch", "--out", "run"), "is no plain state dict")
        words = ("--images", "digits", "--reference", "digits", "--features", "inception", "--weights", name)
        refused(within("evaluate", *words), "is damaged or holds no weights|holds no named tensors|does not hold")
    assert not recwarn.list


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty: give network, shape and keys"),
        ("- a\n", "no mapping: give network, shape and keys"),
        ("{}", "network: field required$"),
        ("network: {name: dcgan}", "shape: field required$"),
        ("network: {name: dcgan}\nshape: [3, 64, 64]\nkeys: 3", "keys: "),
        ("a: [", "not valid YAML"),
    ],
)
def test_maps_that_are_none(within: Command, tmp_path: Path, text: str, said: str) -> None:
    torch.save({}, tmp_path / "netG.pth")
    (tmp_path / "map.yaml").write_text(text)
    refused(within("import", "netG.pth", "--map", "map.yaml", "--out", "run"), f"the map map.yaml.*{said}")


def test_import_and_what_is_refused(within: Command, tmp_path: Path) -> None:
    layer = torch.nn.ConvTranspose2d(100, 512, 4)
    torch.save({"main.0.weight": layer.weight}, tmp_path / "netG.pth")
    refused(within("import", "netG.pth", "--map", "dcgan-pytorch", "--out", "run"), "does not fit the map")
    refused(within("import", "netG.pth", "--map", "dcgan", "--out", "run"), "began-pytorch, dcgan-pytorch")
    refused(within("import", "none.pth", "--map", "dcgan-pytorch", "--out", "run"), "cannot read the weights")
    assert [path.name for path in tmp_path.iterdir()] == ["netG.pth"]
    network = {"name": "mlp", "latent": 2, "width": 3, "depth": 1}
    keys = {"a": "decoder.0", "b": "decoder.3"}
    torch.save(
        {"a.weight": torch.ones(3, 2), "a.bias": torch.ones(3), "b.weight": torch.ones(4, 3), "b.bias": torch.ones(4)},
        tmp_path / "small.pth",
    )
    (tmp_path / "map.yaml").write_text(yaml.safe_dump({"network": network, "shape": [1, 2, 2], "keys": keys}))
    done = within("import", "small.pth", "--map", "map.yaml", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "gray images of 2x2" in done.stdout
    assert within("sample", "run", "--count", "4", "--out", "grid.png").returncode == 0
    refused(within("import", "small.pth", "--map", "map.yaml", "--out", "run"), "not an empty folder")
    refused(within("resume", "run"), "training cannot go on")
