"""The samples that a run shows while it trains: always of the same latents, so that a person sees them change."""

import torch
from PIL import Image

from equipoise.config.train_config import TrainConfig
from equipoise.data import Feed, Images, normalise, to_uint8
from equipoise.metrics.similarity import diversity
from equipoise.randomness import Draws, keyed_generator, latents
from equipoise.sampling.conditions import make_conditions
from equipoise.sampling.sample import generate
from equipoise.training.likeness import Likeness, codes_of
from equipoise.training.overfitting import Overfitting
from equipoise.training.state import TrainState
from equipoise.views.figures import grid
from equipoise.views.toy_scatter import realness_score, toy_measures, toy_scatter

TOY_POINTS = 2_000  # samples of a toy, all of which are shown and measured
MEASURED = 256  # samples that are compared with the data
REAL = 768  # images of the data that they are compared with
IN_GRID = 64  # of which a grid shows the first


class SampleGrid:
    """Draws a run's samples from fixed latents and conditions, and measures how diverse and how like the data they are.

    Args:
        config: of the run.
        feed: gives real images, which the samples are compared with, and which are filled in where the run
            inpaints.
        held_out: images that are kept from it, where they are at hand.
    """

    def __init__(self, config: TrainConfig, feed: Feed, held_out: Images | None = None) -> None:
        self.config = config
        count = TOY_POINTS if config.toy else MEASURED
        self.latents = latents(count, config.network.latent, config.prior, keyed_generator(config.seed, "samples"))
        stored = feed.draw(min(REAL, feed.count or REAL), config.seed, 0).images
        real = normalise(stored[:MEASURED])
        self.data_diversity = diversity(real) if len(real) > 1 else 0.0
        self.likeness = None if config.toy else Likeness(stored)
        self.overfitting = Overfitting.of(config, feed, held_out)
        images = real[torch.arange(count) % len(real)]
        draws = Draws(config.seed, -1, count, slice(None))
        self.conditions = make_conditions(config, feed.classes, draws, images, training=False)
        if self.conditions is not None and self.conditions.labels is not None:
            labels = torch.arange(count) % feed.classes  # every class in turn
            self.conditions = self.conditions._replace(labels=labels)

    def draw(self, train_state: TrainState) -> tuple[Image.Image, dict[str, float]]:
        """A picture of the samples of the averaged generator, and what was measured of them.

        Returns:
            A grid of images, or of a toy all points over the data's with the discriminator's landscape behind; and
            `diversity`, the samples' mean distance over the data's where those differ, and an image's or a toy's
            further measures.
        """
        samples = generate(train_state.ema.eval(), self.config, self.latents, self.conditions)
        if toy := self.config.toy:
            points = samples.flatten(1)
            score = realness_score(train_state.players.discriminator, self.config.objective)
            picture, measures = toy_scatter(toy, points, score), toy_measures(toy, points)
        else:
            assert self.likeness is not None, "of all but toys"  # noqa: S101
            samples = samples.clamp(-1, 1)
            picture = grid(to_uint8(samples[:IN_GRID]))
            discriminator = train_state.players.discriminator
            measures = self.likeness.measures(samples, codes_of(discriminator, self.config))
            if self.overfitting:
                measures |= self.overfitting.measures(discriminator)
        if self.data_diversity:
            measures = {"diversity": diversity(samples[:MEASURED]) / self.data_diversity, **measures}
        return picture, measures
