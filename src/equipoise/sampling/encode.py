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
from equipoise.latents.search import absolute_error, into_range
from equipoise.networks.players import EnergyDiscriminator
from equipoise.sampling.players import TrainedPlayers

DRAWN, PER_CODE = 4_000, 16  # latents from which the map is learnt at least, and for each value of a code
LEFT_OUT = 512  # of them by which the penalty is chosen
PENALTIES = (1e-6, 1e-4, 1e-2, 1.0)
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

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Latents (N, latent) of images (N, C, H, W) in [-1, 1], within the prior's range."""
        codes = torch.cat([self.players.features(part) for part in torch.split(images, BLOCK)])
        return into_range(self.regression(codes), self.players.prior)


@torch.no_grad()
def latent_encoder(players: TrainedPlayers, *, seed: int = 0) -> LatentEncoder:
    """The encoder of a run, its linear map learnt from images that the run's generator makes.

    Of several penalties the one is taken with which images that were left out are made anew best.

    Raises:
        UsageError: the run's discriminator is no autoencoder, and encodes nothing.
    """
    if not isinstance(players.discriminator, EnergyDiscriminator):
        raise UsageError(
            f"the discriminator of {players.run.path} is no autoencoder and has no codes: leave --fast out, or train "
            "began, ebgan, magan or ls-gan on a network that has"
        )
    count = max(DRAWN, PER_CODE * players.run.config.network.codes)
    z = players.draw(count, "encoder", seed)
    labels = torch.arange(count, device=z.device) % max(1, players.classes)
    parts = zip(torch.split(z, BLOCK), torch.split(labels, BLOCK), strict=True)
    codes = torch.cat([players.features(players.generate(*part)) for part in parts])

    def error(regression: Regression) -> float:
        """Mean absolute error of the images that were left out."""
        parts = (torch.split(each[:LEFT_OUT], BLOCK) for each in (z, codes, labels))
        errors = [
            absolute_error(
                players.generate(into_range(regression(code), players.prior), label), players.generate(true, label)
            )
            for true, code, label in zip(*parts, strict=True)
        ]
        return torch.cat(errors).mean().item()

    fitted = {each: ridge_regression(codes[LEFT_OUT:], z[LEFT_OUT:], each) for each in PENALTIES}
    penalty = min(PENALTIES, key=lambda each: error(fitted[each]))
    return LatentEncoder(players, ridge_regression(codes, z, penalty))
