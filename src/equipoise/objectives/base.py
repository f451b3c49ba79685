"""What every objective is: its configuration and its equations in one frozen dataclass.

An objective sees a `Batch`, gives the two `Losses`, and keeps its own moving quantities (a balance term, a margin)
in a `State` that is passed in and returned. It never touches weights, devices or processes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from equipoise.players import DiscriminatorOutput, GeneratorOutput

State = dict[str, Tensor]
"""An objective's moving quantities: 0-d tensors by name, all of them in the checkpoint."""

Means = Mapping[str, Tensor]
"""What one step has seen: 0-d tensors by name, averaged over the whole batch and every process."""


@dataclass(frozen=True)
class Batch:
    """All that an objective may see of one step.

    Attributes:
        real: (N, C, H, W) in [-1, 1].
        latent: (N, K) what the generator was given.
        fake: the generator's answer to `latent`.
        d_real: the discriminator's answer to `real`.
        d_fake: the discriminator's answer to `fake.images`.
        discriminator: the discriminator itself, to be asked again (gradient penalties).
        labels: (N,) class indices of `real`, where the data has them.
        gather: this process's rows -> the rows of every process, differentiable; for statistics of a whole batch.
    """

    real: Tensor
    latent: Tensor
    fake: GeneratorOutput
    d_real: DiscriminatorOutput
    d_fake: DiscriminatorOutput
    discriminator: Callable[[Tensor], DiscriminatorOutput]
    labels: Tensor | None = None
    gather: Callable[[Tensor], Tensor] = lambda rows: rows


@dataclass(frozen=True)
class Losses:
    """One step's two losses, both minimised, and what was seen on the way.

    Attributes:
        discriminator: 0-d; moves the discriminator only.
        generator: 0-d; moves the generator only.
        seen: 0-d detached tensors by name, each a mean over the batch.
    """

    discriminator: Tensor
    generator: Tensor
    seen: dict[str, Tensor]


class Objective(Protocol):
    """A frozen dataclass of hyper-parameters with the objective's equations as its methods."""

    convergence: ClassVar[str | None]
    """The measure that falls as training converges, if the objective has one."""

    def start(self) -> State:
        """The state before the first step."""
        ...

    def losses(self, batch: Batch, state: State) -> Losses:
        """Both players' losses on `batch`; pure."""
        ...

    def adapt(self, state: State, seen: Means) -> State:
        """The state after a step that saw `seen`; pure, without a host synchronisation."""
        ...

    def measures(self, state: State, seen: Means) -> dict[str, Tensor]:
        """What to log of a step: 0-d tensors by name."""
        ...
