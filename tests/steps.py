"""One step outside the training loop, as the loop takes it."""

from equipoise.training.batch import StepInputs
from equipoise.training.distributed import Distributed
from equipoise.training.loop import next_step
from equipoise.training.state import TrainState


def take_step(train_state: TrainState, inputs: StepInputs, distributed: Distributed) -> None:
    train_state.prepare_step()
    objective_state, measures = next_step(train_state, distributed)(train_state.objective_state, inputs)
    train_state.finish_step(objective_state, measures)
