"""The gradient of `wgan-fd`'s penalty in the critic's weights beside that of `wgan-gp`'s, at equal weights and points.

The weights are those of `train wgan-gp` on the bundled digits at 16x16, 24 wide, after so many steps of the critic; for
a critic that is too steep, its scores are then multiplied by 5. Each activation trains its own. Norms and cosines are
medians over eight batches of 64. Prints a table.

    python -m benchmarks.finite_differences
"""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from equipoise import PRESETS
from equipoise.config.datasets import open_dataset
from equipoise.objectives.base import Batch
from equipoise.objectives.penalty import interpolate, unit_norm_penalty
from equipoise.objectives.wgan import WGANFD, WGANGP
from equipoise.players import GeneratorOutput
from equipoise.training.batch import make_batch
from equipoise.training.distributed import Distributed
from equipoise.training.loop import next_step
from equipoise.training.state import DataSpec, TrainState

BATCHES = 8
STEPS = 100  # of the critic
STEEPER = 5.0
SETTINGS: list[dict[str, Any]] = [{}, {"reach": 1.0}, {"reach": 0.01}, {"probes": 16}]


def critics(activation: str) -> Iterator[tuple[str, list[Batch]]]:
    """A critic in training and one that is too steep, each in words, and batches of points to judge it at."""
    preset = PRESETS["wgan-gp"]["default"]
    network = replace(preset.network, width=24, activation=activation)  # type: ignore[call-arg]
    config = preset.with_changes(network=network, resolution=16, precision="fp32", device="cpu")
    feed, alone = open_dataset(config).feed, Distributed()
    train_state = TrainState(config, DataSpec.of(feed), torch.device("cpu"))
    while train_state.images < STEPS * config.batch:
        inputs = make_batch(config, feed, train_state.images, alone, train_state.device)
        train_state.prepare_step()
        step = next_step(train_state, alone)
        train_state.finish_step(*step(train_state.objective_state, inputs))
    generator, discriminator = train_state.players
    for about, factor in (("in training", 1.0), ("5 times as steep", STEEPER)):
        batches = []
        with torch.no_grad():
            discriminator.score.weight.mul_(factor)  # type: ignore[operator, union-attr]
        for number in range(BATCHES):
            given = make_batch(config, feed, train_state.images + number * config.batch, alone, train_state.device)
            fake = GeneratorOutput(generator(given.latent).images.detach())
            output = discriminator(given.real)
            batches.append(Batch(given.real, given.latent, fake, output, output, discriminator, given.draws))
        yield about, batches


def penalty_gradient(objective: WGANGP, batch: Batch) -> Tensor:
    """The gradient of an objective's penalty, before its weight, in all weights of the critic, as one vector."""
    points = interpolate(batch.real, batch.fake.images, batch.draws.uniform("interpolation", 1, 1, 1))
    penalty = unit_norm_penalty(objective.gradient_norms(batch, points))
    weights = list(batch.discriminator.parameters())
    grads = torch.autograd.grad(penalty, weights, materialize_grads=True)  # a last bias has none
    return torch.cat([grad.flatten() for grad in grads])


def compare(objective: WGANFD, batches: list[Batch]) -> list[float]:
    """Medians over `batches`: the norm by a double backward pass, that by finite differences, and their cosine."""
    rows = []
    for batch in batches:
        exact, estimate = penalty_gradient(WGANGP(), batch), penalty_gradient(objective, batch)
        rows.append((exact.norm().item(), estimate.norm().item(), float(torch.cosine_similarity(exact, estimate, 0))))
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def main() -> None:
    torch.set_num_threads(1)
    print("| activation | critic | probes | reach | norm, wgan-gp | norm, wgan-fd | cosine |")
    print("|---|---|---|---|---|---|---|")
    for activation in ("leaky", "silu"):
        for about, batches in critics(activation):
            for settings in SETTINGS:
                objective = WGANFD(**settings)
                exact, estimate, cosine = compare(objective, batches)
                cells = [activation, about, objective.probes, f"{objective.reach:g}", f"{exact:.3g}", f"{estimate:.3g}"]
                print(f"| {' | '.join(map(str, cells))} | {cosine:.2f} |", flush=True)


if __name__ == "__main__":
    main()
