"""The interface of every objective, and what it is given and returns.

An objective is a frozen dataclass: its fields are hyper-parameters, its methods the paper's equations. It computes each
player's `Loss` from a `Batch`. Quantities that change while training (a balance term, a margin) form its `State`, which
is passed in and returned. It never touches weights, optimizers, devices or processes.
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
"""An objective's changing quantities: 0-d tensors by name, saved in every checkpoint."""

Aux = dict[str, Tensor]
"""Auxiliary values of a loss: 0-d detached tensors by name, each a mean over this process's rows."""

ReducedAux = Mapping[str, Tensor]
"""The auxiliary values of one step's losses, averaged over all processes: 0-d tensors by name."""

ScoreKind = Literal["logit", "critic", "loss", "energy"]
"""Meaning of the discriminator's score; `Network.score_kinds` lists those that a network can give."""

TINY = 1e-12
"""Added under square roots and below quotients, so that values and gradients stay finite at 0."""

Update = Literal["simultaneous", "alternating"]
"""Whether both players step from the same weights, or the generator steps after the discriminator has."""


@dataclass(frozen=True)
class Needs:
    """Requirements of an objective on the networks; a network that does not meet them is refused before training.

    Attributes:
        score: meaning of the discriminator's score.
        codes: whether the discriminator must return codes.
        latent_codes: whether these must be as long as the latents.
        independent: whether an image's score must not depend on the rest of the batch, as it does under BatchNorm.
        independent_g: whether a generated image must not depend on the rest of the batch of latents either.
        smooth: whether the discriminator is better smooth, which the default networks then are.
        spectral: whether it is better with spectral normalisation alone, which the default networks then have.
        levels: number of values per pixel of a discrete generator (see `BuildOptions.levels`), to which real images
            are rounded; 0 for continuous images.
        samples: number of discrete images drawn per latent.
    """

    score: ScoreKind
    codes: bool = False
    latent_codes: bool = False
    independent: bool = False
    independent_g: bool = False
    smooth: bool = False
    spectral: bool = False
    levels: int = 0
    samples: int = 1


@dataclass(frozen=True)
class Batch:
    """Inputs of the losses: all that an objective may use of one step.

    Attributes:
        real: (N, C, H, W) in [-1, 1].
        latent: (N, K), the generator's input.
        fake: the generator's output for `latent`.
        d_real: the discriminator's output for `real`.
        d_fake: the discriminator's output for `fake.images`.
        discriminator: the discriminator; call it by `discriminate`.
        draws: random tensors of this step, by purpose.
        labels: (N,) class indices of `real`, where the data has classes.
        conditions: the generator's inputs beside `latent`.
        all_gather: differentiable, (N, ...) of this process -> (N * processes, ...) of all; for batch statistics.
        autocast: context manager of the training precision.
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
        """The discriminator's output for further images (gradient penalties), in the training precision."""
        with self.autocast():
            return cast(DiscriminatorOutput, self.discriminator(images))


@dataclass(frozen=True)
class Loss:
    """One player's loss, to be minimised, with auxiliary values for `adapt` and `measures`.

    Attributes:
        value: 0-d, mean over this process's rows, or over all gathered rows.
        aux: 0-d tensors by name, detached here; averaged over all processes before they are used.
    """

    value: Tensor
    aux: Aux = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Detached once for all objectives: a state computed from these must not keep every step's graph alive.
        object.__setattr__(self, "aux", {name: value.detach() for name, value in self.aux.items()})


class HalfBatch(NamedTuple):
    """The real or the generated half of a batch, for losses that share a term.

    Attributes:
        output: the discriminator's output for the images.
        latent: (N, K), the generator's input in this step.
        all_gather: as `Batch.all_gather`.
    """

    output: DiscriminatorOutput
    latent: Tensor
    all_gather: Callable[[Tensor], Tensor] = lambda rows: rows


class FakeTerms(NamedTuple):
    """Both losses' terms of generated images: coefficient * shared for L_D, shared + generator for L_G.

    Attributes:
        shared: 0-d.
        generator: 0-d, or None where L_G has no further term.
        aux: as `Loss.aux`.
    """

    shared: Tensor
    generator: Tensor | None
    aux: Aux


class Objective(ABC):
    """A frozen dataclass of hyper-parameters, with the objective's equations as methods.

    Subclasses must define `needs` and both losses; every other attribute has a neutral default here.
    """

    def __init_subclass__(cls) -> None:
        """Reset `shared_term_coefficient` in a subclass that overrides a loss but not the coefficient.

        An inherited coefficient describes the parent's losses. Kept, training would take the parent's `real_terms` and
        `fake_terms` and silently never call the new loss.
        """
        if "shared_term_coefficient" not in vars(cls) and {"discriminator_loss", "generator_loss"} & vars(cls).keys():
            cls.shared_term_coefficient = Objective.shared_term_coefficient  # type: ignore[method-assign]

    recipe: ClassVar[Mapping[str, Any]] = {}
    """Training settings by default, where they differ from those of `TrainConfig`: ours.

    Measured in docs/results/family-digits.md.
    """
    network_recipe: ClassVar[Mapping[str, Any]] = {}
    """Settings of the default networks for images, where they differ from those networks' own: ours."""
    published: ClassVar[Mapping[str, Any]] = {}
    """The authors' training settings, where they differ from the defaults of `TrainConfig`."""
    toy_recipe: ClassVar[Mapping[str, Any]] = {}
    """Training settings on points in the plane, where they differ from `config.defaults.TOY_RECIPE`."""

    @property
    @abstractmethod
    def needs(self) -> Needs:
        """Requirements on the networks; a class attribute where they do not depend on the hyper-parameters."""

    @property
    def lower_is_real(self) -> bool:
        """Whether the discriminator's score is lower for real images, as energies and losses are."""
        return self.needs.score in {"energy", "loss"}

    @property
    def convergence_measure(self) -> str | None:
        """Name of the measure that falls as training converges, or None."""
        return None

    @property
    def clip(self) -> float:
        """Bound to which the discriminator's weights are clipped after each of its steps; 0 for no clipping."""
        return 0.0

    @classmethod
    def presets(cls) -> "Mapping[str, tuple[Objective, Mapping[str, Any]]]":
        """Published variants by name: the objective, and training settings that replace those of `published`.

        `published` is the objective as its authors have it, where its defaults are others.
        """
        return {}

    def initial_state(self, steps_per_epoch: int) -> State:
        """The state before the first step."""
        return {}

    def critic_steps(self, generator_steps: int, n_critic: int, steps_per_epoch: int) -> int:
        """Number of discriminator steps before generator step number `generator_steps`, counted from 0."""
        return n_critic

    @abstractmethod
    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """The loss of the discriminator's weights; pure."""

    @abstractmethod
    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """The loss of the generator's weights; pure. With alternating updates `batch.d_fake` is from the new weights.

        Its auxiliary values are missing in `adapt` and `measures` after steps of the discriminator alone.
        """

    def shared_term_coefficient(self, state: State) -> Tensor | None:
        """Coefficient c, 0-d, if L_D = real + c * shared and L_G = shared + generator; None if the losses differ more.

        With a coefficient, one backward pass over each half of the batch serves both players (see `training.step`).
        """
        return None

    def real_terms(self, half: HalfBatch) -> Loss:
        """L_D's terms of real images; called only with a `shared_term_coefficient`."""
        raise AssertionError(type(self).__name__)

    def fake_terms(self, half: HalfBatch) -> FakeTerms:
        """Both losses' terms of generated images; called only with a `shared_term_coefficient`."""
        raise AssertionError(type(self).__name__)

    def adapt(self, state: State, aux: ReducedAux) -> State:
        """The state after a step; pure, and without a synchronisation of host and device.

        Args:
            state: before the step.
            aux: of both losses, equal on all processes, so that their states stay equal.
        """
        return state

    def measures(self, state: State, aux: ReducedAux) -> dict[str, Tensor]:
        """The measures to log: 0-d tensors by name."""
        return dict(aux)


def accuracy(real: Tensor, fake: Tensor, threshold: float = 0.0) -> Tensor:
    """Accuracy of scores (N,): real images are to lie above `threshold`, generated ones below; 0-d in [0, 1]."""
    correct = (real > threshold).to(real.dtype).mean() + (fake < threshold).to(fake.dtype).mean()
    return correct / 2


def zeros(*names: str) -> State:
    """A state of zeros."""
    return {name: torch.zeros(()) for name in names}
