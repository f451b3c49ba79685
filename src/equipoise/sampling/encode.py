"""From pictures to latents in one step: the codes of the discriminator's encoder, mapped linearly to latents.

BEGAN's discriminator encodes images, but its code is a latent of its own decoder, not of the generator, and may have
another length. How the two belong together can be learnt from the generator alone: of images that it makes the latents
are known, and a linear regression finds them from the codes. Where a run was trained with `--recover` (BEGAN-CS,
arXiv:1808.07258), whose codes are to be the latents, it finds about the identity.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.latents.regression import Regression, ridge_regression
from equipoise.latents.search import into_range
from equipoise.sampling.players import TrainedPlayers

DRAWN = 2_000  # latents at least from which the map is learnt, and more for long codes
PER_CODE = 8  # latents for each value of a code
BLOCK = 64


@dataclass(frozen=True)
class LatentEncoder:
    """Images to latents in one step.

    Attributes:
        players: of the run.
        regression: from codes to latents.
    """

    players: TrainedPlayers
    regression: Regression

    def __call__(self, images: Tensor) -> Tensor:
        """Latents (N, latent) of images (N, C, H, W) in [-1, 1], within the prior's range."""
        with torch.no_grad():
            codes = torch.cat([self.players.features(part) for part in torch.split(images, BLOCK)])
        return into_range(self.regression(codes), self.players.prior)


def latent_encoder(players: TrainedPlayers, *, seed: int = 0) -> LatentEncoder:
    """The encoder of a run, its linear map learnt from images that the run's generator makes.

    Raises:
        UsageError: the run's discriminator is no autoencoder, and encodes nothing.
    """
    if not players.encodes:
        raise UsageError(
            f"the discriminator of {players.run.path} is no autoencoder and has no codes: leave --fast out, or train "
            "began, ebgan, magan or ls-gan on a network that has"
        )
    count = max(DRAWN, PER_CODE * players.run.config.network.codes)
    z = players.draw(count, "encoder", seed)
    labels = torch.arange(count, device=z.device) % max(1, players.classes)
    parts = zip(torch.split(z, BLOCK), torch.split(labels, BLOCK), strict=True)
    with torch.no_grad():
        made = torch.cat([players.features(players.generate(*part)) for part in parts])
    return LatentEncoder(players, ridge_regression(made, z))
