"""What every pair of networks is: a frozen specification that builds both players for images of a shape."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import nn

from equipoise.players import BuildOptions, Players

Shape = tuple[int, int, int]
"""(C, H, W) of an image."""


class Network(ABC):
    """A frozen dataclass of sizes; `build` makes the players."""

    score_kinds: ClassVar[frozenset[str]]
    """What the discriminator's score can be: logit, critic, loss, energy."""
    latent: int
    """Length of the latent."""

    @classmethod
    def default(cls, *, independent: bool) -> "Network":
        """The network as it is by default; with scores that do not depend on the batch, if they must not."""
        return cls()

    @property
    def codes(self) -> bool:
        """Whether the discriminator gives codes."""
        return False

    @property
    def independent(self) -> bool:
        """Whether an image's score does not depend on the others in the batch."""
        return True

    @abstractmethod
    def build(self, shape: Shape, options: BuildOptions = BuildOptions()) -> Players:  # noqa: B008
        """Build both players for images of `shape`, untrained, from the global random state.

        Raises:
            UsageError: the network does not allow such images.
        """

    def anneal(self, player: nn.Module, images_seen: int) -> None:  # noqa: B027
        """Set what changes in a player as images are seen, apart from its weights."""
