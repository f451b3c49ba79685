"""torch.compile, for runs long enough to win back the time that it takes."""

import os
import time
from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from equipoise.data import cache_folder
from equipoise.players import Players
from equipoise.training.state import Progress

PAYS_FROM = 300.0  # seconds of training left: compiling takes half a minute, and gives a fifth to a third of them back
SEEN_FOR = 5.0  # seconds of training by which the rest is foreseen


def compiled(players: Players) -> Players:
    """Both networks, with the same weights, compiled when they are first called; what is made is kept on the disk.

    Those of earlier runs are let go of: torch allows few of a kind.
    """
    torch.compiler.reset()
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
    return Players(*(cast(nn.Module, torch.compile(player, fullgraph=True, dynamic=False)) for player in players))


class Foresight:
    """Has a run's networks compiled where that pays: on a GPU, once the run is seen to last.

    Args:
        progress: the run.
        clock: tells seconds.
    """

    def __init__(self, progress: Progress, clock: Callable[[], float] = time.monotonic) -> None:
        self.progress, self.clock = progress, clock
        self.since: tuple[float, int] | None = None
        config = progress.config
        if config.compile == "always":
            progress.play_with(compiled(progress.players))
        differentiable_once = not config.objective.needs.independent
        self.open = config.compile == "auto" and progress.device.type == "cuda" and differentiable_once

    def consider(self) -> str:
        """Look at how long training will take, at a moment when all steps are done.

        Returns:
            What to tell if the networks are compiled from now on, else nothing.
        """
        if not self.open:
            return ""
        now, images = self.clock(), self.progress.images
        self.since = self.since or (now, images)
        seconds, seen = now - self.since[0], images - self.since[1]
        if seconds < SEEN_FOR or not seen:
            return ""
        self.open = False
        left = seconds / seen * (self.progress.config.images - images)
        if left < PAYS_FROM:
            return ""
        self.progress.play_with(compiled(self.progress.players))
        return (
            f"about {left / 60:.0f} minutes are left: the networks are compiled, which takes about half a minute and "
            "makes the rest faster (--compile never leaves them as they are)"
        )
