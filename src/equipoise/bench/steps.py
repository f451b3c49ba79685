"""What is timed: one training step by equipoise, and one by the textbook, on the same batches of synthetic data."""

from collections.abc import Callable
from contextlib import nullcontext

import torch

from equipoise.bench.textbook import Textbook
from equipoise.data import Feed, FeedBatch
from equipoise.devices import Launcher
from equipoise.isolation import keep_freed_memory
from equipoise.training.batch import StepInputs, make_batch
from equipoise.training.compile import CompilePolicy
from equipoise.training.distributed import Distributed, make_distributed
from equipoise.training.loop import next_step
from equipoise.training.state import Shape, TrainState

Step = Callable[[], None]
"""One step of training, batch included; calling it again takes the next one."""
MAKE_BATCH = "equipoise: make batch"  # the profiler's name for that part of a step
LATER = 100  # steps of the generator, after which no objective moves the discriminator alone for long


class SyntheticFeed:
    """A `Feed` of `count` random images of `shape` (C, H, W) in memory, so that no step waits for a disk.

    With `classes` there are labels, each class in its turn.
    """

    fingerprint = "noise"
    class_names = None

    def __init__(self, shape: Shape, count: int, classes: int = 0) -> None:
        generator = torch.Generator().manual_seed(0)
        self.shape, self.count, self.classes = shape, count, classes
        self.images = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
        self.skipped: list[tuple[str, str]] = []
        self.notes: list[str] = []

    def draw(
        self, batch: int, seed: int, images_seen: int, rank: int = 0, size: int = 1, readers: int | None = None
    ) -> FeedBatch:
        """A process's share of the next `batch` images in a fixed order, from the start again after the last one."""
        positions = (torch.arange(batch).chunk(size)[rank] + images_seen) % self.count
        return FeedBatch(self.images[positions], positions % self.classes if self.classes else None)

    def close(self) -> None:
        """Nothing to close."""


def equipoise_step(train_state: TrainState, feed: Feed, launcher: Launcher, *, compile: bool = False) -> Step:
    """A training step as `equipoise train` takes it, from the batch to the moving average.

    Args:
        train_state: what the step changes.
        feed: what it trains on.
        launcher: the device.
        compile: whether the first call compiles the networks.
    """
    config = train_state.config
    distributed = make_distributed(launcher, config.precision_on(launcher.device.type))
    policy = CompilePolicy(train_state)
    policy.due = compile

    def step() -> None:
        keep_freed_memory()
        with torch.profiler.record_function(MAKE_BATCH):
            inputs = make_batch(config, feed, train_state.images, distributed, launcher.device)
        if policy.due:
            policy.compile(inputs, distributed)
        take_step(train_state, inputs, distributed)

    return step


def take_step(train_state: TrainState, inputs: StepInputs, distributed: Distributed) -> None:
    """One step outside the training loop, as the loop takes it."""
    train_state.prepare_step()
    objective_state, measures = next_step(train_state, distributed)(train_state.objective_state, inputs)
    train_state.finish_step(objective_state, measures)


def textbook_step(textbook: Textbook, feed: Feed, launcher: Launcher, *, autocast: bool = False) -> Step:
    """The textbook's step: in fp32, or with `autocast` as a whole under autocast to bf16."""
    config = textbook.config
    # fp32 here keeps equipoise's own autocast off; the textbook's, if any, is the one below.
    distributed = make_distributed(launcher, "fp32")

    def step() -> None:
        # As torch comes: keeping freed memory between steps is an optimization of equipoise, set for the whole process.
        keep_freed_memory(keep=False)
        with torch.profiler.record_function(MAKE_BATCH):
            inputs = make_batch(config, feed, textbook.steps * config.batch, distributed, launcher.device)
        with torch.autocast(launcher.device.type, torch.bfloat16) if autocast else nullcontext():
            textbook.step(inputs)

    return step
