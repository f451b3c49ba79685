"""For every objective: a run that was killed anywhere and resumed equals one that never was, to the bit."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import equipoise
from equipoise import Run, TrainConfig
from equipoise.config.train_config import write_yaml
from equipoise.objectives import OBJECTIVES
from equipoise.runs.checkpoint import load
from equipoise.training import loop
from zygote import Zygote

pytestmark = pytest.mark.usefixtures("no_report")

IMAGES = 96
KILLS = (20, 52, 76)  # between checkpoints, lines and samples, which are every 32, 12 and 48 images


class KilledError(Exception):
    pass


@pytest.fixture
def dies_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Let training die before the step that begins at so many images."""
    make_batch = loop.make_batch

    def arm(images: int | None) -> None:
        def dying(config: TrainConfig, feed: Any, position: int, *rest: Any) -> Any:
            if images is not None and position >= images:
                raise KilledError
            return make_batch(config, feed, position, *rest)

        monkeypatch.setattr(loop, "make_batch", dying)

    return arm


def config(objective: str, **changes: Any) -> TrainConfig:
    """A run of some 20 steps with the objective's own settings, but the smallest networks."""
    given = TrainConfig(objective=OBJECTIVES[objective]())
    narrow = {field.name: 4 for field in fields(given.network) if field.name in {"width", "latent"}}  # type: ignore[arg-type]
    settings: dict[str, Any] = {
        "network": replace(given.network, **narrow),  # type: ignore[type-var]
        "resolution": 16,
        "images": IMAGES,
        "batch": 4,
        "warmup": 40,
        "lr_window": 16,
        "lr_patience": 1,
        "log_every": 12,
        "sample_every": 48,
        "checkpoint_every": 32,
        "ema": 50,
        "precision": "fp32",
        "device": "cpu",
    }
    return given.with_changes(**settings | changes)


def assert_same(ours: Path, theirs: Path) -> None:
    """Weights, averages, moments, objective state, learning rate, metrics and samples."""
    (tensors, facts), (wanted, known) = (load(Run.open(path).checkpoints()[-1]) for path in (ours, theirs))
    assert facts == known
    assert facts["images"] == IMAGES
    assert tensors.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert torch.equal(tensors[name], tensor), name
    for pattern in ("metrics.jsonl", "samples/*.png"):
        found, there = ([path.read_bytes() for path in sorted(run.glob(pattern))] for run in (ours, theirs))
        assert found == there, pattern
    assert len(list((ours / "samples").iterdir())) == 3


def go_on(settings: TrainConfig, folder: Path, *, begun: bool) -> None:
    _ = equipoise.resume(folder, quiet=True) if begun else equipoise.train(settings, folder, quiet=True)


@pytest.mark.parametrize(
    ("objective", "precision"),
    [(objective, "fp32") for objective in OBJECTIVES]
    + [pytest.param(name, "bf16", marks=[] if name == "began" else pytest.mark.long) for name in OBJECTIVES],
)
def test_one_process(tmp_path: Path, objective: str, precision: str, dies_at: Callable[[int | None], None]) -> None:
    settings = config(objective, precision=precision)
    dies_at(None)
    equipoise.train(settings, tmp_path / "whole", quiet=True)
    for attempt, images in enumerate(KILLS):
        dies_at(images)
        with pytest.raises(KilledError):
            go_on(settings, tmp_path / "run", begun=attempt > 0)
    dies_at(None)
    equipoise.resume(tmp_path / "run", quiet=True)
    assert_same(tmp_path / "run", tmp_path / "whole")


def test_the_comparison_can_fail(tmp_path: Path) -> None:
    """Another seed, which is another run, is seen to be one."""
    for seed in (0, 1):
        equipoise.train(config("began", seed=seed), tmp_path / str(seed), quiet=True)
    with pytest.raises(AssertionError):
        assert_same(tmp_path / "0", tmp_path / "1")


# Two processes, as torchrun starts them


def run_both(zygote: Zygote, folder: Path, *words: str) -> None:
    for process in zygote.ranks(2, *words, cwd=folder):
        code, told = process.wait()
        assert code == 0, told


def two_processes(zygote: Zygote, folder: Path, objective: str, precision: str) -> None:
    settings = config(objective, precision=precision)
    for name, images in (("whole", IMAGES), ("part", 44)):
        (folder / f"{name}.yaml").write_text(write_yaml(settings.with_changes(images=images), {}))
    run_both(zygote, folder, "train", "--config", "whole.yaml", "--out", "whole", "--quiet")
    # killed at 44 images: what was logged there goes, as it does after a kill, when the last checkpoint does
    run_both(zygote, folder, "train", "--config", "part.yaml", "--out", "run", "--quiet")
    (folder / "run" / "checkpoints" / f"{44:012d}.safetensors").unlink()
    run_both(zygote, folder, "resume", "run", "--images", str(IMAGES), "--quiet")
    assert_same(folder / "run", folder / "whole")


@pytest.mark.parametrize("objective", ["began", pytest.param("wgan-gp", marks=pytest.mark.long)])
def test_two_processes(zygote: Zygote, tmp_path: Path, objective: str) -> None:
    two_processes(zygote, tmp_path, objective, "fp32")


@pytest.mark.long
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_two_processes_whatever_they_play_for(zygote: Zygote, tmp_path: Path, objective: str, precision: str) -> None:
    two_processes(zygote, tmp_path, objective, precision)
