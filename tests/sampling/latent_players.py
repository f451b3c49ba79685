"""Players without a training, for tests of what goes from pictures to latents and back."""

from pathlib import Path

import torch

from equipoise import Run, TrainConfig
from equipoise.networks import DCGAN, MLP, Autoencoder, Network
from equipoise.networks.dcgan import DCGANAutoencoder
from equipoise.networks.mlp import MLPAutoencoder
from equipoise.objectives import OBJECTIVES, Tasks
from equipoise.sampling.players import TrainedPlayers

KINDS: dict[str, tuple[str, Network, str, tuple[int, int, int], int]] = {
    "autoencoder": ("began", Autoencoder(width=4, latent=6), "uniform", (1, 16, 16), 0),
    "skips": ("began", Autoencoder(width=4, latent=6, skips=True, residual=100), "normal", (3, 16, 24), 0),
    "dcgan-autoencoder": ("began", DCGANAutoencoder(width=4, latent=6, code=9), "normal", (3, 16, 16), 0),
    "mlp-autoencoder": ("ebgan", MLPAutoencoder(width=16, latent=6), "normal", (1, 16, 16), 0),
    "dcgan": ("gan", DCGAN(width=4, latent=6), "normal", (3, 24, 16), 0),
    "layer norm": ("wgan-gp", DCGAN(width=4, latent=6, norm="layer", generator_norm="layer"), "normal", (1, 16, 16), 0),
    "mlp": ("least-squares", MLP(width=16, latent=6), "uniform", (1, 16, 16), 0),
    "discrete": ("bgan-discrete", DCGAN(width=4, latent=6), "uniform", (1, 16, 16), 0),
    "classes": ("gan", DCGAN(width=4, latent=6), "normal", (1, 16, 16), 3),
    "classes, autoencoder": ("began", DCGANAutoencoder(width=4, latent=6, code=9), "normal", (1, 16, 16), 3),
}
"""By name: an objective, a network, a prior, a shape, and a number of classes."""


def players_of(name: str) -> TrainedPlayers:
    """Players of one of KINDS, with first weights large enough for images that depend on the latents."""
    objective, network, prior, (channels, height, width), classes = KINDS[name]
    config = TrainConfig(
        objective=OBJECTIVES[objective](),
        network=network,
        prior=prior,
        resolution=f"{width}x{height}",
        tasks=Tasks(classify_d=1, classify_g=1) if classes else Tasks(),
        device="cpu",
        precision="fp32",
    )
    torch.manual_seed(0)
    both = config.build((channels, height, width), classes)
    layout = torch.channels_last  # as in training
    players = TrainedPlayers(
        run=Run(Path("run"), config),
        generator=both.generator.to(memory_format=layout).eval().requires_grad_(requires_grad=False),
        trained_discriminator=both.discriminator.to(memory_format=layout).eval().requires_grad_(requires_grad=False),
        shape=(channels, height, width),
        classes=classes,
        images_seen=0,
        ema=False,
        device=torch.device("cpu"),
    )
    if not isinstance(config.network, Autoencoder):
        for module in [*players.generator.modules(), *players.discriminator.modules()]:
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                module.weight.mul_(15)  # N(0, 0.02) makes images that are nearly plain
    return players
