"""Energy by counters like those of Linux, in files of a folder of their own."""

import time
from pathlib import Path

import pytest
import torch

from equipoise.bench import energy
from equipoise.bench.energy import EnergyMeter
from equipoise.bench.steps import Step
from equipoise.bench.timing import cost_of_step

JOULES = 40.0


@pytest.fixture
def counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Two packages' counters; the part of a package, whose energy is in its sum, is left out."""
    monkeypatch.setattr(energy, "RAPL", tmp_path)
    for name in ("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "energy_uj").write_text("1000000\n")
    return [tmp_path / f"intel-rapl:{number}" / "energy_uj" for number in (0, 1)]


def burn(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_process_has_its_share_of_the_machines_joules(counters: list[Path]) -> None:
    meter = EnergyMeter()
    burn(0.3)
    for counter in counters:
        counter.write_text(f"{1000000 + round(JOULES / 2 * 1e6)}\n")
    joules = meter.joules()
    assert joules is not None
    assert 0 < joules <= JOULES * 1.2  # ticks of 10 ms and other processes move the share


@pytest.mark.parametrize("text", ["999999\n", "", "many\n"])
def test_a_counter_that_began_anew_or_cannot_be_read_tells_nothing(counters: list[Path], text: str) -> None:
    meter = EnergyMeter()
    counters[0].write_text(text)
    counters[1].write_text("0\n")
    assert meter.joules() is None


def test_a_step_costs_the_seconds_that_it_computes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(energy, "RAPL", tmp_path)  # without counters
    step: Step = lambda: burn(0.02)  # noqa: E731
    core_seconds, joules = cost_of_step(step, torch.device("cpu"), cycle=3, seconds=0.1)
    assert core_seconds == pytest.approx(0.02, rel=0.5)
    assert joules is None
