"""Batches in float64 for the objectives' tests: of scores, of images, and of known distributions."""

from collections.abc import Callable, Sequence

import torch
from scipy.stats import norm
from torch import Tensor, nn

from equipoise.objectives import Batch
from equipoise.players import DiscriminatorOutput, GeneratorOutput
from equipoise.randomness import Draws

Shape = tuple[int, int, int]


class FunctionDiscriminator(nn.Module):
    """A discriminator that is any function of images, and records its inputs."""

    def __init__(self, score: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.score, self.inputs = score, list[Tensor]()

    def forward(self, images: Tensor) -> DiscriminatorOutput:
        self.inputs.append(images.detach())
        return DiscriminatorOutput(self.score(images))


def linear(weight: Tensor) -> FunctionDiscriminator:
    """c(x) = w'x."""
    return FunctionDiscriminator(lambda images: images.flatten(1) @ weight.flatten())


def draws(count: int, position: int = 0) -> Draws:
    return Draws(0, position, count, slice(0, count), dtype=torch.float64)


def score_batch(real: Tensor, fake: Tensor) -> Batch:
    """A batch with these scores, of images that are all 0."""
    images = torch.zeros(len(real), 1, 1, 1)
    discriminator = FunctionDiscriminator(lambda images: images.sum((1, 2, 3)))
    outputs = DiscriminatorOutput(real), DiscriminatorOutput(fake)
    latent = torch.zeros(len(real), 1)
    return Batch(images, latent, GeneratorOutput(images), *outputs, discriminator, draws(len(real)))


def image_batch(discriminator: nn.Module, real: Tensor, fake: Tensor, position: int = 0) -> Batch:
    """A batch of these images (N, C, H, W), with the discriminator's scores."""
    outputs = discriminator(real), discriminator(fake)
    latent = torch.zeros(len(real), 1)
    return Batch(real, latent, GeneratorOutput(fake), *outputs, discriminator, draws(len(real), position))


def numbers(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def images(count: int, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def quantiles(count: int, mean: float = 0.0, deviation: float = 1.0) -> Tensor:
    """(count,) points of a Gaussian, each for an equal share of it."""
    return torch.from_numpy(norm.ppf((torch.arange(count).double() + 0.5) / count, mean, deviation))


def minimised(loss: Callable[[], Tensor], weights: Sequence[Tensor]) -> float:
    """Minimise a loss over `weights`, in place; the minimum."""
    optimizer = torch.optim.LBFGS(
        weights, max_iter=500, tolerance_grad=1e-13, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    optimizer.step(closure)
    return loss().item()


P, Q = (4, 1, 2, 3), (1, 1, 6, 2)  # two distributions over four points, in tenths


def enumerated(scores: Tensor) -> Batch:
    """The batch in which each of four points, with its score, is as frequent as under P and Q."""
    points = torch.arange(4)
    return score_batch(*(scores[points.repeat_interleave(torch.tensor(times))] for times in (P, Q)))
