"""The inputs of one step: real images, latents and all else that is drawn, as functions of seed and images seen."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from equipoise.config.train_config import TrainConfig
from equipoise.data import Augmentation, Feed, augment, channels_last, flips, normalise
from equipoise.devices import to_device
from equipoise.players import Conditions
from equipoise.randomness import Draws
from equipoise.sampling.conditions import make_conditions, quantize
from equipoise.training.distributed import Distributed


@dataclass(frozen=True)
class StepInputs:
    """The inputs of one step on this process, whose share of the batch has n images.

    Attributes:
        real: (n, C, H, W) in [-1, 1].
        latent: (n, K).
        draws: source of all other random tensors.
        labels: (n,) int64 classes of `real`, where the data has them.
        conditions: what the generator takes beside the latent.
        latent_g: (n, K) for the generator's own loss, where it is to be of other latents than the discriminator's.
        augmentations: kinds of random changes between all images and the discriminator.
    """

    real: Tensor
    latent: Tensor
    draws: Draws = field(repr=False)
    labels: Tensor | None = None
    conditions: Conditions | None = None
    latent_g: Tensor | None = None
    augmentations: tuple[Augmentation, ...] = ()

    def augment(self, images: Tensor, purpose: str) -> Tensor:
        """Images (n, C, H, W) as the discriminator is to see them; differentiable."""
        return augment(images, self.augmentations, self.draws, purpose)

    def augmented_real(self) -> Tensor:
        """(n, C, H, W), the real images as the discriminator is to see them."""
        return self.augment(self.real, "real")


def make_batch(
    config: TrainConfig,
    feed: Feed,
    images_seen: int,
    distributed: Distributed,
    device: torch.device,
    readers: int | None = None,
) -> StepInputs:
    """Share of this process in the batch that comes after `images_seen` images.

    A pure function of the seed and the position: the shares of all processes together are what one process would get.

    Args:
        config: of the run.
        feed: its images.
        images_seen: by all processes so far.
        distributed: which process this is, of how many.
        device: where to compute.
        readers: number of processes that the run began with; see `Feed.draw`.

    Raises:
        UsageError: the data cannot be read on.
    """
    rank, processes = distributed.rank, distributed.world_size
    size = config.batch // processes
    share = slice(rank * size, (rank + 1) * size)
    draws = Draws(config.seed, images_seen, config.batch, share, device, config.dtype)
    latent, prior = config.network.latent, config.prior

    images, labels = feed.draw(config.batch, config.seed, images_seen, rank, processes, readers)
    # Laid out channels-last while they are bytes, a quarter of the memory traffic; converted on the device.
    real = normalise(channels_last(to_device(device, images)))  # a toy's points are floats, and stay as they are
    if config.flip:
        mirrored = to_device(device, torch.from_numpy(flips(config.batch, config.seed, images_seen)[share]))
        real = torch.where(mirrored[:, None, None, None], real.flip(-1), real)
    real = quantize(real.to(config.dtype), config.objective.needs.levels)
    return StepInputs(
        real=real,
        latent=draws.latents("latents", latent, prior),
        draws=draws,
        labels=None if labels is None else to_device(device, labels),
        conditions=make_conditions(config, feed.classes, draws, real),
        latent_g=draws.latents("latents of the generator", latent, prior) if config.separate_latents else None,
        augmentations=config.augment,
    )
