"""Objectives by name. A new one is one file, and one line here."""

from equipoise.objectives.base import Batch, Loss, Means, Needs, Objective, State
from equipoise.objectives.began import BEGAN
from equipoise.objectives.gan import GAN
from equipoise.objectives.least_squares import LeastSquares
from equipoise.objectives.wgan import DRAGAN, WGAN, WGANFD, WGANGP

OBJECTIVES: dict[str, type[Objective]] = {
    "began": BEGAN,
    "gan": GAN,
    "least-squares": LeastSquares,
    "wgan": WGAN,
    "wgan-gp": WGANGP,
    "wgan-fd": WGANFD,
    "dragan": DRAGAN,
}

__all__ = ["BEGAN", "OBJECTIVES", "Batch", "Loss", "Means", "Needs", "Objective", "State"]
