"""equipoise bench: its figures are consistent, and its tables are those of the figures in its file."""

import json
import re
from pathlib import Path

import pytest
import torch

from command import Command
from equipoise.bench.tables import operators_table, overheads_table, peaks_table, results_table

SMALL = ["--resolution", 16, "--width", 4, "--batch", 4, "--precision", "fp32", "--seconds", 0.05]


def test_the_command_measures_and_writes(within: Command, tmp_path: Path) -> None:
    done = within("bench", *SMALL, "--json", "figures/bench.json")
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "figures" / "bench.json").read_text())
    assert figures["ratio_range"][0] <= figures["ratio"] <= figures["ratio_range"][1]
    assert figures["gflop_per_image"] < 0.75 * figures["textbook_gflop_per_image"], "the fast path is taken"
    assert figures["memory_ratio"] == figures["memory_mib"] / figures["textbook_memory_mib"] > 0
    assert sum(figures["time"].values()) == pytest.approx(1)
    assert figures["machine"]["torch"] == torch.__version__
    assert f"{figures['ratio']:.2f}" in done.stdout
    assert figures["core_seconds_per_image"] > 0
    assert figures["textbook_core_seconds_per_image"] > 0
    assert figures["joules_per_image"] is None or figures["joules_per_image"] > 0
    assert figures["convolution_passes"]["forward"] == figures["convolution_peak"]
    assert figures["convolution_passes"].keys() == {"forward", "images", "weights"}
    assert all(peak > 0 for peak in figures["convolution_passes"].values())
    assert sum(figures["operators"].values()) < 1
    assert any("convolution" in name for name in figures["operators"])
    overheads = figures["around"]
    assert all(value > 0 for value in overheads.values())
    for table in (
        results_table([figures]),
        operators_table(figures),
        peaks_table([figures]),
        overheads_table(overheads),
    ):
        assert table in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["figures"], "nothing else stays"


@pytest.mark.parametrize("objective", [pytest.param("wgan-gp", marks=pytest.mark.long), "magan"])
def test_critics_are_measured_with_their_cycle_and_others_without_a_textbook(within: Command, objective: str) -> None:
    done = within("bench", "--objective", objective, *SMALL, "--no-around", "--json", "bench.json")
    assert done.returncode == 0, done.stderr
    assert ("ratio" in json.loads(Path("bench.json").read_text())) == (objective == "wgan-gp")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--objective", "bogan"], "unknown objective 'bogan'"),
        (["--seconds", "0"], "seconds: input should be greater than 0, not 0.0"),
        (["--seconds", "3601"], "seconds: input should be less than or equal to 3600"),
        (["--threads", "100000000000"], "threads: input should be less than or equal to 1024"),
        (["--width", "0"], "width"),
        (["--channels", "2"], "invalid choice '2' for argument '--channels'"),
        (["--objective", "wgan-gp", "--compiled"], "differentiates its penalty twice, .*leave --compiled out"),
        (["--resolution", "6"], "6"),
        (["--precision", "fp8"], "fp8"),
    ],
)
def test_mistakes_are_told_in_one_sentence(within: Command, words: list[str], message: str) -> None:
    done = within("bench", *words)
    assert done.returncode == 2
    assert re.search(message, done.stderr)
    assert "Traceback" not in done.stderr
