"""Objectives by name. A new one is one file, and one line here."""

from equipoise.objectives.base import Batch, Losses, Means, Objective, State
from equipoise.objectives.began import BEGAN

OBJECTIVES: dict[str, type[BEGAN]] = {"began": BEGAN}

AnyObjective = BEGAN

__all__ = ["BEGAN", "OBJECTIVES", "AnyObjective", "Batch", "Losses", "Means", "Objective", "State"]
