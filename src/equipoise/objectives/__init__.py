"""Objectives by name. A new one is one file, and one line here."""

from equipoise.objectives.base import Batch, Loss, Means, Needs, Objective, State
from equipoise.objectives.began import BEGAN

OBJECTIVES: dict[str, type[Objective]] = {
    "began": BEGAN,
}

__all__ = ["BEGAN", "OBJECTIVES", "Batch", "Loss", "Means", "Needs", "Objective", "State"]
