"""A run depends on its seed, configuration and data alone, and leaves its caller's state as it was."""

import os
import random
import signal
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import equipoise
from equipoise import Run, TrainConfig
from equipoise.runs.checkpoint import load


@pytest.fixture
def config(small: TrainConfig) -> TrainConfig:
    return small.with_changes(images=48, batch=16, log_every=16, sample_every=48, checkpoint_every=32)


def outcome(run: Run) -> tuple[dict[str, torch.Tensor], str]:
    return load(run.checkpoints()[-1])[0], (run.path / "metrics.jsonl").read_text()


def assert_same(one: Run, other: Run) -> None:
    (ours, lines), (theirs, other_lines) = outcome(one), outcome(other)
    assert lines == other_lines
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


class DefaultDtype:
    def __enter__(self) -> None:
        torch.set_default_dtype(torch.float64)

    def __exit__(self, *_: object) -> None:
        assert torch.get_default_dtype() == torch.float64, "the caller's own is as it was"
        torch.set_default_dtype(torch.float32)


OUTER: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "dtype": DefaultDtype,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "no-grad": torch.no_grad,
    "inference": torch.inference_mode,
    "device": lambda: torch.device("meta"),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[TrainConfig], Run]:
    runs: list[Run] = []

    def train(config: TrainConfig) -> Run:
        runs[:] = runs or [equipoise.train(config, tmp_path_factory.mktemp("plain") / "run", quiet=True)]
        return runs[0]

    return train


@pytest.mark.usefixtures("no_report")
@pytest.mark.parametrize("outer", OUTER)
def test_what_the_caller_has_set_reaches_no_run(
    outer: str, plain: Callable[[TrainConfig], Run], config: TrainConfig, tmp_path: Path
) -> None:
    whole = plain(config)
    with OUTER[outer]():
        run = equipoise.train(config.with_changes(images=32), tmp_path / "run", quiet=True)
        run = equipoise.resume(run.path, images=48, quiet=True)
        samples = equipoise.sample(run, 3)
        generator = equipoise.load_generator(run)
    assert torch.equal(samples, equipoise.sample(whole, 3))
    assert all(weight.requires_grad and not weight.is_inference() for weight in generator.parameters())
    ours, theirs = outcome(run)[0], outcome(whole)[0]
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def state() -> dict[str, Any]:
    """Everything global that a caller may rely on."""
    return {
        "random": random.getstate(),
        "numpy": [str(part) for part in np.random.get_state()],
        "torch": torch.random.get_rng_state().tolist(),
        "dtype": torch.get_default_dtype(),
        "threads of torch": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "benchmark": torch.backends.cudnn.benchmark,
        "products": torch.get_float32_matmul_precision(),
        "warnings": list(warnings.filters),
        "environment": dict(os.environ),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
        "files": len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0,  # noqa: PTH208
        "threads": threading.active_count(),
        "folder": Path.cwd(),
    }


def test_everything_is_found_as_it_was(config: TrainConfig, tmp_path: Path) -> None:
    run = equipoise.train(config, tmp_path / "first", quiet=True)  # what is imported only now stays
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    for name, call in {
        "train": lambda: equipoise.train(config, tmp_path / "second", quiet=True),
        "resume": lambda: equipoise.resume(run.path, images=64, quiet=True),
        "sample": lambda: equipoise.sample(run, 3),
        "load": lambda: equipoise.load_generator(run),
        "evaluate": lambda: equipoise.evaluate(
            run, features="pixels", metrics=("kid",), count=40, split="train", quiet=True
        ),
    }.items():
        before = state()
        call()
        after = state()
        assert {key: after[key] for key in after if after[key] != before[key]} == {}, name
