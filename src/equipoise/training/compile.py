"""torch.compile, for runs long enough to win back the time that it takes."""

import os
import time
from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from equipoise.data import cache_folder
from equipoise.players import Players
from equipoise.training.state import TrainState

PAYS_FROM = 300.0  # seconds of training left: compiling takes half a minute, and gives a fifth to a third of them back
SEEN_FOR = 5.0  # seconds of training by which the rest is foreseen


def compiled(players: Players) -> Players:
    """Both networks, with the same weights, compiled when they are first called; what is made is kept on the disk.

    Those of earlier runs are let go of: torch allows few of a kind.
    """
    torch.compiler.reset()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
    return Players(*(cast(nn.Module, torch.compile(player, fullgraph=True, dynamic=False)) for player in players))


class CompilePolicy:
    """Has a run's networks compiled where that pays: on a GPU, once the run is seen to last.

    Args:
        train_state: the run.
        clock: tells seconds.
    """

    def __init__(self, train_state: TrainState, clock: Callable[[], float] = time.monotonic) -> None:
        self.train_state, self.clock = train_state, clock
        self.since: tuple[float, int] | None = None
        config = train_state.config
        if config.compile == "always":
            train_state.use_players(compiled(train_state.players))
        differentiable_once = not config.objective.needs.independent
        self.open = config.compile == "auto" and train_state.device.type == "cuda" and differentiable_once

    def consider(self) -> str:
        """Look at how long training will take, at a moment when all steps are done.

        Returns:
            What to tell if the networks are compiled from now on, else nothing.
        """
        if not self.open:
            return ""
        now, images = self.clock(), self.train_state.images
        self.since = self.since or (now, images)
        seconds, seen = now - self.since[0], images - self.since[1]
        if seconds < SEEN_FOR or not seen:
            return ""
        self.open = False
        left = seconds / seen * (self.train_state.config.images - images)
        if left < PAYS_FROM:
            return ""
        self.train_state.use_players(compiled(self.train_state.players))
        return (
            f"about {left / 60:.0f} minutes are left: the networks are compiled, which takes about half a minute and "
            "makes the rest faster (--compile never leaves them as they are)"
        )
