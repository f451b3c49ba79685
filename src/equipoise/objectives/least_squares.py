"""Least squares in place of cross-entropy."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.objectives.base import Batch, Loss, Needs, Objective, State, accuracy
from equipoise.objectives.gan import USUAL, mean_scores

Target = Annotated[float, Field(ge=-1000, le=1000)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True))
class LeastSquares(Objective):
    """Least Squares GAN (Mao et al. 2016), arXiv:1611.04076, equation 2; the defaults are its 0-1 scheme, equation 9.

    With b - a = 2 and b - c = 1, as in the preset `pearson` (equation 8), the best discriminator leaves the generator
    half of the Pearson chi-squared divergence of p + q from 2 q (section 3.2).
    """

    needs = Needs("logit")
    defaults = {**USUAL, "lr": 2e-4, "beta1": 0.5, "beta2": 0.999}  # noqa: RUF012

    a: Target = 0.0
    """What the discriminator is to say of generated images; below b."""
    b: Target = 1.0
    """What the discriminator is to say of real images."""
    c: Target = 1.0
    """What the generator wants to hear of its images."""

    def __post_init__(self) -> None:
        if self.a >= self.b:
            raise UsageError(f"a = {self.a:g} must be below b = {self.b:g}, the discriminator's target for real images")

    @classmethod
    def presets(cls) -> Mapping[str, tuple[Objective, Mapping[str, Any]]]:
        """`pearson`: (a, b, c) = (-1, 1, 0)."""
        return {"pearson": (cls(a=-1, b=1, c=0), {})}

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = 1/2 E (D(x) - b)^2 + 1/2 E (D(x~) - a)^2."""
        real, fake = batch.d_real.score, batch.d_fake.score
        loss = _squares(real - self.b) + _squares(fake - self.a)
        right = accuracy(real, fake, threshold=(self.a + self.b) / 2)
        return Loss.of(loss, loss_discriminator=loss, accuracy=right, **mean_scores(batch))

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = 1/2 E (D(x~) - c)^2."""
        loss = _squares(batch.d_fake.score - self.c)
        return Loss.of(loss, loss_generator=loss)


def _squares(errors: Tensor) -> Tensor:
    return errors.square().mean() / 2
