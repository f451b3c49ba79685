"""torch.compile, for runs long enough to win back the time that it takes."""

import os
import time
import warnings
from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from equipoise.data import cache_folder
from equipoise.players import Players
from equipoise.training.batch import StepInputs
from equipoise.training.distributed import Distributed
from equipoise.training.state import TrainState
from equipoise.training.step import train_step

PAYS_FROM = 300.0  # seconds of training left: compiling takes half a minute, and gives a fifth to a third of them back
MEASURED_FOR = 5.0  # seconds of training from which the rest is extrapolated
NOT_COMPILED = "the networks are not compiled, which would be faster"


class CompilePolicy:
    """Decides when a run's networks are compiled: at once where asked, else on a GPU once the run is seen to last.

    Args:
        train_state: of the run.
        clock: gives seconds.

    Attributes:
        due: whether they are to be compiled before the next step.
    """

    def __init__(self, train_state: TrainState, clock: Callable[[], float] = time.monotonic) -> None:
        self.train_state, self.clock = train_state, clock
        self.first_report: tuple[float, int] | None = None  # seconds and images seen
        config = train_state.config
        self.due = config.compile == "always"
        # A penalty's double backward cannot go through what torch.compile makes.
        differentiated_once = not config.objective.needs.independent
        self.undecided = config.compile == "auto" and train_state.device.type == "cuda" and differentiated_once

    def consider(self) -> str:
        """Extrapolate how long training will take, at a moment when the device has done all steps.

        Returns:
            A message for the user if the networks are compiled next, else nothing.
        """
        if not self.undecided:
            return ""
        now, images = self.clock(), self.train_state.images
        self.first_report = self.first_report or (now, images)
        seconds, trained = now - self.first_report[0], images - self.first_report[1]
        if seconds < MEASURED_FOR or not trained:
            return ""
        self.undecided = False
        left = seconds / trained * (self.train_state.config.images - images)
        self.due = left >= PAYS_FROM
        if not self.due:
            return ""
        return (
            f"about {left / 60:.0f} minutes are left: the networks are compiled, which takes about half a minute and "
            "makes the rest faster (--compile never leaves them as they are)"
        )

    def compile(self, inputs: StepInputs, distributed: Distributed) -> None:
        """Let steps call compiled networks from now on, or if torch cannot compile them, warn and leave them."""
        self.due = False
        if reason := distributed.first_error(try_compile(self.train_state, inputs, distributed)):
            self.train_state.use_players(self.train_state.players)
            warnings.warn(f"{NOT_COMPILED}: {reason}", stacklevel=2)


def compiled(players: Players) -> Players:
    """Both networks, sharing their weights, compiled when they are first called; the result is cached on the disk."""
    torch.compiler.reset()  # lets go of earlier runs' networks: torch allows few variants of one piece of code
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
    return Players(*(cast(nn.Module, torch.compile(player, fullgraph=True, dynamic=False)) for player in players))


def try_compile(train_state: TrainState, inputs: StepInputs, distributed: Distributed) -> str:
    """Compile both networks, forward and backward, by steps of which nothing stays.

    torch compiles a network when it is first called, and its gradients when they are first taken: in an alternating
    step the discriminator has moved by the time the generator's gradients turn out not to compile. So those steps are
    taken before they count, and everything is then put back as it was, whatever has happened.

    Returns:
        "" if steps call the compiled networks from now on; else torch's reason, and they call the plain ones.
    """
    tensors = {name: value.clone() for name, value in train_state.tensors().items()}
    facts = {**train_state.facts(), "images": train_state.images}
    objective, order = train_state.objective, train_state.config.update
    alone = Distributed(autocast=distributed.autocast)  # another process may fail, and would not answer
    train_state.use_players(compiled(train_state.players))
    try:
        for generator_moves in [True] if train_state.generator_moves else [False, True]:
            train_step(
                train_state.active_players,
                train_state.optimizers,
                objective,
                train_state.objective_state,
                inputs,
                alone,
                order=order,
                generator_moves=generator_moves,
            )
    except _compile_errors() as error:
        if isinstance(error, AssertionError) and not _in_generated_code(error):
            raise
        train_state.use_players(train_state.players)
        return str(error).partition("\n")[0] or type(error).__name__
    finally:
        train_state.restore(tensors, facts)
    return ""


def _compile_errors() -> tuple[type[Exception], ...]:
    """What torch raises where it cannot compile a network, or compiles it wrongly."""
    from torch._dynamo.exc import TorchDynamoException  # takes as long to import as torch itself
    from torch._inductor import exc as inductor

    return (
        TorchDynamoException,  # tracing failed, or the backend did while the forward pass was compiled ...
        inductor.CppCompileError,  # ... or its compiler, while the backward pass was, which happens inside autograd
        inductor.InvalidCxxCompiler,
        inductor.OperatorIssue,
        # The code that torch generates asserts the memory layout it was compiled for, which torch 2.11 gets wrong for
        # some convolutions on a GPU (see networks/convolution.py); an assertion that is not in it is not torch's.
        AssertionError,
    )


def _in_generated_code(error: AssertionError) -> bool:
    """Whether `error` comes out of a file that Inductor has written."""
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR", "torchinductor")
    return innermost is not None and folder in innermost.tb_frame.f_code.co_filename
