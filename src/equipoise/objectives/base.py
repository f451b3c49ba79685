"""What every objective is: its configuration and its equations in one frozen dataclass.

An objective sees a `Batch`, gives each player's `Loss`, and keeps its own moving quantities (a balance term, a margin)
in a `State` that is passed in and returned. It never touches weights, devices or processes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from equipoise.players import Conditions, DiscriminatorOutput, GeneratorOutput
from equipoise.randomness import Draws

State = dict[str, Tensor]
"""An objective's moving quantities: 0-d tensors by name, all of them in the checkpoint."""

Aux = dict[str, Tensor]
"""What a loss has seen on the way: 0-d detached tensors by name, each a mean over the batch."""

ReducedAux = Mapping[str, Tensor]
"""The auxiliary values of one step, reduced: 0-d tensors by name, averaged over the whole batch and every process."""

ScoreKind = Literal["logit", "critic", "loss", "energy"]
"""What a discriminator's score means to an objective; `Network.serves` says which of them a network can be."""


@dataclass(frozen=True)
class Needs:
    """What an objective asks of its networks; a pairing that cannot work is refused at the start.

    Attributes:
        score: what the discriminator's score has to be.
        codes: whether the discriminator must give codes.
        independent: whether an image's score must not depend on the others in the batch, as it does under BatchNorm.
        levels: 0 for images; else of how many values each pixel is drawn (see `Extras.levels`), real ones rounded to
            them.
        samples: discrete images drawn for each latent.
    """

    score: ScoreKind
    codes: bool = False
    independent: bool = False
    levels: int = 0
    samples: int = 1


@dataclass(frozen=True)
class Batch:
    """All that an objective may see of one step.

    Attributes:
        real: (N, C, H, W) in [-1, 1].
        latent: (N, K) what the generator was given.
        fake: the generator's answer to `latent`.
        d_real: the discriminator's answer to `real`.
        d_fake: the discriminator's answer to `fake.images`.
        discriminator: the discriminator itself; `discriminate` asks it again (gradient penalties).
        draws: random tensors for this step.
        labels: (N,) class indices of `real`, where the data has them.
        conditions: what else the generator was given.
        gather: this process's rows -> the rows of every process, differentiable; for statistics of a whole batch.
        autocast: the context in which the players run.
    """

    real: Tensor
    latent: Tensor
    fake: GeneratorOutput
    d_real: DiscriminatorOutput
    d_fake: DiscriminatorOutput
    discriminator: nn.Module
    draws: Draws = field(repr=False)
    labels: Tensor | None = None
    conditions: Conditions = Conditions()  # noqa: RUF009
    all_gather: Callable[[Tensor], Tensor] = lambda rows: rows
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext

    def discriminate(self, images: Tensor) -> DiscriminatorOutput:
        """The discriminator's answer to other images, in the precision of training."""
        with self.autocast():
            return cast(DiscriminatorOutput, self.discriminator(images))


@dataclass(frozen=True)
class Loss:
    """One player's loss, to be minimised, and what was seen on the way.

    Attributes:
        value: 0-d; the mean over this process's rows, or over all rows that were gathered.
        aux: for `adapt` and `measures`; averaged over all processes first.
    """

    value: Tensor
    aux: Aux

    @classmethod
    def of(cls, value: Tensor, **aux: Tensor) -> "Loss":
        """A loss, with what it has seen detached."""
        return cls(value, {name: each.detach() for name, each in aux.items()})


class Half(NamedTuple):
    """One half of a batch, real or generated images, as far as losses with a shared term see it.

    Attributes:
        output: the discriminator's answer to the images.
        latent: (N, K) what the generator is given in this step.
        gather: as that of a `Batch`.
    """

    output: DiscriminatorOutput
    latent: Tensor
    all_gather: Callable[[Tensor], Tensor] = lambda rows: rows


class Shared(NamedTuple):
    """The losses of generated images where both players share a term: L_D has factor * term, L_G term + generator.

    Attributes:
        term: 0-d.
        generator: 0-d, or None where there is nothing more.
        aux: as that of a `Loss`.
    """

    term: Tensor
    generator: Tensor | None
    aux: Aux


class Objective(ABC):
    """A frozen dataclass of hyper-parameters with the objective's equations as its methods.

    Only `needs` and the two losses must be given; what most objectives do not have stands here as nothing.
    """

    def __init_subclass__(cls) -> None:
        """A subclass with a loss of its own shares no term with the other player, unless it says so itself."""
        if "factor" not in vars(cls) and {"discriminator_loss", "generator_loss"} & vars(cls).keys():
            cls.factor = Objective.factor  # type: ignore[method-assign]

    defaults: ClassVar[Mapping[str, Any]] = {}
    """Settings of a TrainConfig that its authors used, where they differ from those of TrainConfig itself."""
    toy_defaults: ClassVar[Mapping[str, Any]] = {
        "batch": 256,
        "images": 2_500_000,
        "log_every": 10_000,
        "sample_every": 100_000,
        "checkpoint_every": 250_000,
        "lr": 2e-3,
        "beta1": 0.0,
        "beta2": 0.99,
        "ema": 50_000,
    }
    """Those that replace them on toys in the plane: ours, found on 25 Gaussians (docs/toys.md)."""

    @property
    @abstractmethod
    def needs(self) -> Needs:
        """What the networks must give; a class attribute where the hyper-parameters have no say in it."""

    @property
    def convergence(self) -> str | None:
        """The measure that falls as training converges, if the objective has one."""
        return None

    @property
    def clip(self) -> float:
        """After each of its steps the discriminator's weights are clipped to [-clip, clip]; 0 leaves them."""
        return 0.0

    @classmethod
    def presets(cls) -> "Mapping[str, tuple[Objective, Mapping[str, Any]]]":
        """Published variants by name: the objective, and settings of a TrainConfig beside its `defaults`."""
        return {}

    def start(self, steps_per_epoch: int) -> State:
        """The state before the first step; `steps_per_epoch` steps see all images once."""
        return {}

    def critic_steps(self, generator_steps: int, n_critic: int, steps_per_epoch: int) -> int:
        """Steps of the discriminator before the generator's next, which is its number `generator_steps`, from 0."""
        return n_critic

    @abstractmethod
    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """The loss that moves the discriminator only; pure."""

    @abstractmethod
    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """The loss that moves the generator only; pure. With alternating updates `batch.d_fake` is judged anew."""

    def factor(self, state: State) -> Tensor | None:
        """The factor, 0-d, up to which both losses share their term of generated images, if they do.

        Then each half of the batch can be judged and differentiated by itself, once for both players.
        """
        return None

    def real_loss(self, half: Half) -> Loss:
        """What the discriminator's loss has of real images; only asked for where there is a `factor`."""
        raise AssertionError(type(self).__name__)

    def fake_losses(self, half: Half) -> Shared:
        """What both losses have of generated images; only asked for where there is a `factor`."""
        raise AssertionError(type(self).__name__)

    def adapt(self, state: State, aux: ReducedAux) -> State:
        """The state after a step that saw `seen`; pure, without a host synchronisation.

        What the generator's loss sees is absent from `seen` after a step in which only the discriminator moved.
        """
        return state

    def measures(self, state: State, aux: ReducedAux) -> dict[str, Tensor]:
        """What to log of a step: 0-d tensors by name."""
        return dict(aux)


def accuracy(real: Tensor, fake: Tensor, threshold: float = 0.0) -> Tensor:
    """Share of scores (N,) on their own side of `threshold`: real ones above it, fake ones below; 0-d in [0, 1]."""
    right = (real > threshold).to(real.dtype).mean() + (fake < threshold).to(fake.dtype).mean()
    return (right / 2).detach()


def zeros(*names: str) -> State:
    """A state of zeros."""
    return {name: torch.zeros(()) for name in names}


Update = Literal["simultaneous", "alternating"]
