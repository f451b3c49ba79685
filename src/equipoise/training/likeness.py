"""How like the data a run's samples are, in what a person sees first: fine detail, and clusters that are left out."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from equipoise.config.train_config import TrainConfig
from equipoise.data import normalise
from equipoise.devices import autocast_context
from equipoise.metrics.clusters import cluster_sizes, k_means, missing_clusters
from equipoise.metrics.detail import fine_share, noise_share
from equipoise.metrics.features.resize import area
from equipoise.networks.players import EnergyDiscriminator

CLUSTERS = 12  # of the data: of 256 samples some 20 are due to each, so that a nearly empty one is no chance
FEWEST = 30  # real images in which clusters can be looked for
BLOCK = 64  # images in one pass
SIDE = 16  # of thumbnails, in which clusters are of shapes and colours and not of grain

Encode = Callable[[Tensor], Tensor]
"""Images (N, C, H, W) in [-1, 1] to vectors (N, K) in which clusters are looked for."""


class Likeness:
    """Compares samples with real images, which it keeps.

    Args:
        real: (M, C, H, W), as the feed gives them.
    """

    def __init__(self, real: Tensor) -> None:
        self.real = real
        self.fine_share, self.noise_share = fine_share(normalise(real)), noise_share(normalise(real))

    def measures(self, samples: Tensor, encode: Encode | None = None) -> dict[str, float]:
        """What was measured of samples (N, C, H, W) in [-1, 1]; by default clusters are looked for in `thumbnails`.

        Returns:
            `detail`, the samples' share of power in the finest octave over the data's: 1 where both are as sharp;
            `grain`, the share of the samples' finest detail that is spread evenly as noise is, less that of the data's:
            0 where it lies at edges as in the data; and `clusters`, the share of real images that lie in clusters which
            the samples reach, in [0, 1], where there are FEWEST of them and all vectors are finite.
        """
        encode = encode or thumbnails
        measures = {"detail": fine_share(samples) / self.fine_share} if self.fine_share else {}
        measures["grain"] = round(noise_share(samples) - self.noise_share, 4)  # more digits are of the last bits alone
        real, generated = encode(normalise(self.real)).double(), encode(samples).double()
        if len(real) < FEWEST or not (real.isfinite().all() and generated.isfinite().all()):
            return measures
        fitted, others = real[: len(real) // 3], real[len(real) // 3 :]  # to its own images k-means fits too well
        centres = k_means(fitted, min(CLUSTERS, len(fitted)))
        sizes = cluster_sizes(others, centres)
        missing = missing_clusters(sizes, cluster_sizes(generated, centres))
        return {**measures, "clusters": 1 - float(sizes[missing].sum() / sizes.sum())}


def thumbnails(images: Tensor) -> Tensor:
    """Vectors (N, K) of images: their pixels at SIDE x SIDE, or as they are where that is less."""
    height, width = images.shape[2:]
    return area(images, min(SIDE, height), min(SIDE, width)).flatten(1)


def codes_of(discriminator: nn.Module, config: TrainConfig) -> Encode | None:
    """An autoencoder's codes, in which it has sorted the data; None of other discriminators."""
    if not isinstance(discriminator, EnergyDiscriminator):
        return None
    encoder = discriminator.encoder
    return lambda images: evaluated(encoder, config, images, lambda part: encoder(part).flatten(1))


@torch.inference_mode()
def evaluated(player: nn.Module, config: TrainConfig, images: Tensor, call: Callable[[Tensor], Tensor]) -> Tensor:
    """What `call` makes of images (N, C, H, W) in [-1, 1] by a player that is not training, in training's precision.

    The player is left as it was: nothing that is measured may change training.
    """
    weight, training = next(player.parameters()), player.training
    player.eval()
    with autocast_context(config.precision_on(weight.device.type), weight.device):
        parts = [call(part.to(weight.device, weight.dtype)).cpu() for part in torch.split(images, BLOCK)]
    player.train(training)
    return torch.cat(parts)
