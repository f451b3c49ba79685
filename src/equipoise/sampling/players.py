"""A run's trained players on a device, ready to go from latents to pictures and back."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from equipoise.data import normalise, to_uint8
from equipoise.devices import Device, autocast_context, make_launcher
from equipoise.errors import UsageError
from equipoise.networks.base import Shape
from equipoise.networks.players import EnergyDiscriminator
from equipoise.players import Conditions
from equipoise.randomness import Prior, keyed_generator, latents
from equipoise.runs.run import Run
from equipoise.sampling.load import load_players
from equipoise.sampling.sample import generate


@dataclass(frozen=True, kw_only=True)
class TrainedPlayers:
    """Both players of one checkpoint, in evaluation mode, whose weights take no gradients.

    Attributes:
        run: whose players these are.
        generator: latents and conditions to a `GeneratorOutput`.
        trained_discriminator: images to a `DiscriminatorOutput`; None where the generator's weights were imported.
        shape: (C, H, W) of the images.
        classes: that the generator makes images of, or 0.
        images_seen: of the checkpoint.
        ema: whether the generator has the moving average of the weights, and not the weights themselves.
        device: of both.
    """

    run: Run
    generator: nn.Module
    trained_discriminator: nn.Module | None
    shape: Shape
    classes: int
    images_seen: int
    ema: bool
    device: torch.device

    @property
    def latent(self) -> int:
        """Length of the latents."""
        return self.run.config.network.latent

    @property
    def prior(self) -> Prior:
        """Distribution of the latents."""
        return self.run.config.prior

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.run.config.dtype

    @property
    def discriminator(self) -> nn.Module:
        """The trained discriminator.

        Raises:
            UsageError: there is none, as the generator's weights were imported.
        """
        if self.trained_discriminator is None:
            raise UsageError(f"{self.run.path} has no discriminator, as its weights were imported: this takes one")
        return self.trained_discriminator

    @property
    def encodes(self) -> bool:
        """Whether there is a discriminator, and it is an autoencoder."""
        return isinstance(self.trained_discriminator, EnergyDiscriminator)

    def features(self, images: Tensor) -> Tensor:
        """What the discriminator sees in images (n, C, H, W) in [-1, 1]: (n, K) float32, an autoencoder's codes."""
        network = self.discriminator.encoder if self.encodes else self.discriminator.features
        features: Tensor = network(images.to(self.dtype))  # type: ignore[operator]
        return features.flatten(1).float()

    def draw(self, count: int, purpose: str, seed: int) -> Tensor:
        """Latents (count, latent) from the prior, on the device."""
        return latents(count, self.latent, self.prior, keyed_generator(seed, purpose)).to(self.device)

    def generate(self, z: Tensor, labels: Tensor | None = None, *, exact: bool = False) -> Tensor:
        """Images (n, C, H, W) float32 of latents (n, latent) and classes (n,), with gradients in the latents.

        In the precision of training, or if they are to be `exact`, in that of the weights. Discrete images are their
        expected values, as those drawn have no gradients.
        """
        network = getattr(self.generator, "expected", self.generator)
        precision = "fp32" if exact else self.run.config.precision_on(self.device.type)
        with autocast_context(precision, self.device):
            images: Tensor = network(z.to(self.dtype), Conditions(labels=labels) if self.classes else None).images
        return images.float()

    def pictures(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Pictures (N, C, H, W) uint8 on the CPU, of any number of latents (N, latent), as `equipoise sample` draws."""
        conditions = Conditions(labels=labels) if self.classes else None
        return to_uint8(generate(self.generator, self.run.config, z, conditions))

    def on_device(self, pictures: Tensor) -> Tensor:
        """Pictures (N, C, H, W) uint8 as images in [-1, 1] on the device."""
        return normalise(pictures.to(self.device))


def open_players(
    run: Run, *, ema: bool = True, best: bool = False, at: int | None = None, device: Device = "auto"
) -> TrainedPlayers:
    """The players of a run that makes images of latents, and at most of a class.

    Raises:
        UsageError: the run is on a toy, or fills in images; there is no such checkpoint, or no such device.
    """
    config = run.config
    if config.toy:
        raise UsageError(f"{run.path} is on a toy, of points and not of images: train one on images")
    if config.tasks.inpaint:
        raise UsageError(
            f"{run.path} fills in images, and makes none of a latent alone: use `equipoise inpaint`, or train without "
            "--inpaint"
        )
    loaded = load_players(run, ema=ema, best=best, at=at)
    place = make_launcher(device, 1).device
    discriminator = loaded.discriminator
    if discriminator is not None:
        discriminator = discriminator.to(place).requires_grad_(requires_grad=False)
    channels, height, width = loaded.facts["shape"]
    return TrainedPlayers(
        run=run,
        generator=loaded.generator.to(place).requires_grad_(requires_grad=False),
        trained_discriminator=discriminator,
        shape=(channels, height, width),
        classes=loaded.facts["classes"] if config.tasks.classify else 0,
        images_seen=loaded.facts["images"],
        ema=ema and config.ema > 0,
        device=place,
    )
