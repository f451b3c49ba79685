"""The bench: a textbook that is the same game, and figures that mean what they say."""

import copy
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from command import Command
from equipoise.bench import TEXTBOOK, Textbook, table
from equipoise.bench.around import around_in_lines
from equipoise.bench.machine import Others
from equipoise.bench.report import Case, operators_in_lines, peaks_in_lines
from equipoise.bench.steps import DATA
from equipoise.bench.timing import Times, memory, parts, race, work
from equipoise.config.train_config import TrainConfig
from equipoise.players import Players
from equipoise.randomness import Draws
from equipoise.training.batch import StepInputs
from equipoise.training.distributed import Distributed
from equipoise.training.state import DataSpec, TrainState
from steps import take_step

CPU = torch.device("cpu")


def config(name: str, precision: str) -> TrainConfig:
    return Case(name, 16, 4, 6, precision, 1).config("cpu").with_changes(seed=3)  # type: ignore[arg-type]


def dealt(settings: TrainConfig, step: int) -> StepInputs:
    draws = Draws(5, 6 * step, 6, slice(0, 6), CPU, torch.float64)
    latents = (draws.latents(name, settings.network.latent, settings.prior) for name in ("a", "b"))
    real, latent, other = draws.uniform("real", 1, 16, 16) * 2 - 1, *latents
    return StepInputs(real, latent, draws, latent_g=other if settings.separate_latents else None)


@pytest.mark.parametrize("name", TEXTBOOK)
def test_the_textbook_plays_the_same_game(name: str) -> None:
    """In float64, to ten digits: weights after steps of both, the critic's turns included."""
    settings = config(name, "fp64")
    train_state = TrainState(settings, DataSpec((1, 16, 16)), CPU)
    plain = (copy.deepcopy(player).to(memory_format=torch.contiguous_format) for player in train_state.players)
    book = Textbook(settings, Players(*plain))
    for step in range(2 * settings.n_critic):
        given = dealt(settings, step)
        take_step(train_state, given, Distributed())
        book.step(given)
    for ours, theirs in zip(train_state.players, book.players, strict=True):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert (a - b).norm() <= 1e-10 * b.norm()
    if name == "began":
        assert book.k == pytest.approx(train_state.objective_state["k"].item(), rel=1e-12)


def layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Flatten(), nn.Linear(3 * 64, 5))


def test_work_is_what_one_counts_by_hand() -> None:
    model, images = layers(), torch.randn(4, 2, 8, 8)
    convolution, product = 2 * 9 * 2 * 3 * 4 * 64, 2 * 4 * 192 * 5

    def step() -> None:
        model(images).sum().backward()

    assert work(step, 1) == (convolution + product) * 2 + product  # no gradient for the images
    assert work(lambda: torch.autograd.grad(model(images).sum(), list(model.parameters()), create_graph=True), 1) > 0  # type: ignore[arg-type, return-value]


def test_memory_is_what_one_counts_by_hand() -> None:
    """Two tensors of a MiB live at once, beside one that stays."""

    def start() -> object:
        stays: list[Tensor] = []

        def step() -> None:
            a = torch.zeros(2**18)
            b = torch.zeros(2**18)
            del a
            c = torch.zeros(2**18)
            if not stays:
                stays.append(torch.zeros(2**18))
            del b, c

        return step

    assert memory(start, CPU, 1) / 2**20 == pytest.approx(2, abs=0.05)  # type: ignore[arg-type]


def test_ratios_are_of_rounds_side_by_side() -> None:
    ratio = Times([1.0, 2.0, 4.0]).ratio_to(Times([3.0, 4.0, 16.0]))
    assert ratio == (3.0, 2.0, 4.0)
    taken = {"a": 0, "b": 0}
    times = race(
        {name: lambda name=name: taken.update({name: taken[name] + 1}) for name in taken},  # type: ignore[misc]
        CPU,
        cycle=5,
        rounds=3,
        limit=0.01,
    )
    assert {name: len(each.rounds) for name, each in times.items()} == {"a": 3, "b": 3}
    assert all(count % 5 == 0 for count in taken.values())


def test_the_parts_of_a_step_are_those_that_one_puts_there() -> None:
    """A product that takes nearly all of the time, and beside it as much again in the dealing of data."""
    a = torch.randn(768, 768)

    def step() -> None:
        with torch.profiler.record_function(DATA):
            a @ a
        a @ a
        a.relu()

    shares, operators = parts(step, 8, CPU)
    assert next(iter(operators)) == "mm"
    assert list(operators.values()) == sorted(operators.values(), reverse=True)
    assert shares["backward"] == shares["optimiser"] == 0
    assert shares["forward"] + shares["data"] == pytest.approx(1)
    assert min(shares["forward"], shares["data"]) > 0.05


def test_what_others_do_is_seen() -> None:
    others = Others()
    torch.randn(300, 300) @ torch.randn(300, 300)
    busy = others.busy()
    assert busy is None or busy >= 0


def test_the_command_measures_and_writes(within: Command, tmp_path: Path) -> None:
    words = ["--resolution", 16, "--width", 4, "--batch", 4, "--precision", "fp32", "--seconds", 0.2]
    done = within("bench", *words, "--json", "figures/bench.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "figures" / "bench.json").read_text())
    assert found["ratio_range"][0] <= found["ratio"] <= found["ratio_range"][1]
    assert found["gflop_per_image"] < 0.75 * found["textbook_gflop_per_image"], "the fast path is taken"
    assert found["memory_ratio"] == found["memory_mib"] / found["textbook_memory_mib"] > 0
    assert sum(found["time"].values()) == pytest.approx(1)
    assert found["machine"]["torch"] == torch.__version__
    assert f"{found['ratio']:.2f}" in done.stdout
    assert table([found]) in done.stdout
    assert operators_in_lines(found) in done.stdout
    assert peaks_in_lines([found]) in done.stdout
    assert found["convolution_passes"]["forward"] == found["convolution_peak"]
    assert 0 < found["convolution_passes"]["weights"] < 10 * found["convolution_peak"]
    assert sum(found["operators"].values()) < 1
    assert any("convolution" in name for name in found["operators"])
    around = found["around"]
    assert around_in_lines(around) in done.stdout
    assert all(value > 0 for value in around.values())
    assert around["help_seconds"] < min(around["torch_seconds"], around["first_step_seconds"]), "help needs no torch"
    assert around["checkpoint_stall_seconds"] < around["checkpoint_seconds"]
    assert [path.name for path in tmp_path.iterdir()] == ["figures"], "nothing else stays"


def test_every_objective_can_be_measured_and_critics_with_their_cycle(within: Command) -> None:
    words = ["--resolution", 16, "--width", 4, "--batch", 4, "--precision", "fp32", "--seconds", 0.1, "--no-around"]
    done = within("bench", "--objective", "wgan-gp", *words)
    assert done.returncode == 0, done.stderr
    done = within("bench", "--objective", "magan", *words)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--objective", "bogan"], "unknown objective 'bogan'"),
        (["--seconds", "0"], "--seconds must be above 0"),
        (["--width", "0"], "width"),
        (["--resolution", "6"], "6"),
        (["--precision", "fp8"], "fp8"),
    ],
)
def test_mistakes_are_told_in_one_sentence(within: Command, words: list[str], message: str) -> None:
    done = within("bench", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
