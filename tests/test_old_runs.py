"""Run folders that an earlier version wrote: resumed, sampled and evaluated as that version would have done."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise import Run, evaluate, resume, sample
from equipoise.runs.checkpoint import load
from equipoise.runs.jsonl import read

RUNS = Path(__file__).parent / "old_runs"
NAMES = ["began", "classes", "discrete", "toy"]
WRITTEN_ON = {"avx512_bf16": True, "amx_bf16": False}  # whose kernels round as those that `expected` was made with


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(name: str, tmp_path: Path) -> Run:
    shutil.copytree(RUNS / name, tmp_path / name, ignore=shutil.ignore_patterns("expected"))
    return Run.open(tmp_path / name)


def same_bits_expected() -> bool:
    """Whether this machine computes as the one that wrote the runs: the same torch, and a CPU of the same kind."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    made_with = (RUNS / "began/config.yaml").read_text().partition("made_with:")[2]
    same_kind = all(bool(capabilities.get(name)) == has for name, has in WRITTEN_ON.items())
    return same_kind and torch.__version__ in made_with


REWRITTEN = ["began", "classes", "discrete"]  # of whose networks some layers are computed otherwise now, and round so


def test_it_is_resumed_as_if_nothing_had_changed(name: str, run: Run) -> None:
    resumed = resume(run.path, images=96, quiet=True)
    (tensors, facts), (expected, known) = (
        load(resumed.checkpoints()[-1]),
        load(RUNS / name / "expected" / f"{96:012d}.safetensors"),
    )
    assert facts == known | {"config": resumed.config.to_dict()}
    assert tensors.keys() == expected.keys()
    exact = same_bits_expected() and name not in REWRITTEN
    for key, tensor in expected.items():
        if exact:
            assert torch.equal(tensors[key], tensor), key
        torch.testing.assert_close(tensors[key], tensor, rtol=1e-2, atol=5e-3, equal_nan=True)
    rows, before = read(resumed.path / "metrics.jsonl"), read(RUNS / name / "expected" / "metrics.jsonl")
    assert [row["images"] for row in rows] == [row["images"] for row in before]
    for row, old in zip(rows, before, strict=True):
        assert old.keys() <= row.keys(), "a later version may measure more"
        if exact:
            assert {key: row[key] for key in old} == old


def test_it_is_sampled_and_evaluated(name: str, run: Run) -> None:
    resume(run.path, images=96, quiet=True)
    samples = sample(run, 5, seed=2).numpy()
    with np.load(RUNS / name / "expected" / "samples.npz") as file:
        (expected,) = (file[key] for key in file.files)
    samples = samples.reshape(expected.shape)
    if same_bits_expected() and name not in REWRITTEN:
        np.testing.assert_array_equal(samples, expected)
    np.testing.assert_allclose(
        samples.astype(float), expected.astype(float), atol=4 if expected.dtype == np.uint8 else 1e-2
    )
    scores = evaluate(
        run,
        count=40,
        metrics=["mmd" if run.config.toy else "kid"],
        **({} if run.config.toy else {"features": "digits"}),
    )
    assert all(np.isfinite(figures["value"]) for figures in scores.figures.values())
