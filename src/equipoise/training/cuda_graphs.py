"""Steps as CUDA graphs: recorded once, then replayed, so that no time goes into launching each of their kernels.

A graph replays the same kernels on the same memory. What changes from step to step is copied into that memory first:
images, latents, the objective's state, and whatever random tensors the losses draw.
"""

import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from torch import Tensor

from equipoise.objectives.base import State
from equipoise.randomness import Draws
from equipoise.training.batch import StepInputs

Result = tuple[State, dict[str, Tensor]]
Step = Callable[[State, StepInputs], Result]
WARM_UP = 3  # steps taken eagerly, in which libraries choose their kernels and optimizers make their moments


class CUDAGraphStep:
    """Takes steps on a GPU; each kind of step is recorded once it has been taken WARM_UP times."""

    def __init__(self) -> None:
        self._graphs: dict[Hashable, _StepGraph] = {}
        self._recordable = True

    def __call__(self, kind: Hashable, step: Step, state: State, inputs: StepInputs) -> Result:
        """Take one step.

        Args:
            kind: steps of one kind run the same code on tensors of the same shapes.
            step: (objective's state, inputs) -> (state after the step, measures), all tensors. It must not wait for the
                device, nor read anything that moves but its arguments, weights and moments.
            state: of the objective, before the step.
            inputs: of the step.

        Returns:
            As `step` does; overwritten by the next step.
        """
        if not self._recordable:
            return step(state, inputs)
        graph = self._graphs.setdefault(kind, _StepGraph())
        try:
            return graph.take(step, state, inputs)
        except _UnrecordableError as error:
            self._recordable = False
            self.forget()
            warnings.warn(f"steps are not recorded, which would be faster: {error.__cause__}", stacklevel=2)
            return step(state, inputs)

    def forget(self) -> None:
        """Drop all graphs, since weights, moments or networks lie elsewhere in memory now."""
        self._graphs.clear()


class _UnrecordableError(Exception):
    """A step cannot be recorded; nothing has moved yet."""


@dataclass
class _StepGraph:
    """One kind of step: eager at first, then a graph."""

    steps: int = 0
    graph: torch.cuda.CUDAGraph | None = None
    memory: "_StaticInputs | None" = None
    result: Result = field(default_factory=lambda: ({}, {}))

    def take(self, step: Step, state: State, inputs: StepInputs) -> Result:
        self.steps += 1
        if self.memory is None:
            self.memory = _StaticInputs(state, inputs)
        else:
            self.memory.fill(state, inputs)
        if self.steps <= WARM_UP:
            # Warming up has to happen on a stream other than the default one, as capture does: on that, libraries
            # would otherwise make their workspaces while the graph is recorded, which is not allowed.
            main_stream, side_stream = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side_stream.wait_stream(main_stream)
            with torch.cuda.stream(side_stream):
                result = step(self.memory.state, self.memory.inputs)
            main_stream.wait_stream(side_stream)
            return result
        if self.graph is None:
            graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(graph):  # notes the kernels, and runs none
                    self.result = step(self.memory.state, self.memory.inputs)
            except RuntimeError as error:
                raise _UnrecordableError from error
            self.graph = graph
        self.graph.replay()
        return self.result


class _StaticInputs:
    """The memory that a graph reads: the objective's state, a step's inputs, and what was drawn from them."""

    def __init__(self, state: State, inputs: StepInputs) -> None:
        self.draws = _StaticDraws(inputs.draws)
        self.state = {name: value.clone() for name, value in state.items()}
        self.inputs = replace(inputs, draws=cast(Draws, self.draws))

    def fill(self, state: State, inputs: StepInputs) -> None:
        """Copy in the next step's."""
        self.draws.refill(inputs.draws)
        for name, value in self.state.items():
            value.copy_(state[name])
        for target, source in zip(_tensors(self.inputs), _tensors(inputs), strict=True):
            target.copy_(source)


def _tensors(inputs: StepInputs) -> list[Tensor]:
    """All tensors of a step's inputs, but for those that the losses draw."""
    candidates = [inputs.real, inputs.latent, inputs.labels, inputs.latent_g, *(inputs.conditions or ())]
    return [tensor for tensor in candidates if tensor is not None]


class _StaticDraws:
    """Draws that stay where they are: asked for again, a tensor is the same, and holds the step's own numbers."""

    def __init__(self, draws: Draws) -> None:
        self.draws = draws
        self.tensors: dict[tuple[str, tuple[str | int, ...]], Tensor] = {}

    def uniform(self, *arguments: str | int) -> Tensor:
        return self._draw("uniform", arguments)

    def normal(self, *arguments: str | int) -> Tensor:
        return self._draw("normal", arguments)

    def integers(self, *arguments: str | int) -> Tensor:
        return self._draw("integers", arguments)

    def _draw(self, distribution: str, arguments: tuple[str | int, ...]) -> Tensor:
        key = distribution, arguments
        if key not in self.tensors:
            self.tensors[key] = getattr(self.draws, distribution)(*arguments)
        return self.tensors[key]

    def refill(self, draws: Draws) -> None:
        """Put another step's numbers into every tensor that was drawn so far."""
        self.draws = draws
        for (distribution, arguments), tensor in self.tensors.items():
            tensor.copy_(getattr(draws, distribution)(*arguments))
