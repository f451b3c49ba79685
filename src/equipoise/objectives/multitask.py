"""Any objective with auxiliary tasks: classification, rotation and inpainting."""

import dataclasses
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.objectives.base import Aux, Batch, Loss, Needs, Objective, ReducedAux, State

ROTATIONS = 4  # by 0, 90, 180 and 270 degrees

Weight = Annotated[float, Field(ge=0, le=1000)]
Mask = Literal["centre", "rectangle"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class Tasks:
    """Weights of auxiliary tasks; a task of weight 0 is not computed, and does not change the run."""

    adversarial: Weight = 1.0
    """Weight of the objective's own losses (context encoder: 0.001, with `inpaint` 0.999)."""
    classify_d: Weight = 0.0
    """Weight in D's loss of classifying real and generated images (AC-GAN: 1)."""
    classify_g: Weight = 0.0
    """Weight in G's loss of the classification of generated images as their classes (AC-GAN: 1)."""
    rotate_d: Weight = 0.0
    """Weight in D's loss of recognising the rotation of real images (SS-GAN: 1)."""
    rotate_g: Weight = 0.0
    """Weight in G's loss of the recognition of generated images' rotations (SS-GAN: 0.2)."""
    inpaint: Weight = 0.0
    """Weight in G's loss of the squared error of masked pixels (context encoder: 0.999)."""
    mask: Mask = "centre"
    """Masked region for inpainting: the central quarter of the image, or a rectangle at random."""

    def __post_init__(self) -> None:
        for task in ("classify", "rotate"):
            if getattr(self, f"{task}_g") and not getattr(self, f"{task}_d"):
                raise UsageError(f"--{task}-g needs --{task}-d above 0: a discriminator that never learns cannot teach")
        if not (self.adversarial or self.classify or self.rotate or self.inpaint):
            raise UsageError("--adversarial 0 without another task leaves nothing to learn: give one a weight")

    @property
    def classify(self) -> bool:
        """Whether images are classified."""
        return self.classify_d > 0

    @property
    def rotate(self) -> bool:
        """Whether rotations are recognised."""
        return self.rotate_d > 0

    @property
    def any(self) -> bool:
        """Whether the losses differ from those of the objective alone."""
        return self.classify or self.rotate or self.inpaint > 0 or self.adversarial != 1

    def logits(self, classes: int) -> int:
        """Number of the discriminator's task logits: first those of the classes, then those of the rotations."""
        return (classes if self.classify else 0) + (ROTATIONS if self.rotate else 0)

    def check(self, shape: tuple[int, int, int], classes: int, needs: Needs) -> None:
        """Check that data and objective allow the tasks.

        Args:
            shape: (C, H, W) of the images.
            classes: number of the data's classes, or 0.
            needs: the objective's.

        Raises:
            UsageError: fewer than two classes to classify, images to rotate that are not square, or discrete images.
        """
        if self.classify and classes < 2:
            raise UsageError("classifying needs images of at least two classes: folders' names, or labels in the file")
        if self.rotate and shape[1] != shape[2]:
            raise UsageError(f"rotating needs square images, not {shape[2]}x{shape[1]}: give --resolution one side")
        if needs.levels and (self.classify or self.rotate or self.inpaint):
            raise UsageError("auxiliary tasks need a generator of images that have gradients, not of discrete values")


@dataclasses.dataclass(frozen=True)
class Multitask(Objective):
    """An objective with auxiliary tasks: L = w_0 L_adversarial + sum of w_t L_t, for each player.

    Classification as in AC-GAN (Odena, Olah and Shlens 2017), arXiv:1610.09585; rotations as in SS-GAN (Chen et al.
    2019), arXiv:1811.11212, one per image; inpainting as in context encoders (Pathak et al. 2016), arXiv:1604.07379.
    The measures of each task are its loss before weighting, its accuracy, and its gradient norm: the mean over images
    of the norm of the image's own loss's gradient in its logits, or for inpainting in its pixels.

    Attributes:
        objective: the adversarial objective.
        tasks: the weights.
        classes: number of the data's classes.
    """

    objective: Objective
    tasks: Tasks
    classes: int = 0

    @property
    def needs(self) -> Needs:
        """The objective's."""
        return self.objective.needs

    @property
    def convergence_measure(self) -> str | None:
        """The objective's."""
        return self.objective.convergence_measure

    @property
    def clip(self) -> float:
        """The objective's."""
        return self.objective.clip

    def initial_state(self, steps_per_epoch: int) -> State:
        """The objective's."""
        return self.objective.initial_state(steps_per_epoch)

    def critic_steps(self, generator_steps: int, n_critic: int, steps_per_epoch: int) -> int:
        """The objective's."""
        return self.objective.critic_steps(generator_steps, n_critic, steps_per_epoch)

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """w_0 L_D + classify_d (CE(real) + CE(fake)) + rotate_d CE(rotated real)."""
        tasks, parts = self.tasks, [(self.tasks.adversarial, self.objective.discriminator_loss(batch, state))]
        if tasks.classify_d:
            real = self._classification(batch.d_real.logits, batch.labels, "real")
            fake = self._classification(batch.d_fake.logits, batch.conditions.labels, "fake")
            parts += [(tasks.classify_d, real), (tasks.classify_d, fake)]
        if tasks.rotate_d:
            parts.append((tasks.rotate_d, rotation_loss(batch, batch.real, "real")))
        return weighted_sum(parts)

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """w_0 L_G + classify_g CE(fake) + rotate_g CE(rotated fake) + inpaint MSE(masked pixels)."""
        tasks, parts = self.tasks, [(self.tasks.adversarial, self.objective.generator_loss(batch, state))]
        if tasks.classify_g:
            fake = self._classification(batch.d_fake.logits, batch.conditions.labels, "fake")
            parts.append((tasks.classify_g, fake))
        if tasks.rotate_g:
            parts.append((tasks.rotate_g, rotation_loss(batch, batch.fake.images, "fake")))
        if tasks.inpaint:
            assert batch.conditions.mask is not None  # noqa: S101
            error = masked_squared_error(batch.fake.images, batch.real, batch.conditions.mask)
            parts.append((tasks.inpaint, error))
        return weighted_sum(parts)

    def adapt(self, state: State, aux: ReducedAux) -> State:
        """The objective's."""
        return self.objective.adapt(state, aux)

    def measures(self, state: State, aux: ReducedAux) -> dict[str, Tensor]:
        """The objective's, which pass the tasks' auxiliary values on."""
        return self.objective.measures(state, aux)

    def _classification(self, logits: Tensor | None, labels: Tensor | None, which: str) -> Loss:
        """Cross entropy of the class logits at `labels`."""
        assert logits is not None  # noqa: S101
        assert labels is not None  # noqa: S101
        return cross_entropy("classify", which, logits[:, : self.classes], labels)


def rotation_loss(batch: Batch, images: Tensor, which: str) -> Loss:
    """Cross entropy of the rotation logits of images (N, C, S, S), each rotated at random."""
    quarters = batch.draws.integers(f"rotation of {which} images", ROTATIONS)
    logits = batch.discriminate(rotate_images(images, quarters)).logits
    assert logits is not None  # noqa: S101
    return cross_entropy("rotate", which, logits[:, -ROTATIONS:], quarters)


def cross_entropy(task: str, which: str, logits: Tensor, labels: Tensor) -> Loss:
    """Cross entropy of logits (N, T) at labels (N,), with the accuracy and the gradient norm."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    loss = F.cross_entropy(logits, labels)
    accuracy = (logits.argmax(1) == labels).to(logits.dtype).mean()
    gradient = logits.softmax(1) - F.one_hot(labels, logits.shape[1])  # (N, T), of each image's own loss
    aux = {"loss": loss, "accuracy": accuracy, "gradient": gradient.norm(dim=1).mean()}
    return Loss(loss, {f"{task}_{name}_{which}": value for name, value in aux.items()})


def rotate_images(images: Tensor, quarters: Tensor) -> Tensor:
    """Square images (N, C, S, S), each rotated anticlockwise by its own number (N,) of quarter turns."""
    # All four rotations of every image, then one picked for each: no loop, and the host does not wait for `quarters`.
    rotations = torch.stack([images.rot90(turns, (2, 3)) for turns in range(ROTATIONS)])  # (4, N, C, S, S)
    return rotations[quarters, torch.arange(len(images), device=images.device)]


def masked_squared_error(images: Tensor, truth: Tensor, mask: Tensor) -> Loss:
    """Mean squared error of masked values: the mean over images of each one's mean over its masked values.

    Args:
        images: (N, C, H, W), inpainted.
        truth: (N, C, H, W).
        mask: (N, 1, H, W), 1 where masked, else 0.
    """
    dtype = torch.promote_types(truth.dtype, torch.float32)
    mask = mask.to(dtype)
    masked = (mask.flatten(1).sum(1) * images.shape[1]).clamp_min(1)  # (N,) number of masked values
    error = mask * (images.to(dtype) - truth)
    squares = error.square().flatten(1).sum(1)
    loss = (squares / masked).mean()
    return Loss(loss, {"inpaint_loss": loss, "inpaint_gradient": (2 * squares.sqrt() / masked).mean()})


def weighted_sum(parts: list[tuple[float, Loss]]) -> Loss:
    """The sum of losses by their weights, and all of their auxiliary values, which stay unweighted."""
    (weight, first), *rest = parts
    value, aux = weight * first.value, Aux(first.aux)
    for weight, loss in rest:
        value, aux = value + weight * loss.value, aux | loss.aux
    return Loss(value, aux)
