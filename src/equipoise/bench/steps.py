"""Who takes part: training as `equipoise train` does it, and the textbook's step, each dealt the same batches."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch

from equipoise.bench.textbook import Textbook
from equipoise.config.train_config import TrainConfig
from equipoise.data import FeedBatch
from equipoise.devices import Launcher
from equipoise.players import Players
from equipoise.training.allocator import keep_freed_memory
from equipoise.training.batch import StepInputs, make_batch
from equipoise.training.compile import CompilePolicy
from equipoise.training.distributed import Distributed, make_distributed
from equipoise.training.loop import next_step
from equipoise.training.state import DataSpec, Shape, TrainState

Step = Callable[[], None]
DATA = "equipoise: deal"  # what the profiler calls the dealing of a batch


@dataclass(frozen=True)
class Noise:
    """A `Feed` of random images that lie ready in memory, so that nothing waits for a disk."""

    shape: Shape
    images: torch.Tensor = field(repr=False)
    fingerprint: str = "noise"
    skipped: list[tuple[str, str]] = field(default_factory=list)
    classes: int = 0
    class_names: tuple[str, ...] | None = None

    @classmethod
    def of(cls, shape: Shape, count: int) -> "Noise":
        """`count` images of `shape` (C, H, W)."""
        generator = torch.Generator().manual_seed(0)
        return cls(shape, torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8))

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.images)

    def draw(self, batch: int, seed: int, images_seen: int, rank: int = 0, size: int = 1) -> FeedBatch:
        """One batch after another."""
        places = (torch.arange(batch) + images_seen) % self.count
        return FeedBatch(self.images[places], None)

    def close(self) -> None:
        """Nothing runs in the background."""


def ours(config: TrainConfig, shape: Shape, launcher: Launcher, *, compile: bool = False) -> Step:
    """One step of training, as `equipoise train` takes it: dealt, moved, averaged and counted."""
    feed = Noise.of(shape, 16 * config.batch)
    distributed = make_distributed(launcher, config.precision)
    train_state = TrainState(config, DataSpec.of(feed), launcher.device)
    policy = CompilePolicy(train_state)
    policy.due = compile

    def step() -> None:
        keep_freed_memory()
        with torch.profiler.record_function(DATA):
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


def textbook(config: TrainConfig, shape: Shape, launcher: Launcher, *, autocast: bool = False) -> Step:
    """The same, as the textbook does: fp32, or all of it under autocast to bf16."""
    feed = Noise.of(shape, 16 * config.batch)
    distributed = make_distributed(launcher, "fp32")
    book = Textbook(config, Players(*(player.to(launcher.device) for player in config.build(shape))))

    def step() -> None:
        keep_freed_memory(keep=False)
        with torch.profiler.record_function(DATA):
            inputs = make_batch(config, feed, book.steps * config.batch, distributed, launcher.device)
        with torch.autocast(launcher.device.type, torch.bfloat16) if autocast else nullcontext():
            book.step(inputs)

    return step
