"""Networks as functions of plain tensors, for ONNX: named inputs, named outputs, one precision inside."""

from collections.abc import Sequence
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from equipoise.networks.players import EnergyDiscriminator
from equipoise.sampling.load import ImageGenerator

Inputs = dict[str, Tensor]
"""Named inputs, N rows each."""


class Ports(NamedTuple):
    """A network as a function of named tensors.

    Attributes:
        network: called with its inputs by name; returns a tensor, or a tuple of them, in fp32.
        inputs: an example of each input, N rows.
        outputs: names of what it returns.
        levels: number of values of a pixel where it makes discrete images, else 0.
    """

    network: nn.Module
    inputs: Inputs
    outputs: Sequence[str]
    levels: int = 0

    def half(self) -> "Ports":
        """The same in fp16 inside, but for the layers that compute in full precision in training too."""
        return self._replace(network=deepcopy(self.network).half())


class GeneratorPorts(nn.Module):
    """A generator of images: latents and its conditions in fp32 to images in fp32."""

    def __init__(self, generator: ImageGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(
        self,
        latents: Tensor,
        labels: Tensor | None = None,
        masked: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """Images (N, C, H, W), as of `ImageGenerator`."""
        inside = next(self.generator.parameters()).dtype
        given = [None if each is None else each.to(inside) for each in (masked, mask)]
        images: Tensor = self.generator(latents.to(inside), labels, *given).float()
        return images


class DiscriminatorPorts(nn.Module):
    """A discriminator: images in fp32 to its score, and of an autoencoder the reconstruction and the code."""

    def __init__(self, discriminator: nn.Module) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Scores (N,), and of an autoencoder reconstructions (N, C, H, W) and codes (N, K), in fp32."""
        images = images.to(next(self.discriminator.parameters()).dtype)
        if isinstance(self.discriminator, EnergyDiscriminator):
            energy, code, reconstruction = self.discriminator.autoencode(images)
            return energy.float(), reconstruction.float(), code.float()
        return (self.discriminator(images).score.float(),)


def generator_ports(generator: ImageGenerator, inputs: Inputs, levels: int) -> Ports:
    """A generator's ports.

    Args:
        generator: in evaluation mode, on the CPU.
        inputs: `latents` and what else it takes, N rows each.
        levels: number of values of a pixel, for discrete images.
    """
    return Ports(GeneratorPorts(generator).eval(), inputs, ["images"], levels)


def discriminator_ports(discriminator: nn.Module, images: Tensor) -> Ports:
    """A discriminator's ports; `images` (N, C, H, W) in [-1, 1] are an example of its input."""
    energy = isinstance(discriminator, EnergyDiscriminator)
    outputs = ["energy", "reconstruction", "code"] if energy else ["score"]
    return Ports(DiscriminatorPorts(discriminator).eval(), {"images": images}, outputs)


@torch.inference_mode()
def run_ports(ports: Ports, inputs: Inputs) -> list[Tensor]:
    """What a network makes of inputs, by name."""
    outputs = ports.network(**inputs)
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)
