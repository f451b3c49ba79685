"""Auxiliary tasks: their losses by hand, their sum with any objective, and their absence, in float64."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from batches import images, numbers
from pydantic import ValidationError
from torch import Tensor, nn

from equipoise.errors import UsageError
from equipoise.objectives import BEGAN, MAGAN, Batch, Multitask, Needs, Tasks
from equipoise.objectives.boundary_constrained import BCGAN
from equipoise.objectives.gan import GAN
from equipoise.objectives.multitask import cross_entropy, masked_squared_error, rotate_images
from equipoise.players import Conditions, DiscriminatorOutput, GeneratorOutput, Players
from equipoise.randomness import Draws
from equipoise.sampling.conditions import inpainting_masks
from equipoise.training.batch import StepInputs
from equipoise.training.distributed import Distributed
from equipoise.training.step import Optimizers, train_step

CLASSES = 3
ALL = Tasks(adversarial=0.5, classify_d=0.7, classify_g=0.3, rotate_d=1.1, rotate_g=0.2, inpaint=0.9)


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 16)

    def forward(self, latent: Tensor, conditions: Conditions | None = None) -> GeneratorOutput:
        return GeneratorOutput(self.layer(latent).tanh().view(-1, 1, 4, 4))


class Discriminator(nn.Module):
    """A score, and logits of three classes and four rotations."""

    def __init__(self, tasks: int = CLASSES + 4) -> None:
        super().__init__()
        self.features, self.score = nn.Linear(16, 8), nn.Linear(8, 1)
        self.tasks = nn.Linear(8, tasks)

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        features = self.features(images.flatten(1)).tanh()
        return DiscriminatorOutput(self.score(features)[:, 0], None, self.tasks(features))


@pytest.fixture
def players() -> Players:
    torch.manual_seed(0)
    return Players(Generator().double(), Discriminator().double())


def draws(count: int = 5) -> Draws:
    return Draws(3, 7, count, slice(0, count), dtype=torch.float64)


def conditions() -> Conditions:
    return Conditions(torch.tensor([2, 2, 0, 1, 0]), images(5, 1, 4, 4), inpainting_masks("rectangle", draws(), 4, 4))


@pytest.fixture
def batch(players: Players) -> Batch:
    generator, discriminator = players
    latent, real = images(5, 2).requires_grad_(), images(5, 1, 4, 4, seed=1)
    fake = generator(latent)
    labels = torch.tensor([0, 1, 2, 0, 1])
    outputs = discriminator(real), discriminator(fake.images)
    return Batch(real, latent, fake, *outputs, discriminator, draws(), labels, conditions())


def gradient(loss: Tensor, player: nn.Module) -> Tensor:
    found = torch.autograd.grad(loss, list(player.parameters()), retain_graph=True, allow_unused=True)
    pairs = zip(player.parameters(), found, strict=True)
    return torch.cat([(torch.zeros_like(weight) if grad is None else grad).flatten() for weight, grad in pairs])


def by_hand(logits: Tensor, truth: Sequence[int]) -> Tensor:
    return torch.stack([row.exp().sum().log() - row[index] for row, index in zip(logits, truth, strict=True)]).mean()


def test_the_total_gradient_is_the_weighted_sum_of_the_tasks(players: Players, batch: Batch) -> None:
    generator, discriminator = players
    objective = Multitask(GAN(), ALL, CLASSES)
    assert batch.d_real.logits is not None
    assert batch.d_fake.logits is not None
    assert batch.conditions.labels is not None
    assert batch.conditions.mask is not None
    quarters = draws().integers("rotation of real images", 4), draws().integers("rotation of fake images", 4)
    rotated = [rotate_images(x, k) for x, k in zip((batch.real, batch.fake.images), quarters, strict=True)]
    logits = [discriminator(images).logits[:, 3:] for images in rotated]
    class_real = by_hand(batch.d_real.logits[:, :3], batch.labels.tolist())  # type: ignore[union-attr]
    class_fake = by_hand(batch.d_fake.logits[:, :3], batch.conditions.labels.tolist())
    rotation_real, rotation_fake = (by_hand(rows, k.tolist()) for rows, k in zip(logits, quarters, strict=True))
    hidden = masked_squared_error(batch.fake.images, batch.real, batch.conditions.mask).value

    d_total = objective.discriminator_loss(batch, {}).value
    parts = [
        (0.5, GAN().discriminator_loss(batch, {}).value),
        (0.7, class_real),
        (0.7, class_fake),
        (1.1, rotation_real),
    ]
    expected = sum(weight * gradient(part, discriminator) for weight, part in parts)
    torch.testing.assert_close(gradient(d_total, discriminator), expected, rtol=1e-9, atol=1e-12)

    g_total = objective.generator_loss(batch, {}).value
    parts = [(0.5, GAN().generator_loss(batch, {}).value), (0.3, class_fake), (0.2, rotation_fake), (0.9, hidden)]
    expected = sum(weight * gradient(part, generator) for weight, part in parts)
    torch.testing.assert_close(gradient(g_total, generator), expected, rtol=1e-9, atol=1e-12)


def trained(objective: GAN | BCGAN | Multitask, steps: int = 3) -> list[Tensor]:
    """All weights after a few steps of both players."""
    torch.manual_seed(0)
    players = Players(Generator().double(), Discriminator().double())
    for player in players:
        player.register_module("tasks", None)  # no head: tasks without a weight must not use it
        player.forward = player.forward if isinstance(player, Generator) else headless(player)  # type: ignore[method-assign]
    optimizers = Optimizers(*(torch.optim.Adam(player.parameters(), lr=1e-2) for player in players))
    state = objective.initial_state(10)
    for step in range(steps):
        inputs = StepInputs(images(5, 1, 4, 4, seed=step), images(5, 2, seed=step), Draws(3, step, 5, slice(0, 5)))
        inputs = replace(inputs, draws=replace(inputs.draws, dtype=torch.float64))
        state, _ = train_step(players, optimizers, objective, state, inputs, Distributed(), order="alternating")
    return [weight.detach() for player in players for weight in player.parameters()]


def headless(discriminator: nn.Module) -> object:
    return lambda images: DiscriminatorOutput(
        discriminator.score(discriminator.features(images.flatten(1)).tanh())[:, 0]
    )


@pytest.mark.parametrize("objective", [GAN(), BCGAN()])
def test_tasks_of_weight_0_leave_a_run_bit_for_bit(objective: GAN | BCGAN) -> None:
    for plain, wrapped in zip(trained(objective), trained(Multitask(objective, Tasks(), CLASSES)), strict=True):
        assert torch.equal(plain, wrapped)


def test_a_tasks_randomness_is_its_own(batch: Batch) -> None:
    """What the objective draws is the same whether or not a task draws too."""
    plain = BCGAN().discriminator_loss(batch, {}).aux
    wrapped = Multitask(BCGAN(), Tasks(rotate_d=1.0), CLASSES).discriminator_loss(batch, {}).aux
    assert "rotate_loss_real" in wrapped
    assert all(torch.equal(wrapped[name], value) for name, value in plain.items())


def test_a_masked_loss_ignores_what_is_not_hidden() -> None:
    made, truth = images(4, 3, 6, 6).requires_grad_(), images(4, 3, 6, 6, seed=1)
    mask = inpainting_masks("rectangle", draws(4), 6, 6)
    loss = masked_squared_error(made, truth, mask).value
    (grad,) = torch.autograd.grad(loss, made)
    hidden = mask.expand_as(grad) > 0
    assert (grad[~hidden] == 0).all()
    assert (grad[hidden] != 0).all()
    elsewhere = torch.where(hidden, made.detach(), torch.full_like(truth, 99))
    assert masked_squared_error(elsewhere, truth, mask).value.item() == loss.item()
    parts = [(made[i][hidden[i]] - truth[i][hidden[i]]).square().mean() for i in range(4)]  # each image counts alike
    assert loss.item() == pytest.approx(torch.stack(parts).mean().item(), rel=1e-12)
    assert masked_squared_error(made, truth, torch.zeros_like(mask)).value.item() == 0


@pytest.mark.parametrize("on", [{"adversarial": 0.001}, {"classify_d": 1}, {"rotate_d": 1}, {"inpaint": 0.999}])
def test_whether_anything_is_on(on: dict[str, float]) -> None:
    assert Tasks(**on).any  # type: ignore[arg-type]
    assert not Tasks(mask="rectangle").any


def test_each_image_is_rotated_by_its_own_quarter_turns() -> None:
    corner = torch.zeros(4, 1, 2, 2)
    corner[:, 0, 0, 0] = 1
    got = rotate_images(corner, torch.arange(4))[:, 0].flatten(1).argmax(1)
    assert got.tolist() == [0, 2, 3, 1]  # top left, bottom left, bottom right, top right
    pictures = images(6, 3, 5, 5)
    quarters = torch.tensor([3, 0, 2, 1, 1, 3])
    expected = torch.stack([picture.rot90(int(k), (1, 2)) for picture, k in zip(pictures, quarters, strict=True)])
    assert torch.equal(rotate_images(pictures, quarters), expected)


def test_cross_entropy_accuracy_and_gradient_norm() -> None:
    logits, truth = images(5, CLASSES).requires_grad_(), torch.tensor([0, 1, 2, 0, 1])
    loss = cross_entropy("classify", "real", logits, truth)
    assert loss.value.item() == pytest.approx(by_hand(logits, truth.tolist()).item(), rel=1e-12)
    right = sum(int(row.argmax()) == int(index) for row, index in zip(logits, truth, strict=True))
    assert loss.aux["classify_accuracy_real"].item() == right / 5
    (grad,) = torch.autograd.grad(5 * loss.value, logits)
    assert loss.aux["classify_gradient_real"].item() == pytest.approx(grad.norm(dim=1).mean().item(), rel=1e-9)
    unsure = cross_entropy("rotate", "fake", torch.zeros(8, 4).double(), torch.arange(8) % 4)
    assert unsure.value.item() == pytest.approx(math.log(4), rel=1e-12)


def test_the_gradient_norm_of_inpainting() -> None:
    made, truth = images(4, 3, 6, 6).requires_grad_(), images(4, 3, 6, 6, seed=1)
    loss = masked_squared_error(made, truth, inpainting_masks("centre", draws(4), 6, 6))
    (grad,) = torch.autograd.grad(4 * loss.value, made)
    assert loss.aux["inpaint_gradient"].item() == pytest.approx(grad.flatten(1).norm(dim=1).mean().item(), rel=1e-9)


def test_all_auxiliary_values_are_logged(batch: Batch) -> None:
    objective = Multitask(GAN(), ALL, CLASSES)
    aux = {**objective.discriminator_loss(batch, {}).aux, **objective.generator_loss(batch, {}).aux}
    names = {f"{task}_{what}_{which}" for task in ("classify", "rotate") for what in ("loss", "accuracy", "gradient")
             for which in ("real", "fake")}  # fmt: skip
    assert names | {"inpaint_loss", "inpaint_gradient", "accuracy"} <= objective.measures({}, aux).keys()
    assert not any(value.requires_grad for value in aux.values())


def test_the_rest_is_the_objectives_own() -> None:
    wrapped, own = Multitask(MAGAN(), Tasks(), 0), MAGAN()
    assert wrapped.initial_state(10) == own.initial_state(10)
    assert wrapped.critic_steps(0, 1, 10) == own.critic_steps(0, 1, 10) == 21
    assert (wrapped.needs, wrapped.clip, wrapped.convergence_measure) == (own.needs, own.clip, own.convergence_measure)
    assert Multitask(BEGAN(), Tasks()).convergence_measure == "m_global"
    aux = {name: numbers([2.0])[0] for name in ("energy_real", "energy_fake", "loss_generator")}
    assert wrapped.adapt(own.initial_state(1), aux) == own.adapt(own.initial_state(1), aux)


def test_logits_are_those_of_the_tasks_that_are_on() -> None:
    assert Tasks().logits(10) == 0
    assert Tasks(classify_d=1).logits(10) == 10
    assert Tasks(rotate_d=1).logits(10) == 4
    assert ALL.logits(10) == 14


def test_rotations_alone_come_first(batch: Batch, players: Players) -> None:
    discriminator = Discriminator(tasks=4).double()
    aux = Multitask(GAN(), Tasks(rotate_d=1)).discriminator_loss(replace(batch, discriminator=discriminator), {}).aux
    quarters = draws().integers("rotation of real images", 4)
    expected = F.cross_entropy(discriminator(rotate_images(batch.real, quarters)).logits, quarters)
    assert aux["rotate_loss_real"].item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize("values", [{"classify_g": 1.0}, {"rotate_g": 0.2}])
def test_a_generator_cannot_learn_from_a_discriminator_that_does_not(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match="never learns"):
        Tasks(**values)  # type: ignore[arg-type]


def test_tasks_that_the_data_does_not_allow_are_refused() -> None:
    with pytest.raises(UsageError, match="at least two classes"):
        Tasks(classify_d=1).check((1, 4, 4), 0, Needs("logit"))
    with pytest.raises(UsageError, match="square images, not 6x4"):
        Tasks(rotate_d=1).check((1, 4, 6), 2, Needs("logit"))
    with pytest.raises(UsageError, match="discrete"):
        Tasks(inpaint=1).check((1, 4, 4), 2, Needs("logit", levels=2))
    ALL.check((3, 4, 4), 2, Needs("logit"))
    Tasks().check((3, 4, 6), 0, Needs("logit", levels=2))


def test_masks_hide_the_middle_or_a_rectangle() -> None:
    middle = inpainting_masks("centre", draws(2), 8, 12)
    assert middle.shape == (2, 1, 8, 12)
    expected = torch.zeros(8, 12).double()
    expected[2:6, 3:9] = 1
    assert torch.equal(middle[1, 0], expected)

    some = inpainting_masks("rectangle", draws(2000), 16, 8)[:, 0]
    rows, columns = some.amax(2).sum(1), some.amax(1).sum(1)
    assert torch.equal(some.sum((1, 2)), rows * columns)  # rectangles
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 8, 2, 4)
    assert (some.amax(0) == 1).all()  # anywhere
    assert len({tuple(mask.flatten().tolist()) for mask in some}) > 500


def test_masks_are_a_function_of_the_step_whatever_the_processes() -> None:
    whole = inpainting_masks("rectangle", draws(6), 8, 8)
    assert torch.equal(inpainting_masks("rectangle", draws(6), 8, 8), whole)
    half = inpainting_masks("rectangle", replace(draws(6), share=slice(3, 6)), 8, 8)
    assert torch.equal(half, whole[3:])
