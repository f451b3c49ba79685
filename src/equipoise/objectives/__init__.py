"""Objectives by name. A new objective is one file, and one line in `OBJECTIVES`."""

from equipoise.objectives.base import Batch, Loss, Needs, Objective, ReducedAux, State
from equipoise.objectives.began import BEGAN
from equipoise.objectives.bgan import BGAN, BGANDiscrete
from equipoise.objectives.boundary_constrained import BCGAN
from equipoise.objectives.ebgan import EBGAN
from equipoise.objectives.gan import GAN
from equipoise.objectives.least_squares import LeastSquares
from equipoise.objectives.loss_sensitive import LSGAN
from equipoise.objectives.magan import MAGAN
from equipoise.objectives.multitask import Multitask, Tasks
from equipoise.objectives.wgan import DRAGAN, WGAN, WGANFD, WGANGP

OBJECTIVES: dict[str, type[Objective]] = {
    "began": BEGAN,
    "gan": GAN,
    "least-squares": LeastSquares,
    "wgan": WGAN,
    "wgan-gp": WGANGP,
    "wgan-fd": WGANFD,
    "dragan": DRAGAN,
    "ebgan": EBGAN,
    "magan": MAGAN,
    "ls-gan": LSGAN,
    "bgan": BGAN,
    "bgan-discrete": BGANDiscrete,
    "bc-gan": BCGAN,
}

__all__ = [
    "BEGAN",
    "OBJECTIVES",
    "Batch",
    "Loss",
    "Multitask",
    "Needs",
    "Objective",
    "ReducedAux",
    "State",
    "Tasks",
]
