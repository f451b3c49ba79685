import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from command import Command
from equipoise.cli.main import main
from equipoise.config.presets import PRESETS
from equipoise.config.train_config import TrainConfig
from equipoise.devices import available_cores
from equipoise.networks import Autoencoder
from equipoise.training import recorder

if TYPE_CHECKING:
    from zygote import Zygote

pytest_plugins = ["precision", "browsing"]

# Under `nohup`, or in the background of a script, these are ignored, and what the tests start would ignore them too.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

# Small tensors, and tests side by side: more threads only wait for each other. What tests start has one, too.
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What `-n auto` means: one more than cores, as tests also wait, for processes, servers and pages."""
    return available_cores() + 1


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that a test packs stays in the user's cache; the tests share one of their own."""
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Zygote]":
    """Starts the command in forks, for all tests, as it takes seconds to start."""
    from zygote import Zygote  # only now, when pytest has made its asserts tell more

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        with Zygote() as started:
            yield started


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of which it is no part: a report takes longer than their trainings."""
    monkeypatch.setattr(recorder, "write_report", lambda folder: None)


@pytest.fixture(scope="session")
def small() -> TrainConfig:
    """A run of a few seconds: the paper's networks, 4 wide, for 10 steps of 16 digits."""
    return PRESETS["began"]["remedies"].with_changes(
        network=Autoencoder(width=4, latent=8),
        resolution=16,
        lr=2e-4,
        images=160,
        log_every=32,
        sample_every=80,
        checkpoint_every=80,
        ema=100,
        precision="fp32",
        device="cpu",
    )


@pytest.fixture
def within(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command's entry point without a new process, which would spend seconds on importing torch."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> "subprocess.CompletedProcess[str]":
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return subprocess.CompletedProcess(words, code, *capsys.readouterr())

    return run


@pytest.fixture
def equipoise(tmp_path: Path) -> Command:
    """The real command, in a process and a folder of its own."""

    def run(*words: object, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
        importlib.import_module("precision").note_command(*words)
        return subprocess.run(
            [sys.executable, "-m", "equipoise", *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
