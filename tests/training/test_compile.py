"""Compiled networks: the same numbers, when they pay, and what becomes of a run where they cannot be had."""

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._inductor import config as inductor
from torch._inductor.utils import clear_caches

from equipoise import Run, TrainConfig, UsageError, resume, train
from equipoise.bench.steps import SyntheticFeed, take_step
from equipoise.config.presets import PRESETS
from equipoise.devices import SingleProcess
from equipoise.sampling.load import load_generator
from equipoise.training.batch import make_batch
from equipoise.training.compile import PAYS_FROM, CompilePolicy, compiled
from equipoise.training.distributed import make_distributed
from equipoise.training.state import DataSpec, TrainState

CPU = torch.device("cpu")
SHAPE = (3, 16, 16)
COMPILER = pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")


def config(name: str, **settings: object) -> TrainConfig:
    preset = PRESETS[name]["default"].to_dict()
    small = {"resolution": 16, "batch": 8, "precision": "fp64", "network": {**preset["network"], "width": 4}}
    return TrainConfig.from_dict({**preset, **small, **settings})


def state_of(config: TrainConfig) -> TrainState:
    return TrainState(config, DataSpec.of(SyntheticFeed(SHAPE, 64)), CPU)


def moved(train_state: TrainState, steps: int, *, compiling: bool = False) -> TrainState:
    feed, distributed = SyntheticFeed(SHAPE, 64), make_distributed(SingleProcess(CPU), "fp64")
    if compiling:
        inputs = make_batch(train_state.config, feed, train_state.images, distributed, CPU)
        CompilePolicy(train_state).compile(inputs, distributed)
    for _ in range(steps):
        take_step(train_state, make_batch(train_state.config, feed, train_state.images, distributed, CPU), distributed)
    return train_state


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of its own, and nothing of what other tests have compiled."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    torch.compiler.reset()
    clear_caches()  # else networks that another test has compiled are not compiled again
    yield tmp_path / "compiled"
    torch.compiler.reset()


@COMPILER
@pytest.mark.long
@pytest.mark.parametrize("name", ["began", "gan", "ebgan"])
def test_compiled_networks_move_as_plain_ones(name: str, cache: Path) -> None:
    settings = config(name)
    plain, fast = state_of(settings), state_of(settings)
    moved(plain, 4)
    moved(fast, 4, compiling=True)
    assert fast.active_players is not fast.players, "they were compiled"
    assert list(cache.rglob("*.so")), "and are kept on the disk"
    tensors = fast.tensors()
    assert tensors.keys() == plain.tensors().keys()
    for key, value in plain.tensors().items():
        torch.testing.assert_close(
            tensors[key], value, rtol=1e-10, atol=1e-12, msg=lambda text, key=key: f"{key}: {text}"
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("error:the networks are not compiled", "error:steps are not recorded")
@pytest.mark.parametrize("name", ["began", "ebgan"])
def test_compiled_steps_are_recorded_too(name: str, cache: Path) -> None:
    """On DCGAN's layers, of which torch 2.11 compiles the last, as a convolution, for a layout that it then lacks."""
    settings, device = config(name, precision="fp32"), torch.device("cuda")
    feed, distributed = SyntheticFeed(SHAPE, 64), make_distributed(SingleProcess(device), "fp32")
    plain, fast = (TrainState(settings, DataSpec.of(feed), device) for _ in range(2))
    fast.use_players(compiled(fast.players))
    for _ in range(8):
        for train_state in (plain, fast):
            take_step(train_state, make_batch(settings, feed, train_state.images, distributed, device), distributed)
    means, others = plain.accumulator.close(), fast.accumulator.close()
    assert fast.active_players is not fast.players
    assert others == {name: pytest.approx(value, rel=0.02, abs=0.02) for name, value in means.items()}


def test_networks_that_cannot_be_compiled_are_used_as_they_are(cache: Path) -> None:
    """Without a C++ compiler, as on many a server."""
    settings = config("began")
    plain, fast = state_of(settings), state_of(settings)
    no_compiler = inductor.patch({"cpp.cxx": ("/nowhere/c++",)})
    with no_compiler, pytest.warns(UserWarning, match="the networks are not compiled, which would be faster: "):
        moved(fast, 3, compiling=True)
    moved(plain, 3)
    assert fast.active_players is fast.players
    assert all(torch.equal(value, fast.tensors()[key]) for key, value in plain.tensors().items())


class OutOfMemoryError(RuntimeError):
    pass


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_only_what_torch_cannot_compile_is_forgiven(fails_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other error, at whichever call of the discriminator, ends training; and no player has moved by then."""
    train_state, calls = state_of(config("gan")), count(1)
    before = {key: value.clone() for key, value in train_state.tensors().items()}

    def failing(module: nn.Module, images: tuple[torch.Tensor]) -> None:
        if next(calls) == fails_at:
            raise OutOfMemoryError("no memory left for the discriminator")

    monkeypatch.setattr("equipoise.training.compile.compiled", lambda players: players)  # as if at once
    train_state.players.discriminator.register_forward_pre_hook(failing)
    with pytest.raises(OutOfMemoryError):
        moved(train_state, 1, compiling=True)
    after = train_state.tensors()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_an_assertion_that_is_not_of_generated_code_is_not_forgiven(monkeypatch: pytest.MonkeyPatch) -> None:
    train_state = state_of(config("gan"))

    def failing(*_: object) -> None:
        raise AssertionError("a bug of ours")

    monkeypatch.setattr("equipoise.training.compile.compiled", lambda players: players)
    train_state.players.discriminator.register_forward_pre_hook(failing)
    with pytest.raises(AssertionError, match="a bug of ours"):
        moved(train_state, 1, compiling=True)


@pytest.mark.parametrize(
    ("name", "settings", "seconds_left", "pays"),
    [
        ("began", {}, PAYS_FROM + 10, True),
        ("began", {}, PAYS_FROM - 10, False),
        ("began", {"compile": "never"}, 10 * PAYS_FROM, False),
        ("wgan-gp", {}, 10 * PAYS_FROM, False),
    ],
)
def test_long_runs_are_compiled(name: str, settings: dict[str, object], seconds_left: float, pays: bool) -> None:
    """Ten seconds for each line of 1,000 images."""
    images = 1_000 * round(seconds_left / 10)
    train_state = state_of(config(name, images=images + 2_000, **settings))
    train_state.device = torch.device("cuda")  # nothing is computed here
    seconds = count(100.0, 10.0)
    policy = CompilePolicy(train_state, clock=lambda: next(seconds))
    said = []
    for _ in range(4):
        train_state.images += 1_000
        said.append(policy.consider())
    assert [bool(words) for words in said] == [False, pays, False, False]
    assert policy.due == pays
    if pays:
        assert said[1].startswith("about 5 minutes are left")


def test_on_a_cpu_only_who_asks_has_it() -> None:
    long = state_of(config("began", images=10**9))
    policy = CompilePolicy(long, clock=lambda: float(long.images))
    for _ in range(3):
        long.images += 1_000
        assert policy.consider() == ""
    assert not policy.due
    assert CompilePolicy(state_of(config("began", compile="always"))).due


def test_what_is_differentiated_twice_is_never_compiled() -> None:
    with pytest.raises(UsageError, match="wgan-gp with these settings differentiates its penalty twice"):
        config("wgan-gp", compile="always")


@COMPILER
@pytest.mark.long
@pytest.mark.filterwarnings("error:the networks are not compiled")
def test_a_compiled_run_is_resumed_and_sampled(cache: Path, tmp_path: Path) -> None:
    settings = config("began", compile="always", precision="fp32", data="digits", images=400, log_every=80)
    run = train(settings, tmp_path / "run", quiet=True)
    again = train(settings.with_changes(images=200), tmp_path / "again", quiet=True)
    resume(again.path, images=400, quiet=True)
    ours, theirs = (Run.open(each.path).load_checkpoint()[0] for each in (run, again))
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items() if not key.startswith("window"))
    assert (again.path / "events.jsonl").read_text().count("compiling the networks first") == 2
    assert load_generator(Run.open(run.path)) is not None
