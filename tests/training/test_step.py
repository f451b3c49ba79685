"""The step against a reference written out in plain autograd, one player at a time."""

import copy

import pytest
import torch
from torch import Tensor
from torch.optim import Adam
from torch.utils.flop_counter import FlopCounterMode

from equipoise.devices import autocast_context
from equipoise.networks import DCGAN, Autoencoder
from equipoise.objectives import BEGAN, WGANGP, Batch, Loss, State
from equipoise.players import Players
from equipoise.randomness import Draws
from equipoise.training.batch import StepInputs
from equipoise.training.distributed import Distributed
from equipoise.training.step import Optimizers, train_step

OBJECTIVES = {
    "paper": BEGAN.paper(),
    "batch": BEGAN(boundary="batch", pull=0.3),
    "default": BEGAN(),
    "pulling away": BEGAN(pull=0.3),
    "every remedy": BEGAN(boundary="batch", recover=0.3, match=0.7, pull=0.2),
}


def make(**settings: object) -> tuple[Players, Optimizers]:
    torch.manual_seed(0)
    network = Autoencoder(width=3, latent=5, **settings)  # type: ignore[arg-type]
    players = Players(*(player.double() for player in network.build((1, 16, 16))))
    return players, Optimizers(*(Adam(player.parameters(), 1e-3, betas=(0.5, 0.999)) for player in players))


def steps(count: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(2)
    return [
        (
            torch.rand(6, 1, 16, 16, generator=generator, dtype=torch.float64) * 2 - 1,
            torch.rand(6, 5, generator=generator, dtype=torch.float64) * 2 - 1,
        )
        for _ in range(count)
    ]


def inputs(real: Tensor, latent: Tensor) -> StepInputs:
    return StepInputs(real, latent, Draws(0, 0, len(real), slice(None), dtype=real.dtype))


def reference(players: Players, optimizers: Optimizers, objective: BEGAN, k: float, real: Tensor, z: Tensor) -> float:
    """The textbook's way: each player in a pass of its own, the other's gradients thrown away."""
    generator, discriminator = players
    kept = copy.deepcopy(generator), copy.deepcopy(discriminator)

    fake = kept[0](z).images.detach()
    d_real, d_fake = discriminator(real), discriminator(fake)
    boundary = objective.gamma * d_real.score.mean().item()
    weights = [float(energy < boundary) for energy in d_fake.score] if objective.boundary == "image" else [k] * len(z)
    loss = d_real.score.mean() - sum(k * energy for k, energy in zip(weights, d_fake.score, strict=True)) / len(z)
    if objective.recover:
        loss = loss + objective.recover * ((z - d_fake.code) ** 2).mean()
    if objective.match:
        codes, n = d_real.code, len(z)
        across = sum((c - y).norm() for c in codes for y in z) / n**2
        within = sum((a[i] - a[j]).norm() for a in (codes, z) for i in range(n) for j in range(n) if i != j)
        loss = loss + objective.match * (2 * across - within / (n * (n - 1))) / z.shape[1] ** 0.5
    discriminator.zero_grad()
    loss.backward()

    seen = kept[1](generator(z).images)
    loss = seen.score.mean()
    if objective.recover:
        loss = loss + objective.recover * ((z - seen.code) ** 2).mean()
    if objective.pull:
        s, n = seen.code, len(z)
        cosines = [s[i] @ s[j] / (s[i].norm() * s[j].norm()) for i in range(n) for j in range(n) if i != j]
        loss = loss + objective.pull * sum(c**2 for c in cosines) / len(cosines)
    generator.zero_grad()
    loss.backward()

    for optimizer in optimizers:
        optimizer.step()
    if objective.boundary == "image":
        return sum(weights) / len(z)
    error = objective.gamma * d_real.score.mean().item() - d_fake.score.mean().item()
    if objective.relative:
        error /= d_real.score.mean().item()
    return min(1.0, max(0.0, k + objective.lambda_k * error))


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())
@pytest.mark.parametrize("k", [0.0, 0.4])
def test_equals_the_reference(objective: BEGAN, k: float) -> None:
    fast, fast_optimizers = make(eta=2)
    plain, plain_optimizers = make(eta=2)
    state: State = {"k": torch.tensor(k, dtype=torch.float64)}
    for real, latent in steps(3):
        state, _ = train_step(fast, fast_optimizers, objective, state, inputs(real, latent), Distributed())
        k = reference(plain, plain_optimizers, objective, k, real, latent)
        assert state["k"].item() == pytest.approx(k, rel=1e-9, abs=1e-12)
        for ours, theirs in zip(fast, plain, strict=True):
            for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
                assert a.grad is not None
                assert b.grad is not None
                assert (a.grad - b.grad).norm() <= 1e-10 * b.grad.norm()
                torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())
def test_every_weight_is_moved(objective: BEGAN) -> None:
    players, optimizers = make()
    before = copy.deepcopy(players)
    (real, latent), *_ = steps(1)
    train_step(players, optimizers, objective, objective.initial_state(1), inputs(real, latent), Distributed())
    for player, old in zip(players, before, strict=True):
        for (name, weight), kept in zip(player.named_parameters(), old.parameters(), strict=True):
            assert not torch.equal(weight, kept), name


@pytest.mark.parametrize("moved", ["generator", "discriminator"])
def test_no_loss_moves_the_other_player(moved: str) -> None:
    """With a learning rate of zero for one player the other's weights move, and that one's not at all."""
    players, optimizers = make()
    for name in Optimizers._fields:
        getattr(optimizers, name).param_groups[0]["lr"] = 1e-3 if name == moved else 0.0
    before = copy.deepcopy(players)
    (real, latent), *_ = steps(1)
    train_step(
        players, optimizers, OBJECTIVES["every remedy"], BEGAN().initial_state(1), inputs(real, latent), Distributed()
    )
    for name in Players._fields:
        same = [
            torch.equal(a, b)
            for a, b in zip(getattr(players, name).parameters(), getattr(before, name).parameters(), strict=True)
        ]
        assert not any(same) if name == moved else all(same)


def test_one_pass_of_the_generator_and_two_of_the_discriminator() -> None:
    players, optimizers = make()
    passes = {"generator": 0, "discriminator": 0}
    for name, player in players._asdict().items():
        player.register_forward_hook(lambda *_, name=name: passes.update({name: passes[name] + 1}))
    (real, latent), *_ = steps(1)
    train_step(players, optimizers, BEGAN(), BEGAN().initial_state(1), inputs(real, latent), Distributed())
    assert passes == {"generator": 1, "discriminator": 2}


def test_a_subclass_with_a_loss_of_its_own_is_asked_for_it() -> None:
    """The shared term is BEGAN's: a loss that replaces BEGAN's is not passed over."""

    class Silent(BEGAN):
        def generator_loss(self, batch: Batch, state: State) -> Loss:
            return Loss(0 * batch.d_fake.score.mean())

    players, optimizers = make()
    before = copy.deepcopy(players)
    (real, latent), *_ = steps(1)
    train_step(players, optimizers, Silent(), Silent().initial_state(1), inputs(real, latent), Distributed())
    for (name, weight), kept in zip(players.generator.named_parameters(), before.generator.parameters(), strict=True):
        assert torch.equal(weight, kept), name


@pytest.mark.parametrize(("name", "share"), [("paper", 0.7), ("batch", 0.75)])
def test_work_of_a_step_beside_the_textbooks(name: str, share: float) -> None:
    """Multiplications counted: one backward pass for both players, and none through the discriminator in vain."""
    objective, ((real, latent), *_) = OBJECTIVES[name], steps(1)
    counted = []
    for way in (0, 1):
        players, optimizers = make(eta=2)
        state: State = {"k": torch.tensor(0.4, dtype=torch.float64)}
        with FlopCounterMode(display=False) as counter:
            if way:
                train_step(players, optimizers, objective, state, inputs(real, latent), Distributed())
            else:
                reference(players, optimizers, objective, 0.4, real, latent)
        counted.append(counter.get_total_flops())
    assert counted[1] / counted[0] < share


def test_nothing_in_a_step_asks_the_device_for_a_number() -> None:
    """Reading a number on the host stops a GPU's queue; a subclass of Tensor sees every such call."""

    class Watched(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            assert getattr(func, "__name__", "") not in {"item", "tolist", "cpu", "numpy", "__bool__", "__float__"}
            return super().__torch_function__(func, types, args, kwargs or {})

    players, optimizers = make()
    (real, latent), *_ = steps(1)
    state = {"k": torch.zeros((), dtype=torch.float64).as_subclass(Watched)}
    train_step(
        players,
        optimizers,
        BEGAN(),
        state,
        inputs(real.as_subclass(Watched), latent.as_subclass(Watched)),
        Distributed(),
    )


def test_penalties_are_judged_in_the_precision_of_training() -> None:
    """Slopes of a critic in bf16, within rounding of those in full precision."""
    norms, kinds = [], []
    for precision in ("fp32", "bf16"):
        torch.manual_seed(0)
        players = DCGAN(width=8, latent=5, norm="layer").build((3, 16, 16))
        distributed = Distributed(autocast=lambda precision=precision: autocast_context(precision, torch.device("cpu")))  # type: ignore[misc]
        optimizers = Optimizers(*(Adam(player.parameters(), 0.0) for player in players))
        real, latent = torch.rand(6, 3, 16, 16) * 2 - 1, torch.rand(6, 5)
        shown: list[torch.dtype] = []
        players.discriminator.features[0].register_forward_hook(
            lambda _m, _i, out, shown=shown: shown.append(out.dtype)
        )
        _, measures = train_step(
            players, optimizers, WGANGP(), {}, inputs(real, latent), distributed, order="alternating"
        )
        norms.append(float(measures["gradient_norm"]))
        kinds.append(shown)
    assert kinds == [4 * [torch.float32], 4 * [torch.bfloat16]], "real, generated, between them, and anew"
    assert norms[1] == pytest.approx(norms[0], rel=0.02)
