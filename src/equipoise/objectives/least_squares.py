"""Least squares GAN."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from equipoise.errors import UsageError
from equipoise.objectives.base import Batch, Loss, Needs, Objective, State, accuracy
from equipoise.objectives.gan import mean_scores

Target = Annotated[float, Field(ge=-1000, le=1000)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(use_attribute_docstrings=True, extra="forbid"))
class LeastSquares(Objective):
    """Least Squares GAN (Mao et al. 2016), arXiv:1611.04076, equation 2; the defaults are its 0-1 scheme, equation 9.

    With b - a = 2 and b - c = 1, as in the preset `pearson` (equation 8), L_G at the optimal discriminator is half of
    the Pearson chi-squared divergence of p + q from 2 q (section 3.2).
    """

    needs = Needs("logit")
    recipe = {"lr": 5e-4}  # noqa: RUF012

    a: Target = 0.0
    """Discriminator's target for generated images, below b."""
    b: Target = 1.0
    """Discriminator's target for real images."""
    c: Target = 1.0
    """Generator's target for generated images."""

    def __post_init__(self) -> None:
        if self.a >= self.b:
            raise UsageError(f"a = {self.a:g} must be below b = {self.b:g}, the discriminator's target for real images")

    @classmethod
    def presets(cls) -> Mapping[str, tuple[Objective, Mapping[str, Any]]]:
        """`pearson`: (a, b, c) = (-1, 1, 0)."""
        return {"pearson": (cls(a=-1, b=1, c=0), {})}

    def discriminator_loss(self, batch: Batch, state: State) -> Loss:
        """L_D = 1/2 E (D(x) - b)^2 + 1/2 E (D(G(z)) - a)^2."""
        real, fake = batch.d_real.score, batch.d_fake.score
        loss = (real - self.b).square().mean() / 2 + (fake - self.a).square().mean() / 2
        middle = (self.a + self.b) / 2
        aux = {"loss_discriminator": loss, "accuracy": accuracy(real, fake, threshold=middle), **mean_scores(batch)}
        return Loss(loss, aux)

    def generator_loss(self, batch: Batch, state: State) -> Loss:
        """L_G = 1/2 E (D(G(z)) - c)^2."""
        loss = (batch.d_fake.score - self.c).square().mean() / 2
        return Loss(loss, {"loss_generator": loss})
