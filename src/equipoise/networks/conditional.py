"""Generators that are told more than a latent, or that draw discrete images; and both players as a run asks for them.

Class-conditional: Mirza and Osindero (2014), arXiv:1411.1784. Inpainting: Pathak et al. (2016), "Context Encoders",
arXiv:1604.07379. Discrete images: Hjelm et al. (2017), "Boundary-Seeking GANs", arXiv:1702.08431.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.errors import UsageError
from equipoise.networks.base import Network, Shape
from equipoise.networks.players import precise, scaled_init
from equipoise.players import BuildOptions, Conditions, GeneratorOutput, Players

CONTEXT = 64  # length of the code of what is left of an image
SLOPE = 0.2  # of the context encoder's leaky ReLU below 0


def build_players(
    network: Network,
    shape: Shape,
    *,
    classes: int = 0,
    inpainting: bool = False,
    logits: int = 0,
    levels: int = 0,
    samples: int = 1,
) -> Players:
    """Build both players of `network`, with all that a run asks for beside images and a score.

    The generator is called with latents (N, latent) and the `Conditions` it is made for: `labels` with `classes`,
    `masked` and `mask` with `inpainting`, `noise` in training with `levels`.

    Args:
        network: of both players.
        shape: (C, H, W) of the images.
        classes: of which the generator is told one; 0 for none.
        inpainting: whether the generator fills in images instead of making them from nothing.
        logits: outputs of the discriminator for auxiliary tasks.
        levels: values that a pixel can take, from -1 to 1 at equal distances; 0 for all.
        samples: discrete images drawn for each latent in training.

    Raises:
        UsageError: the network does not allow such images, or they cannot be both discrete and filled in.
    """
    if inpainting and levels:
        raise UsageError("images cannot be filled in and drawn from discrete values at once: leave one of them out")
    condition = classes + (CONTEXT if inpainting else 0)
    generator, discriminator = network.build(shape, BuildOptions(condition=condition, logits=logits, levels=levels))
    if condition:
        generator = Conditional(generator, classes, ContextEncoder(shape) if inpainting else None)
    if levels:
        generator = Discrete(generator, levels, samples)
    return Players(generator, discriminator)


class Conditional(nn.Module):
    """A generator whose latent is joined by a class, one-hot, and by the code of what is left of an image."""

    def __init__(self, generator: nn.Module, classes: int, context: nn.Module | None) -> None:
        super().__init__()
        self.generator, self.classes, self.context = generator, classes, context

    def forward(self, latent: Tensor, conditions: Conditions | None = None) -> GeneratorOutput:
        """Make images (N, C, H, W) of latents (N, latent) and conditions; what is not hidden stays as it was.

        Raises:
            UsageError: a condition is missing.
        """
        given, parts = conditions or Conditions(), [latent]
        if self.classes:
            labels = _needed(given.labels, "makes images of a class: give it labels")
            parts.append(F.one_hot(labels, self.classes).to(latent.dtype))
        if self.context is None:
            output: GeneratorOutput = self.generator(torch.cat(parts, 1))
            return output
        masked = _needed(given.masked, "fills in images: give it masked ones")
        mask = _needed(given.mask, "fills in images: give it a mask")
        parts.append(self.context(masked, mask).to(latent.dtype))
        images = self.generator(torch.cat(parts, 1)).images
        return GeneratorOutput(torch.where(mask > 0, images, masked))


class ContextEncoder(nn.Module):
    """An image with a hole to a code (N, CONTEXT): convolutions that halve the sides down to 4 or less."""

    def __init__(self, shape: Shape, width: int = 32) -> None:
        super().__init__()
        channels, *sides = shape
        layers: list[nn.Module] = []
        channels += 1
        while max(sides) > 4:
            layers += [_halve(channels, width), nn.LeakyReLU(SLOPE)]
            channels, width, sides = width, 2 * width, [math.ceil(side / 2) for side in sides]
        to_code = nn.Linear(channels * math.prod(sides), CONTEXT)
        scaled_init(to_code, gain=1.0)
        self.layers = nn.Sequential(*layers, nn.Flatten(), to_code)

    def forward(self, masked: Tensor, mask: Tensor) -> Tensor:
        """Encode images (N, C, H, W) in [-1, 1], hidden where the mask (N, 1, H, W) is 1."""
        code: Tensor = self.layers(torch.cat([masked * (1 - mask), mask], 1))
        return code


class Discrete(nn.Module):
    """A generator that gives each value's distribution over `levels`, and images drawn from it.

    Two levels are Bernoulli by one logit, more are categorical; they lie from -1 to 1 at equal distances.
    """

    def __init__(self, generator: nn.Module, levels: int, samples: int) -> None:
        super().__init__()
        self.generator, self.levels, self.samples = generator, levels, samples

    def forward(self, latent: Tensor, conditions: Conditions | None = None) -> GeneratorOutput:
        """Draw images of latents (N, latent), with the log-probability of each in nats.

        In training `samples` of each latent, (N * samples, C, H, W), by `conditions.noise` (N, samples, C, H, W);
        in evaluation the most likely value everywhere, (N, C, H, W).

        Raises:
            UsageError: the noise is missing in training, or not for so many samples.
        """
        log_probs = self._log_probs(precise(self.generator(latent, conditions).images))
        if self.training:
            noise = _needed((conditions or Conditions()).noise, "draws discrete images: give it noise in training")
            if noise.shape[1] != self.samples:
                raise UsageError(
                    f"the generator draws {self.samples} images a latent, the noise is for {noise.shape[1]}"
                )
            index = _inverse_cdf(log_probs, noise)
        else:
            index = log_probs.argmax(-1, keepdim=True)
        chosen = log_probs.gather(-1, index).movedim(-1, 1).flatten(0, 1)
        values = torch.linspace(-1, 1, self.levels, dtype=log_probs.dtype, device=log_probs.device)
        return GeneratorOutput(values[index].movedim(-1, 1).flatten(0, 1), chosen.flatten(1).sum(1))

    def _log_probs(self, logits: Tensor) -> Tensor:
        """(N, C, H, W, levels) log-probabilities in nats."""
        if self.levels == 2:
            return torch.stack([-F.softplus(logits), -F.softplus(-logits)], -1)
        return logits.reshape(len(logits), -1, self.levels, *logits.shape[2:]).movedim(2, -1).log_softmax(-1)


@torch.no_grad()
def _inverse_cdf(log_probs: Tensor, noise: Tensor) -> Tensor:
    """The levels (N, C, H, W, M) that noise (N, M, C, H, W) from U[0, 1) draws.

    It counts from the uppermost down, so that the upper of two is drawn where noise < sigmoid(logit).
    """
    down = log_probs.flip(-1).exp().cumsum(-1)[..., :-1].contiguous()
    below = torch.searchsorted(down, noise.movedim(1, -1).to(down.dtype).contiguous(), right=True)
    return log_probs.shape[-1] - 1 - below


def _halve(n_in: int, n_out: int) -> nn.Conv2d:
    conv = nn.Conv2d(n_in, n_out, kernel_size=3, stride=2, padding=1)
    scaled_init(conv, gain=math.sqrt(2 / (1 + SLOPE**2)))
    return conv


def _needed(condition: Tensor | None, why: str) -> Tensor:
    if condition is None:
        raise UsageError(f"this generator {why}")
    return condition
