"""The command line as a person uses it, in any order: train, kill, edit, move, resume, sample, evaluate, delete.

Whatever was done before, a command ends with a documented exit code and, where it refuses, in one sentence; nothing is
written outside; and a run whose configuration is as it was has the weights at its end that one never touched has.
"""

import os
import shutil
import signal
import time
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from equipoise import Autoencoder, TrainConfig
from equipoise.config.train_config import write_yaml
from equipoise.runs.checkpoint import load
from zygote import Zygote

CONFIG = TrainConfig(
    network=Autoencoder(width=2, latent=3),
    resolution=16,
    images=96,
    batch=8,
    log_every=16,
    sample_every=32,
    checkpoint_every=16,
    precision="fp32",
    device="cpu",
)
CODES = {0, 1, 2, 130, 141, 143}
LAST = f"checkpoints/{CONFIG.images:012d}.safetensors"
JUNK = st.sampled_from(
    ["", "[", "\0", "images: null\n", "seed: 1\n", "batch: 0\n", "x: &a [*a]\n", '{"images": null}\n']
)


class CommandLine(RuleBasedStateMachine):
    """One folder with at most one run, under any name.

    What is on the disk after a kill depends on the clock, so it decides on nothing that hypothesis draws: no
    preconditions, and a rule that finds nothing to work on does nothing.
    """

    zygote: ClassVar[Zygote]
    parent: ClassVar[Path]
    whole: ClassVar[Path]

    @initialize()
    def begin(self) -> None:
        shutil.rmtree(self.parent / "work", ignore_errors=True)
        self.work = self.parent / "work"
        self.work.mkdir()
        (self.work / "run.yaml").write_text(write_yaml(CONFIG, {}))
        self.name = "run"
        self.as_it_was = True  # the run's configuration
        self.outside = self.listing()

    @property
    def run_folder(self) -> Path:
        return self.work / self.name

    def listing(self) -> list[tuple[str, int]]:
        """Every file beside the folder that is worked in."""
        files = (path for path in self.parent.rglob("*") if not path.is_relative_to(self.work))
        return sorted(
            (str(path), path.stat().st_size) for path in files if path.is_file() and "cache" not in path.parts
        )

    def command(self, *words: object, end: tuple[float, int] | None = None) -> int:
        """Run a command, ended by a signal after some seconds if `end` says so; whatever happens is checked."""
        process = self.zygote.start(*words, cwd=self.work)
        if end is not None:
            time.sleep(end[0])
            process.kill(end[1])
        code, told = process.wait()
        killed = end is not None and code == -end[1]
        assert killed or code in CODES, (words, code, told)
        assert "Traceback" not in told, (words, told)
        if code == 2:
            assert told.startswith("equipoise: "), (words, told)
            assert told.count("\n") == 1, (words, told)
        return code

    def check_weights(self) -> None:
        if self.as_it_was:
            ours, theirs = load(self.run_folder / LAST)[0], load(self.whole / LAST)[0]
            assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())

    @rule()
    def train(self) -> None:
        taken = self.run_folder.exists() and any(self.run_folder.iterdir())
        code = self.command("train", "--config", "run.yaml", "--out", self.name, "--quiet")
        assert code == 2 if taken else code in CODES, (code, taken)
        if code == 0:
            self.as_it_was = True
            self.check_weights()

    @rule(
        seconds=st.floats(0, 1.5),
        number=st.sampled_from([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]),
        resume=st.booleans(),
    )
    def train_and_kill(self, seconds: float, number: int, resume: bool) -> None:
        new = not (self.run_folder / "config.yaml").exists()
        words = ("resume", self.name) if resume else ("train", "--config", "run.yaml", "--out", self.name)
        self.command(*words, "--quiet", end=(seconds, number))
        self.as_it_was = self.as_it_was or (new and not resume)

    @rule()
    def resume(self) -> None:
        if self.command("resume", self.name, "--quiet") == 0:
            self.check_weights()

    @rule()
    def train_or_resume(self) -> None:
        new = not (self.run_folder / "config.yaml").exists()
        if self.command("train", "--config", "run.yaml", "--out", self.name, "--resume-if-exists", "--quiet") == 0:
            self.as_it_was = self.as_it_was or new
            self.check_weights()

    @rule(
        count=st.sampled_from([1, 5]), out=st.sampled_from(["grid.png", "a.npz", "pictures", "run.yaml", "/dev/null"])
    )
    def sample(self, count: int, out: str) -> None:
        text = (self.work / "run.yaml").read_bytes()
        self.command("sample", self.name, "--count", count, "--out", out)
        assert (self.work / "run.yaml").read_bytes() == text

    @rule(count=st.sampled_from([3, 20]))
    def evaluate(self, count: int) -> None:
        words = ("--features", "pixels", "--metrics", "kid", "--json", "scores.json", "--quiet")
        if self.command("evaluate", self.name, "--count", count, *words) == 0:
            assert self.command("compare", "scores.json", "scores.json") == 0

    @rule(name=st.sampled_from(["run", "moved", "näme", "deep/er"]))
    def move(self, name: str) -> None:
        if self.run_folder.exists() and not (self.work / name).exists():
            (self.work / name).parent.mkdir(parents=True, exist_ok=True)
            self.run_folder.rename(self.work / name)
            self.name = name

    @rule(file=st.sampled_from(["config.yaml", "metrics.jsonl", "events.jsonl"]), junk=JUNK, add=st.booleans())
    def edit(self, file: str, junk: str, add: bool) -> None:
        path = self.run_folder / file
        if not self.run_folder.exists():
            return
        before = path.read_text() if path.is_file() else ""
        path.write_text(before + junk if add else junk)
        if file == "config.yaml":
            self.as_it_was = False

    @rule(name=st.sampled_from(["best-x.safetensors", "1 copy.safetensors", "000000000096.safetensors", ".a.tmp"]))
    def leave_something(self, name: str) -> None:
        path = self.run_folder / "checkpoints" / name
        if path.parent.exists() and not os.path.lexists(path):
            os.mkfifo(path)

    @rule(number=st.integers(0, 999), cut=st.booleans())
    def delete_or_cut(self, number: int, cut: bool) -> None:
        files = sorted(path for path in self.run_folder.rglob("*") if path.is_file() and path.name != ".lock")
        if not files:
            return
        file = files[number % len(files)]
        if file.name == "config.yaml":
            self.as_it_was = False
        if cut:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        else:
            file.unlink()

    @invariant()
    def nothing_outside(self) -> None:
        if hasattr(self, "outside"):
            assert self.listing() == self.outside


@pytest.fixture(scope="module")
def machine(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> type[CommandLine]:
    parent = tmp_path_factory.mktemp("machine")
    (parent / "run.yaml").write_text(write_yaml(CONFIG, {}))
    code, told = zygote.run("train", "--config", "run.yaml", "--out", "whole", "--quiet", cwd=parent)
    assert code == 0, told
    CommandLine.zygote, CommandLine.parent, CommandLine.whole = zygote, parent, parent / "whole"
    return CommandLine


def lasting(examples: int, steps: int, *, fixed: bool) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=fixed,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


def test_commands_in_any_order(machine: type[CommandLine]) -> None:
    run_state_machine_as_test(machine, settings=lasting(3, 8, fixed=True))


@pytest.mark.long
def test_commands_in_any_order_at_length(machine: type[CommandLine]) -> None:
    run_state_machine_as_test(machine, settings=lasting(60, 25, fixed=False))
