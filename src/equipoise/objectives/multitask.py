"""Any objective with auxiliary tasks beside it: classes, rotations, images to fill in."""

from dataclasses import dataclass as plain
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.objectives.base import Aux, Batch, Loss, Needs, Objective, ReducedAux, State

ROTATIONS = 4

Weight = Annotated[float, Field(ge=0, le=1000)]
Mask = Literal["centre", "rectangle"]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class Tasks:
    """Weights of auxiliary tasks; those at 0 are not computed, and leave a run as it is without them."""

    adversarial: Weight = 1.0
    """Weight of the objective's own losses (with `inpaint` 0.999 the context encoder's is 0.001)."""
    classify_d: Weight = 0.0
    """Weight in D's loss of telling the class of real images and of generated ones (AC-GAN: 1)."""
    classify_g: Weight = 0.0
    """Weight in G's loss of making images of the class it is given (AC-GAN: 1)."""
    rotate_d: Weight = 0.0
    """Weight in D's loss of telling how real images were turned (SS-GAN: 1)."""
    rotate_g: Weight = 0.0
    """Weight in G's loss of making images whose turns can be told (SS-GAN: 0.2)."""
    inpaint: Weight = 0.0
    """Weight in G's loss of the hidden pixels' squared error (context encoder: 0.999)."""
    mask: Mask = "centre"
    """What is hidden of an image to fill in: a quarter of it, in its middle, or one rectangle anywhere."""

    def __post_init__(self) -> None:
        for task in ("classify", "rotate"):
            if getattr(self, f"{task}_g") and not getattr(self, f"{task}_d"):
                raise UsageError(f"{task}_g needs {task}_d above 0: a discriminator that never learns cannot teach")

    @property
    def classify(self) -> bool:
        """Whether there are classes to tell."""
        return self.classify_d > 0

    @property
    def rotate(self) -> bool:
        """Whether there are rotations to tell."""
        return self.rotate_d > 0

    @property
    def any(self) -> bool:
        """Whether anything differs from the objective alone."""
        return self.classify or self.rotate or self.inpaint > 0 or self.adversarial != 1

    def logits(self, classes: int) -> int:
        """How many logits the discriminator gives: those of the classes first, then those of the rotations."""
        return (classes if self.classify else 0) + (ROTATIONS if self.rotate else 0)

    def refuse(self, shape: tuple[int, int, int], classes: int, needs: Needs) -> None:
        """Refuse tasks that images of `shape` (C, H, W) and so many classes do not allow.

        Raises:
            UsageError: no classes, images that are not square, or a generator without gradients.
        """
        if self.classify and classes < 2:
            raise UsageError("classifying needs images of at least two classes: folders' names, or labels in the file")
        if self.rotate and shape[1] != shape[2]:
            raise UsageError(f"rotating needs square images, not {shape[2]}x{shape[1]}: give --resolution one side")
        if needs.levels and (self.classify or self.rotate or self.inpaint):
            raise UsageError("auxiliary tasks need a generator of images that have gradients, not of discrete values")


@plain(frozen=True)
class Multitask(Objective):
    """An objective with auxiliary tasks: L = w_0 L_adversarial + sum of w_t L_t, for each player (document 003).

    Classes are those of AC-GAN (Odena, Olah and Shlens 2017), arXiv:1610.09585; rotations those of SS-GAN (Chen et al.
    2019), arXiv:1811.11212, one turn drawn for each image; filling in is that of context encoders (Pathak et al. 2016),
    arXiv:1604.07379. The gradient norms among the measures are, like the losses, means over images: of the length of
    the gradient of an image's own loss in its logits, or for `inpaint` in its pixels.

    Attributes:
        objective: what the players play for.
        tasks: the weights.
        classes: how many classes the data has.
    """

    objective: Objective
    tasks: Tasks
    classes: int = 0

    @property
    def needs(self) -> Needs:
        """The objective's."""
        return self.objective.needs

    @property
    def convergence(self) -> str | None:
        """The objective's."""
        return self.objective.convergence

    @property
    def clip(self) -> float:
        """The objective's."""
        return self.objective.clip

    def start(self, steps_per_epoch: int) -> State:
        """The objective's."""
        return self.objective.start(steps_per_epoch)

    def critic_steps(self, generator_steps: int, n_critic: int, steps_per_epoch: int) -> int:
        """The objective's."""
        return self.objective.critic_steps(generator_steps, n_critic, steps_per_epoch)

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """The objective's; classes of real and of generated images; turns of real ones."""
        parts, tasks = [self._adversarial(self.objective.discriminator_loss(batch, state))], self.tasks
        if tasks.classify_d:
            assert batch.labels is not None  # noqa: S101
            real = classification_loss("classify", "real", self._class_logits(batch.d_real.logits), batch.labels)
            parts += [_weighed(tasks.classify_d, real), _weighed(tasks.classify_d, self._class_of_fake(batch))]
        if tasks.rotate_d:
            parts.append(_weighed(tasks.rotate_d, self._turns(batch, "real", batch.real)))
        return _sum(parts)

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """The objective's; classes and turns of generated images; hidden pixels."""
        parts, tasks = [self._adversarial(self.objective.generator_loss(batch, state))], self.tasks
        if tasks.classify_g:
            parts.append(_weighed(tasks.classify_g, self._class_of_fake(batch)))
        if tasks.rotate_g:
            parts.append(_weighed(tasks.rotate_g, self._turns(batch, "fake", batch.fake.images)))
        if tasks.inpaint:
            assert batch.conditions.mask is not None  # noqa: S101
            parts.append(
                _weighed(tasks.inpaint, masked_squared_error(batch.fake.images, batch.real, batch.conditions.mask))
            )
        return _sum(parts)

    def adapt(self, state: State, aux: ReducedAux) -> State:
        """The objective's."""
        return self.objective.adapt(state, aux)

    def measures(self, state: State, aux: ReducedAux) -> dict[str, Tensor]:
        """The objective's, and each task's loss, accuracy and gradient norm, before its weight."""
        return self.objective.measures(state, aux)

    def _adversarial(self, loss: Loss) -> Loss:
        return loss if self.tasks.adversarial == 1 else _weighed(self.tasks.adversarial, loss)

    def _class_of_fake(self, batch: Batch) -> Loss:
        assert batch.conditions.labels is not None  # noqa: S101
        return classification_loss("classify", "fake", self._class_logits(batch.d_fake.logits), batch.conditions.labels)

    def _class_logits(self, logits: Tensor | None) -> Tensor:
        assert logits is not None  # noqa: S101
        return logits[:, : self.classes]

    def _turns(self, batch: Batch, which: str, images: Tensor) -> Loss:
        turns = batch.draws.integers(f"rotation of {which} images", ROTATIONS)
        logits = batch.discriminate(rotate_images(images, turns)).logits
        assert logits is not None  # noqa: S101
        return classification_loss("rotate", which, logits[:, -ROTATIONS:], turns)


def classification_loss(task: str, which: str, logits: Tensor, truth: Tensor) -> Loss:
    """Cross entropy of logits (N, T) at the true indices (N,), with accuracy and gradient norm."""
    logits = logits if logits.dtype == torch.float64 else logits.float()
    loss = F.cross_entropy(logits, truth)
    right = (logits.argmax(1) == truth).to(logits.dtype).mean()
    gradient = logits.softmax(1) - F.one_hot(truth, logits.shape[1])  # of each image's own loss
    aux = {"loss": loss, "accuracy": right, "gradient": gradient.norm(dim=1).mean()}
    return Loss.of(loss, **{f"{task}_{name}_{which}": value for name, value in aux.items()})


def rotate_images(images: Tensor, turns: Tensor) -> Tensor:
    """Each of the square images (N, C, S, S) turned by its own number (N,) of quarters, against the clock."""
    every = torch.stack([images.rot90(turn, (2, 3)) for turn in range(ROTATIONS)])  # (4, N, C, S, S)
    return every[turns, torch.arange(len(images), device=images.device)]


def masked_squared_error(images: Tensor, truth: Tensor, mask: Tensor) -> Loss:
    """Mean squared error of the values that `mask` hides, image by image; the others do not matter.

    Args:
        images: (N, C, H, W) as filled in.
        truth: (N, C, H, W).
        mask: (N, 1, H, W), 1 where hidden, else 0.
    """
    dtype = torch.promote_types(truth.dtype, torch.float32)
    mask = mask.to(dtype)
    hidden = (mask.flatten(1).sum(1) * images.shape[1]).clamp_min(1)  # values of each image
    error = mask * (images.to(dtype) - truth)
    squares = error.square().flatten(1).sum(1)
    loss = (squares / hidden).mean()
    return Loss.of(loss, inpaint_loss=loss, inpaint_gradient=(2 * squares.sqrt() / hidden).mean())


def _weighed(weight: float, loss: Loss) -> Loss:
    return Loss(weight * loss.value, loss.aux)


def _sum(parts: list[Loss]) -> Loss:
    value, aux = parts[0].value, Aux(parts[0].aux)
    for part in parts[1:]:
        value, aux = value + part.value, aux | part.aux
    return Loss(value, aux)
