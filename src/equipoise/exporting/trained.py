"""What is exported of a run: one checkpoint's generator, and what is known of the data that it was trained on."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor

from equipoise.config.datasets import open_dataset
from equipoise.data import Images
from equipoise.data.shards import is_stream
from equipoise.data.shards.fetch import redacted
from equipoise.data.shards.shard import is_url
from equipoise.errors import UsageError, printable
from equipoise.exporting.ports import Inputs
from equipoise.exporting.pretrained import GeneratorConfig, generator_config
from equipoise.randomness import Draws, keyed_generator, latents
from equipoise.runs.run import Run
from equipoise.sampling.conditions import inpainting_masks
from equipoise.sampling.load import ImageGenerator, generator_and_facts

EXAMPLES = 64  # latents on which an exported model is compared


@dataclass(frozen=True)
class Trained:
    """A run's trained generator with what belongs to it.

    Attributes:
        run: the run.
        facts: of the checkpoint.
        generator: in fp32 and evaluation mode, on the CPU.
        ema: whether its weights are the moving average.
        best: whether they are of the checkpoint with the best score.
        at: images after which the checkpoint was written, or None for the best.
    """

    run: Run
    facts: dict[str, Any]
    generator: ImageGenerator
    ema: bool
    best: bool
    at: int | None

    @classmethod
    def open(cls, run: Run, *, ema: bool, best: bool, at: int | None = None) -> "Trained":
        """The generator of a run's last checkpoint, of its best, or of that after so many images.

        Raises:
            UsageError: it is of a toy.
            CheckpointError: no checkpoint can be read.
        """
        if run.config.toy:
            raise UsageError(
                f"{run.path} makes points of the toy {run.config.data}, and exports are for images: "
                "`equipoise.load_generator(run)` gives its generator in Python"
            )
        network, facts = generator_and_facts(run, ema=ema, best=best, at=at)
        generator = (
            ImageGenerator(network, run.config.network.latent).eval().float().requires_grad_(requires_grad=False)
        )
        at = None if best else facts["images"]  # for what is loaded later of the same checkpoint
        return cls(run, facts, generator, ema and bool(run.config.ema), best, at)

    @cached_property
    def config(self) -> GeneratorConfig:
        """The generator's configuration on its own; of the data it says the name, and nothing of this machine."""
        names = (self.images.class_names or ()) if self.run.config.tasks.classify and self.images else ()
        config = generator_config(self.run.config, self.facts, tuple(map(printable, names)))
        return config.model_copy(update={"data": data_name(config.data)})

    @cached_property
    def images(self) -> Images | None:
        """The training images, where they are still there; none of shards, which would have to be read again."""
        if is_stream(self.run.place):
            return None
        try:
            return open_dataset(self.run.config, place=self.run.place).split("train")
        except UsageError:
            return None

    @property
    def imported(self) -> bool:
        """Whether the weights come from elsewhere, so that the run's settings do not say how they were trained."""
        return bool(self.facts.get("imported"))

    @property
    def weights_text(self) -> str:
        """Which weights these are, in words."""
        if self.imported:
            return "weights that were imported"
        which = "the moving average of the weights" if self.ema else "the weights"
        return f"{which} after {self.facts['images']:,} images seen{', the best by KID' if self.best else ''}"

    def inputs(self, count: int = EXAMPLES) -> Inputs:
        """Examples of the generator's inputs: latents from the prior, and classes or images with a hole."""
        draws, (channels, height, width) = Draws(0, 0, count, slice(None)), self.config.shape
        z = latents(count, self.generator.latent, self.config.prior, keyed_generator(0, "sample", 0))
        inputs = {"latents": z}
        if self.generator.classes:
            inputs["labels"] = draws.integers("classes to make", self.generator.classes)
        if self.config.inpainting:
            inputs["masked"] = draws.uniform("pixels", channels, height, width) * 2 - 1
            inputs["mask"] = inpainting_masks("rectangle", draws, height, width)
        return inputs

    @torch.inference_mode()
    def generated(self, count: int = EXAMPLES) -> Tensor:
        """The images (N, C, H, W) that the generator makes of `inputs(count)`, clamped to [-1, 1]."""
        images: Tensor = self.generator(**self.inputs(count)).clamp(-1, 1)
        return images.clone()


def data_name(data: str) -> str:
    """What data are called, without the folders of this machine in which they lie, and what may be secret of a URL."""
    if is_url(data):
        return printable(redacted(data))
    return printable(data if "://" in data else PurePath(data).name or data)
