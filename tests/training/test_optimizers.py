"""Optimizers step as torch's do, and spare a run the import of torch's compiler."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn, optim

from equipoise import TrainConfig
from equipoise.config.train_config import write_yaml
from equipoise.training.optimizers import MOMENTS, make_optimizer

PLAIN = {"adam": optim.Adam, "adamax": optim.Adamax, "rmsprop": optim.RMSprop}


@pytest.mark.parametrize("name", PLAIN)
def test_they_step_as_torchs_own(name: str) -> None:
    """Twenty steps, half of them after their state was loaded: the same weights as by torch's default kernels."""
    torch.manual_seed(0)
    ours = nn.Conv2d(3, 8, 4).to(memory_format=torch.channels_last)
    theirs = copy.deepcopy(ours)
    config = TrainConfig(optimizer=name, lr=1e-3)  # type: ignore[arg-type]
    mine, torchs = make_optimizer(config, ours, torch.device("cpu")), PLAIN[name](theirs.parameters(), lr=1e-3)
    if name != "rmsprop":
        torchs.param_groups[0]["betas"] = (config.beta1, config.beta2)
    for step in range(20):
        if step == 10:
            mine.load_state_dict(mine.state_dict())
        for weight, twin in zip(ours.parameters(), theirs.parameters(), strict=True):
            weight.grad = torch.randn_like(weight)
            twin.grad = weight.grad.clone()
        mine.step()
        torchs.step()
    for weight, twin in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(weight, twin, rtol=1e-6, atol=1e-7)
        assert set(mine.state[weight]) == MOMENTS[type(mine)]


def test_nothing_imports_torchs_compiler(small: TrainConfig, tmp_path: Path) -> None:
    """A run from its start to its report, and when it goes on, and a search: importing it takes as long as torch."""
    (tmp_path / "run.yaml").write_text(write_yaml(small.with_changes(images=32), {}))
    tiny = ["--width", "4", "--resolution", "16", "--images", "32", "--batch", "16", "--quiet"]
    commands = [
        ["train", "--config", "run.yaml", "--out", "run", "--quiet"],
        ["resume", "run", "--images", "64", "--quiet"],
        ["train", "gan", *tiny, "--spectral", "--out", "spectral"],
        ["train", "began", *tiny, "--wavelet", "2", "--out", "wavelet"],
        ["sample", "run", "--count", "1", "--out", "pictures"],
        ["invert", "run", "pictures", "--steps", "2"],
    ]
    code = f"""
import sys
from equipoise.cli.main import main
codes = [main(words) for words in {commands}]
print(any(codes), "torch._dynamo" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"
