"""Whether an autoencoder knows its images by heart: the energy of held-out ones beside that of its own."""

from torch import Tensor, nn

from equipoise.config.train_config import TrainConfig
from equipoise.data import Feed, Images, normalise
from equipoise.training.likeness import evaluated

FEWEST = 100  # held-out images, of which a mean says something
MOST = 256  # of them, and of the images that are trained on


class Overfitting:
    """Compares images that a discriminator is trained on with held-out ones, by its energy.

    Args:
        config: of the run.
        feed: of the images that it is trained on.
        held_out: others of the same kind.
    """

    def __init__(self, config: TrainConfig, feed: Feed, held_out: Images) -> None:
        self.config = config
        count = min(MOST, feed.count or MOST, len(held_out))
        self.training, self.held_out = (part.draw(count, config.seed, 0).images for part in (feed, held_out))

    @classmethod
    def of(cls, config: TrainConfig, feed: Feed, held_out: Images | None) -> "Overfitting | None":
        """The comparison, where the discriminator's score is an energy and enough images are held out."""
        if held_out is None or len(held_out) < FEWEST or config.objective.needs.score != "energy":
            return None
        return cls(config, feed, held_out)

    def measures(self, discriminator: nn.Module) -> dict[str, float]:
        """`held_out_energy`, the mean energy of held-out images over that of training images, neither augmented.

        1 where it knows neither by heart; well above, the boundaries of BEGAN and EBGAN, which follow the energy of
        training images, lie below what images that are as good as real ones can reach. Nothing where the energy is 0.

        Args:
            discriminator: left as it was.
        """

        def energy(images: Tensor) -> float:
            scores = evaluated(discriminator, self.config, normalise(images), lambda part: discriminator(part).score)
            return scores.double().mean().item()

        training = energy(self.training)
        return {"held_out_energy": energy(self.held_out) / training} if training else {}
