"""Steps recorded on a GPU and played back, so that no time goes into starting each of their kernels.

A recording is a CUDA graph: the same kernels on the same memory, started as one. What changes from step to step is
copied into that memory first: images, latents, the objective's state, and whatever the losses draw.
"""

import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from equipoise.objectives.base import State
from equipoise.randomness import Draws
from equipoise.training.step import StepInputs

Step = Callable[[State, StepInputs], tuple[State, dict[str, Tensor]]]
WARM_UP = 3  # steps taken as they come, in which libraries choose their kernels and optimisers make their moments


class CUDAGraphStep:
    """Takes steps; each kind of step is recorded once it has been taken WARM_UP times."""

    def __init__(self) -> None:
        self._recorders: dict[Hashable, _Recorder] = {}
        self._works = True

    def __call__(self, kind: Hashable, step: Step, state: State, inputs: StepInputs) -> tuple[State, dict[str, Tensor]]:
        """Take one step on a GPU.

        Args:
            kind: steps of one kind run the same code on tensors of the same shapes.
            step: the objective's state and what is given -> the state after the step and its measures, all tensors; it
                must not wait for the device, or read anything but its arguments that moves.
            state: before the step.
            inputs: to it.

        Returns:
            As `step` does; valid until the next step.
        """
        if not self._works:
            return step(state, inputs)
        recorder = self._recorders.setdefault(kind, _Recorder())
        try:
            return recorder.take(step, state, inputs)
        except _UnrecordableError as error:
            self._works = False
            self.forget()
            warnings.warn(f"steps are not recorded, which would be faster: {error.__cause__}", stacklevel=2)
            return step(state, inputs)

    def forget(self) -> None:
        """Let go of all recordings, as weights, moments or learning rates have moved in memory."""
        self._recorders.clear()


class _UnrecordableError(Exception):
    """Nothing has moved yet."""


@dataclass
class _Recorder:
    """One kind of step."""

    taken: int = 0
    graph: torch.cuda.CUDAGraph | None = None
    slot: "_Slot | None" = None
    made: tuple[State, dict[str, Tensor]] = field(default_factory=lambda: ({}, {}))

    def take(self, step: Step, state: State, inputs: StepInputs) -> tuple[State, dict[str, Tensor]]:
        self.taken += 1
        if self.slot is None:
            self.slot = _Slot(state, inputs)
        else:
            self.slot.fill(state, inputs)
        if self.taken <= WARM_UP:
            return self._aside(step, self.slot)
        if self.graph is None:
            self.graph = self._recorded(step, self.slot)
        self.graph.replay()
        return self.made

    def _aside(self, step: Step, slot: "_Slot") -> tuple[State, dict[str, Tensor]]:
        """One step as it comes, on a stream of its own, as graphs want it."""
        here, aside = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            made = step(slot.state, slot.inputs)
        here.wait_stream(aside)
        return made

    def _recorded(self, step: Step, slot: "_Slot") -> torch.cuda.CUDAGraph:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self.made = step(slot.state, slot.inputs)
        except RuntimeError as error:
            raise _UnrecordableError from error
        return graph


class _Slot:
    """Memory that a recording reads: a state, a step's inputs, and what was drawn from them."""

    def __init__(self, state: State, inputs: StepInputs) -> None:
        self.draws = _Kept(inputs.draws)
        self.state = {name: value.clone() for name, value in state.items()}
        self.inputs = replace(inputs, draws=cast(Draws, self.draws))
        self.tensors = _tensors(inputs)

    def fill(self, state: State, inputs: StepInputs) -> None:
        self.draws.refill(inputs.draws)
        for name, value in self.state.items():
            value.copy_(state[name])
        for ours, theirs in zip(self.tensors, _tensors(inputs), strict=True):
            ours.copy_(theirs)


def _tensors(inputs: StepInputs) -> list[Tensor]:
    """All tensors of a step's inputs, but for what is drawn."""
    found = [inputs.real, inputs.latent, inputs.labels, inputs.latent_g, *(inputs.conditions or ())]
    return [tensor for tensor in found if tensor is not None]


class _Kept:
    """Draws that are remembered, so that others can be drawn in their place."""

    def __init__(self, draws: Draws) -> None:
        self.draws = draws
        self.kept: dict[tuple[str, tuple[str | int, ...]], Tensor] = {}

    def uniform(self, *asked: str | int) -> Tensor:
        return self._ask("uniform", asked)

    def normal(self, *asked: str | int) -> Tensor:
        return self._ask("normal", asked)

    def integers(self, *asked: str | int) -> Tensor:
        return self._ask("integers", asked)

    def _ask(self, kind: str, asked: tuple[str | int, ...]) -> Tensor:
        if (kind, asked) not in self.kept:
            self.kept[kind, asked] = getattr(self.draws, kind)(*asked)
        return self.kept[kind, asked]

    def refill(self, draws: Draws) -> None:
        self.draws = draws
        for (kind, asked), tensor in self.kept.items():
            tensor.copy_(getattr(draws, kind)(*asked))
