"""The interface of every network: a frozen specification that builds both players for images of a shape."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import nn

from equipoise.networks.norms import Norm
from equipoise.players import Players

Shape = tuple[int, int, int]
"""(C, H, W) of an image."""


class BuildOptions(NamedTuple):
    """Inputs and outputs of the players beside latents, images and scores.

    Attributes:
        condition: length of the condition that is concatenated to the latent.
        logits: number of the discriminator's logits for auxiliary tasks.
        levels: number of values per pixel of a discrete generator, which gives their logits instead of images:
            (N, C, H, W) for two values, those of the upper one, and (N, C * levels, H, W) for more; 0 for images.
    """

    condition: int = 0
    logits: int = 0
    levels: int = 0


class Network(ABC):
    """A frozen dataclass of sizes, whose `build` makes both players.

    One that normalises has fields `norm` and `generator_norm`; any other has none, as here.
    """

    score_kinds: ClassVar[frozenset[str]]
    """Meanings that the discriminator's score can have: logit, critic, loss, energy."""
    latent: int
    """Length of the latent."""
    norm: Norm = "none"
    """Normalisation in the discriminator."""
    generator_norm: Norm = "none"
    """Normalisation in the generator."""

    @classmethod
    def default(cls, *, independent: bool, independent_g: bool, smooth: bool, spectral: bool) -> "Network":
        """The network with default sizes.

        Args:
            independent: let no score depend on the rest of the batch.
            independent_g: let no generated image depend on the rest of the batch of latents.
            smooth: let the discriminator's gradient be continuous, if it can be.
            spectral: let the discriminator have spectral normalisation and no other, if it can.
        """
        return cls()

    @property
    def codes(self) -> int:
        """Length of the discriminator's codes, or 0 if it returns none."""
        return 0

    @property
    def independent(self) -> bool:
        """Whether an image's score does not depend on the rest of the batch, as it does with batch normalisation."""
        return self.norm != "batch"

    @property
    def independent_g(self) -> bool:
        """Whether a generated image does not depend on the rest of the batch of latents."""
        return self.generator_norm != "batch"

    @property
    def smallest_batch(self) -> int:
        """Images in the smallest batch: 2 where batch normalisation has but one value of each image and channel."""
        return 1

    @abstractmethod
    def build(self, shape: Shape, options: BuildOptions = BuildOptions()) -> Players:  # noqa: B008
        """Build both players for images of `shape`, with initial weights from the global random state.

        Raises:
            UsageError: the network cannot have images of this size.
        """

    def anneal(self, player: nn.Module, images_seen: int) -> None:  # noqa: B027
        """Update a player's scheduled constants, such as the carry of vanishing residuals."""
