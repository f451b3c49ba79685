"""Generators with conditions and of discrete images, and `build_players`, which adds them to any network.

Class-conditional: Mirza and Osindero (2014), arXiv:1411.1784. Inpainting: Pathak et al. (2016), "Context Encoders",
arXiv:1604.07379. Discrete images: Hjelm et al. (2017), "Boundary-Seeking GANs", arXiv:1702.08431.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.errors import UsageError
from equipoise.networks.base import BuildOptions, Network, Shape
from equipoise.networks.outputs import to_full_precision
from equipoise.networks.players import scaled_init
from equipoise.players import Conditions, GeneratorOutput, Players

CONTEXT = 64  # length of the context encoder's code
SLOPE = 0.2  # negative slope of the context encoder's leaky ReLU


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
    """Build both players of `network`, with conditions, task logits or discrete images.

    The generator is called with latents (N, latent) and, as needed, `Conditions`: `labels` with `classes`, `masked`
    and `mask` with `inpainting`, `noise` in training with `levels`.

    Args:
        network: specification of both players.
        shape: (C, H, W) of the images.
        classes: number of classes of a class-conditional generator, else 0.
        inpainting: whether the generator inpaints masked images.
        logits: number of the discriminator's logits for auxiliary tasks.
        levels: number of values per pixel, evenly spaced from -1 to 1; 0 for continuous images.
        samples: number of discrete images per latent in training.

    Raises:
        UsageError: the network cannot have images of this size, or `inpainting` and `levels` are combined.
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
    """A generator with conditions, concatenated to its latent: a one-hot class, and the code of a masked image."""

    def __init__(self, generator: nn.Module, classes: int, context: nn.Module | None) -> None:
        super().__init__()
        self.generator, self.classes, self.context = generator, classes, context

    def forward(self, latent: Tensor, conditions: Conditions | None = None) -> GeneratorOutput:
        """Generate images (N, C, H, W) from latents (N, latent) and conditions; unmasked pixels are copied.

        Raises:
            UsageError: a condition is missing.
        """
        conditions, inputs = conditions or Conditions(), [latent]
        if self.classes:
            labels = _require(conditions.labels, "makes images of a class: give it labels")
            inputs.append(F.one_hot(labels, self.classes).to(latent.dtype))
        if self.context is None:
            output: GeneratorOutput = self.generator(torch.cat(inputs, 1))
            return output
        masked = _require(conditions.masked, "fills in images: give it masked ones")
        mask = _require(conditions.mask, "fills in images: give it a mask")
        inputs.append(self.context(masked, mask).to(latent.dtype))
        images = self.generator(torch.cat(inputs, 1)).images
        return GeneratorOutput(torch.where(mask > 0, images, masked))


class ContextEncoder(nn.Module):
    """Encoder of masked images to codes (N, CONTEXT): convolutions that halve the sides down to 4 or less."""

    def __init__(self, shape: Shape, width: int = 32) -> None:
        super().__init__()
        channels, *sides = shape
        channels += 1  # the mask
        layers: list[nn.Module] = []
        while max(sides) > 4:
            conv = nn.Conv2d(channels, width, kernel_size=3, stride=2, padding=1)
            scaled_init(conv, gain=math.sqrt(2 / (1 + SLOPE**2)))
            layers += [conv, nn.LeakyReLU(SLOPE)]
            channels, width, sides = width, 2 * width, [math.ceil(side / 2) for side in sides]
        to_code = nn.Linear(channels * math.prod(sides), CONTEXT)
        scaled_init(to_code, gain=1.0)
        self.layers = nn.Sequential(*layers, nn.Flatten(), to_code)

    def forward(self, masked: Tensor, mask: Tensor) -> Tensor:
        """Encode images (N, C, H, W) in [-1, 1], masked where the mask (N, 1, H, W) is 1."""
        # Masked pixels are set to 0, so that nothing of them can leak into the code.
        code: Tensor = self.layers(torch.cat([masked * (1 - mask), mask], 1))
        return code


class Discrete(nn.Module):
    """A generator of discrete images, drawn from each value's distribution over `levels`.

    Values are evenly spaced from -1 to 1. Two levels are Bernoulli, with one logit; more are categorical.
    """

    def __init__(self, generator: nn.Module, levels: int, samples: int) -> None:
        super().__init__()
        self.generator, self.levels, self.samples = generator, levels, samples
        self.classes = int(getattr(generator, "classes", 0))  # as of a conditional one, for whoever asks

    def forward(self, latent: Tensor, conditions: Conditions | None = None) -> GeneratorOutput:
        """Draw images from latents (N, latent), with each one's log-probability in nats.

        In training `samples` per latent, (N * samples, C, H, W), from `conditions.noise` (N, samples, C, H, W); in
        evaluation the most likely value of each pixel, (N, C, H, W).

        Raises:
            UsageError: the noise is missing in training, or is not for so many samples.
        """
        log_probs = self._log_probs(to_full_precision(self.generator(latent, conditions).images))
        if self.training:
            noise = _require((conditions or Conditions()).noise, "draws discrete images: give it noise in training")
            if noise.shape[1] != self.samples:
                raise UsageError(
                    f"the generator draws {self.samples} images a latent, the noise is for {noise.shape[1]}"
                )
            index = _inverse_cdf(log_probs, noise)
        else:
            index = log_probs.argmax(-1, keepdim=True)
        # index: (N, C, H, W, M); the M images of a latent become rows of the batch, one after the other
        log_prob = log_probs.gather(-1, index).movedim(-1, 1).flatten(0, 1)
        values = torch.linspace(-1, 1, self.levels, dtype=log_probs.dtype, device=log_probs.device)
        return GeneratorOutput(values[index].movedim(-1, 1).flatten(0, 1), log_prob.flatten(1).sum(1))

    def expected(self, latent: Tensor, conditions: Conditions | None = None) -> GeneratorOutput:
        """The mean over all that may be drawn from latents (N, latent): images (N, C, H, W), which have gradients."""
        probabilities = self._log_probs(to_full_precision(self.generator(latent, conditions).images)).exp()
        values = torch.linspace(-1, 1, self.levels, dtype=probabilities.dtype, device=probabilities.device)
        return GeneratorOutput(probabilities @ values)

    def _log_probs(self, logits: Tensor) -> Tensor:
        """(N, C, H, W, levels) log-probabilities in nats."""
        if self.levels == 2:
            return torch.stack([-F.softplus(logits), -F.softplus(-logits)], -1)
        by_level: Tensor = logits.unflatten(1, (-1, self.levels))  # type: ignore[no-untyped-call]
        return by_level.movedim(2, -1).log_softmax(-1)


@torch.no_grad()
def _inverse_cdf(log_probs: Tensor, noise: Tensor) -> Tensor:
    """Levels (N, C, H, W, M) drawn by the inverse distribution function from noise (N, M, C, H, W) in [0, 1).

    Counted from the highest level down, so that of two levels the upper is drawn where noise < sigmoid(logit).
    """
    # The last cumulated probability is left out: rounded, it may be below 1, and noise above it would have no level.
    cdf = log_probs.flip(-1).exp().cumsum(-1)[..., :-1].contiguous()
    from_top = torch.searchsorted(cdf, noise.movedim(1, -1).to(cdf.dtype).contiguous(), right=True)
    return log_probs.shape[-1] - 1 - from_top


def _require(condition: Tensor | None, problem: str) -> Tensor:
    if condition is None:
        raise UsageError(f"this generator {problem}")
    return condition
