"""The pages of docs/how-to: each is followed to the letter in a copy of equipoise.

In a page, a block of Python whose first line names a file is that file, a diff changes the file that it names, and
blocks of `sh` are commands.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from precision import note_command

PROJECT = Path(__file__).parents[1]
PAGES = PROJECT / "docs/how-to"

RUN_COMMANDS = """
import sys
from equipoise.cli.main import main

for line in sys.stdin:
    print("$", line, end="", flush=True)
    try:
        code = main(line.split()[1:])
    except SystemExit as stop:
        code = stop.code
    print("exit code", code or 0, flush=True)
"""


def python(*words: str, folder: Path, source: Path, text: str = "") -> str:
    """Output of Python in a folder, with equipoise from `source`; it must succeed."""
    environment = {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, **environment},
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class Copy:
    """A copy of equipoise, changed as a page says.

    Attributes:
        folder: of the copy, in which commands run.
        page: text of the page.
        files: that the page adds or changes.
    """

    def __init__(self, folder: Path, page: str) -> None:
        self.folder, self.page = folder, (PAGES / f"{page}.md").read_text()
        # With what is compiled of the package, which is as old as its files; pytest's own is of another folder.
        shutil.copytree(PROJECT / "src", folder / "src")
        shutil.copytree(PROJECT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(PROJECT / "pyproject.toml", folder)
        self.files: list[str] = []
        for block in self.blocks("python"):
            if block.startswith("# src/"):
                name, _, code = block.partition("\n")
                self.add(name.removeprefix("# "), code)
        for block in self.blocks("diff"):
            name, *hunks = block.split("@@\n")
            self.change(name.strip().removeprefix("--- "), hunks)

    def blocks(self, language: str) -> list[str]:
        """Contents of the page's fenced blocks of a language."""
        return re.findall(rf"^```{language}\n(.*?)^```", self.page, flags=re.M | re.S)

    def add(self, name: str, code: str) -> None:
        """Write a new file of the copy."""
        assert not (self.folder / name).exists(), name
        (self.folder / name).write_text(code)
        self.files.append(name)

    def change(self, name: str, hunks: list[str]) -> None:
        """Apply the hunks of a diff to a file of the copy, each at the only place that it fits."""
        file = self.folder / name
        text = file.read_text()
        for hunk in hunks:
            lines = hunk.splitlines(keepends=True)
            before = "".join(line[1:] for line in lines if line[0] != "+")
            after = "".join(line[1:] for line in lines if line[0] != "-")
            assert text.count(before) == 1, f"{name}: {before}"
            text = text.replace(before, after)
        file.write_text(text)
        self.files.append(name)

    def python(self, *words: str, text: str = "") -> str:
        """Output of Python in the copy, which must succeed."""
        return python(*words, folder=self.folder, source=self.folder / "src", text=text)

    def lint(self) -> None:
        """Check style and format of the files, by the project's own rules."""
        self.python("-m", "ruff", "check", "--no-cache", *self.files)
        self.python("-m", "ruff", "format", "--check", "--no-cache", *self.files)

    def commands(self, more: str = "") -> list[str]:
        """Outputs of the page's commands and `more`, run in one process, each with its exit code at the end.

        One process, as each would spend seconds on importing torch.
        """
        lines = "".join(self.blocks("sh")).replace("\\\n", "") + more
        for line in lines.splitlines():
            note_command(*line.split()[1:])
        outputs = re.split(r"^\$ .*\n", self.python("-c", RUN_COMMANDS, text=lines), flags=re.M)
        return [" ".join(output.split()) for output in outputs[1:]]

    def rows(self, run: str) -> list[dict[str, float]]:
        """Measures of a run."""
        return [json.loads(line) for line in (self.folder / run / "metrics.jsonl").read_text().splitlines()]


def succeeded(*outputs: str) -> bool:
    return all(output.endswith("exit code 0") for output in outputs)


def test_objective(tmp_path: Path) -> None:
    copy = Copy(tmp_path / "copy", "objective")
    copy.lint()
    objectives, settings, train, sample = copy.commands()
    assert succeeded(objectives, settings, train, sample)
    assert "hinge default, toy" in objectives
    assert "equipoise train hinge" in settings
    config = (copy.folder / "runs/hinge/config.yaml").read_text()
    for setting in ("name: hinge", "update: alternating", "beta1: 0.0", "beta2: 0.9"):  # the recipe's, and the default
        assert setting in config
    assert copy.rows("runs/hinge")[-1]["images"] == 320
    assert {"score_real", "score_fake"} <= {name for row in copy.rows("runs/hinge") for name in row}


def test_objective_in_a_program_of_its_own(tmp_path: Path) -> None:
    """In equipoise as it is; afterwards the run is found again under the objective's name."""
    file, program = Copy(tmp_path / "copy", "objective").blocks("python")
    code = [file, program, "assert equipoise.Run.open(run.path).config == run.config, run.config"]
    code += ["assert run.config.objective_name == 'hinge'", "assert run.rows()[-1]['images'] == 320"]
    note_command("train")
    python("-c", "\n".join(code), folder=tmp_path, source=PROJECT / "src")


def test_objective_takes_a_dozen_lines(tmp_path: Path) -> None:
    file, _ = Copy(tmp_path / "copy", "objective").blocks("python")
    body = file[file.index("class ") :]
    assert len([line for line in body.splitlines() if line.strip()]) <= 12


def test_objective_passes_the_tests_of_its_family(tmp_path: Path) -> None:
    copy = Copy(tmp_path / "copy", "objective")
    output = copy.python("-m", "pytest", "tests/test_family.py", "-k", "hinge", "-vv")
    for test in ("test_losses_equal_the_reference_values", "test_step_equals_the_reference"):
        assert re.search(rf"{test}\[.*hinge\] PASSED", output), output


@pytest.mark.parametrize("name", ["a_hinge", "zigzag"])
def test_objective_may_have_any_file_name(tmp_path: Path, name: str) -> None:
    """It is imported in the middle of its package's import, first or last; neither is a circle."""
    copy = Copy(tmp_path / "copy", "objective")
    room = copy.folder / "src/equipoise/objectives"
    (room / "hinge.py").rename(room / f"{name}.py")
    package = room / "__init__.py"
    package.write_text(package.read_text().replace("objectives.hinge", f"objectives.{name}"))
    copy.python("-m", "ruff", "check", "--no-cache", "--fix", str(package))  # sorts the imports
    assert copy.python("-c", "from equipoise.objectives import OBJECTIVES; print(OBJECTIVES['hinge'].__module__)") == (
        f"equipoise.objectives.{name}\n"
    )


def test_metric(tmp_path: Path) -> None:
    copy = Copy(tmp_path / "copy", "metric")
    copy.lint()
    noise = np.random.default_rng(0).integers(0, 256, (100, 16, 16), dtype=np.uint8)
    np.save(copy.folder / "samples.npy", noise)
    np.save(copy.folder / "others.npy", np.tile(noise[:1], (100, 1, 1)))
    default, *by_name, comparison = copy.commands()
    assert succeeded(default, *by_name, comparison)
    assert "two-sample" in default
    assert "fid" in default
    a, b = (json.loads((copy.folder / f"{name}.json").read_text()) for name in "ab")
    assert "fid" not in a
    assert a["two-sample"] == b["two-sample"] == 1.0  # noise is unlike digits
    assert "two-sample 1 lower is better accuracy of a nearest-neighbour classifier" in by_name[0]
    assert "two-sample 1 1" in comparison


def test_metric_of_known_sets(tmp_path: Path) -> None:
    """0.5 for sets of one distribution, 0 for a set and its copy, 1 for sets far apart."""
    copy = Copy(tmp_path / "copy", "metric")
    code = """
import torch
from equipoise.metrics.two_sample import two_sample_accuracy as accuracy

x, y = torch.randn(2, 2000, 4, generator=torch.Generator().manual_seed(0))
print(accuracy(x, x), accuracy(x, y + 100), accuracy(x, y))
"""
    equal, apart, alike = map(float, copy.python("-c", code).split())
    assert (equal, apart) == (0, 1)
    assert alike == pytest.approx(0.5, abs=0.05)


def test_data_source(tmp_path: Path) -> None:
    copy = Copy(tmp_path / "copy", "data-source")
    copy.lint()
    folder = copy.folder / "stl10"
    folder.mkdir()
    np.random.default_rng(0).integers(0, 256, 60 * 3 * 96 * 96, dtype=np.uint8).tofile(folder / "train_X.bin")
    (np.arange(60, dtype=np.uint8) % 10 + 1).tofile(folder / "train_y.bin")
    (folder / "unlabeled_X.bin").write_bytes((folder / "train_X.bin").read_bytes())
    (folder / "test_X.bin").write_bytes(b"cut short")
    others = "equipoise data inspect stl10/unlabeled_X.bin\nequipoise data inspect stl10/test_X.bin\n"
    inspect, train, unlabeled, damaged = copy.commands(others)
    assert succeeded(inspect, train, unlabeled)
    for output in (inspect, unlabeled):
        assert "60 of 60 images" in output
        assert "sizes 96x96" in output
    assert "classes 10" in inspect
    assert "classes" not in unlabeled
    assert re.search("damaged.* exit code 2$", damaged)
    assert copy.rows("runs/stl10")[-1]["images"] == 64


def test_data_source_arranges_the_pixels(tmp_path: Path) -> None:
    """Planes of red, green and blue, each column by column."""
    copy = Copy(tmp_path / "copy", "data-source")
    code = """
from pathlib import Path
import numpy as np
from equipoise.data.sources import find_source

image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
Path("train_X.bin").write_bytes(b"".join(image[:, :, channel].T.tobytes() for channel in range(3)) * 2)
with find_source(Path("train_X.bin")).contents() as contents:
    print(len(contents.names), (contents.read(1) == image).all())
"""
    assert copy.python("-c", code) == "2 True\n"


def test_network(tmp_path: Path) -> None:
    copy = Copy(tmp_path / "copy", "network")
    copy.lint()
    settings, train, sample = copy.commands()
    assert succeeded(settings, train, sample)
    assert "Channels of every layer" in settings
    config = (copy.folder / "runs/upsampling/config.yaml").read_text()
    assert "name: upsampling" in config
    assert "width: 8" in config
    with np.load(copy.folder / "samples.npz") as samples:
        assert [samples[name].shape[0] for name in samples.files] == [4]


def test_network_passes_the_tests_of_networks(tmp_path: Path) -> None:
    copy = Copy(tmp_path / "copy", "network")
    output = copy.python("-m", "pytest", "tests/networks/test_networks.py", "-k", "upsampling or registry", "-vv")
    assert output.count("PASSED") > 10
    assert "test_the_names_are_those_of_the_registry PASSED" in output


def test_command(tmp_path: Path) -> None:
    copy = Copy(tmp_path / "copy", "command")
    copy.lint()
    general, own, train, measures, missing = copy.commands()
    assert succeeded(general, own, train, measures)
    assert "measures RUN print the latest measures of a run" in general
    assert "Number of rows, the latest one last" in own
    assert measures.count("images ") == 2
    assert "images 128" in measures
    assert re.search(r"runs/missing is not a run.* exit code 2$", missing)
