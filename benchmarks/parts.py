"""What each part of a fast step gives: BEGAN's step as it is, and with one part left out at a time, turn by turn.

On a CPU; writes docs/results/parts-PRECISION.md.

    python -m benchmarks.parts --width 64 --resolution 64 --seconds 300
"""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from equipoise.bench.report import ROUNDS, Case
from torch import Tensor, nn
from torch.optim import Adam

from equipoise.bench.machine import describe
from equipoise.bench.steps import Step, SyntheticFeed, take_step, textbook
from equipoise.bench.timing import memory, race, work
from equipoise.devices import SingleProcess
from equipoise.networks.autoencoder import upsample
from equipoise.objectives import BEGAN
from equipoise.players import Players
from equipoise.training.allocator import keep_freed_memory
from equipoise.training.batch import make_batch
from equipoise.training.distributed import make_distributed
from equipoise.training.state import DataSpec, TrainState
from equipoise.training.step import Optimizers

RESULTS = Path(__file__).parents[1] / "docs" / "results"
CPU = torch.device("cpu")
Change = Callable[[TrainState], None]
Patch = Callable[[], AbstractContextManager[Any]]


def in_default_layout(train_state: TrainState) -> None:
    """Lay the weights out as torch does by itself."""
    train_state.players = Players(*(player.to(memory_format=torch.contiguous_format) for player in train_state.players))
    train_state.use_players(train_state.players)
    train_state.optimizers = Optimizers(*(Adam(player.parameters(), fused=True) for player in train_state.players))


def with_plain_adam(train_state: TrainState) -> None:
    """Take Adam as it comes."""
    train_state.optimizers = Optimizers(*(Adam(player.parameters()) for player in train_state.players))


def two_steps(conv: nn.Conv2d, x: Tensor) -> Tensor:
    out: Tensor = conv(upsample(x))
    return out


AUTOENCODER = "equipoise.networks.autoencoder"
LEFT_OUT: dict[str, tuple[Change | None, Patch]] = {
    "nothing left out": (None, nullcontext),
    "one backward pass for both players": (
        None,
        lambda: patch.object(BEGAN, "shared_term_coefficient", lambda self, state: None),
    ),
    "channels-last": (
        in_default_layout,
        lambda: patch("equipoise.training.batch.channels_last", lambda images: images),
    ),
    "one transposed convolution to enlarge": (None, lambda: patch(f"{AUTOENCODER}.upsample_and_convolve", two_steps)),
    "small bf16 convolutions as products": (
        None,
        lambda: patch("equipoise.networks.convolution.MAX_PIXELS_GRADIENT", 0),
    ),
    "activations in place": (None, lambda: patch(f"{AUTOENCODER}.elu", F.elu)),
    "freed memory kept": (None, lambda: patch(f"{__name__}.KEEP", new=False)),
    "fused Adam": (with_plain_adam, nullcontext),
}
KEEP = True


def ours(case: Case, change: Change | None, patched: Patch) -> Step:
    """A step as `equipoise train` takes it, but for what is changed in it."""
    config, feed, launcher = case.config("cpu"), SyntheticFeed(case.shape, 16 * case.batch), SingleProcess(CPU)
    distributed, train_state = make_distributed(launcher, config.precision), TrainState(config, DataSpec.of(feed), CPU)
    if change:
        change(train_state)

    def step() -> None:
        with patched():
            keep_freed_memory(keep=KEEP)
            take_step(train_state, make_batch(config, feed, train_state.images, distributed, CPU), distributed)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    case = Case("began", options.resolution, options.width, options.batch, options.precision)
    starts: dict[str, Callable[[], Step]] = {
        name: lambda how=how: ours(case, *how)  # type: ignore[misc]
        for name, how in LEFT_OUT.items()
    }
    starts["everything: the textbook's step"] = lambda: textbook(case.config("cpu"), case.shape, SingleProcess(CPU))
    steps = {name: start() for name, start in starts.items()}
    times = race(steps, CPU, cycle=1, rounds=ROUNDS, limit=options.seconds)
    whole, *_ = times.values()
    lines = [
        "| left out | images/s | so many times as fast with it | GFLOP an image | memory of a step |",
        "|---|---|---|---|---|",
    ]
    for name, start in starts.items():
        median, least, most = whole.ratio_to(times[name])
        slower = "-" if times[name] is whole else f"{median:.2f} ({least:.2f}-{most:.2f})"
        rate, flops = case.batch / times[name].median, work(steps[name], 1) / case.batch / 1e9
        lines.append(f"| {name} | {rate:.1f} | {slower} | {flops:.1f} | {memory(start, CPU, 1) / 2**20:.0f} MiB |")
        print(lines[-1], flush=True)
    machine = describe(CPU)
    about = (
        f"`python -m benchmarks.parts --resolution {case.resolution} --width {case.width} --batch {case.batch} "
        f"--precision {case.precision}`: BEGAN on {machine['threads']} cores of {machine['device']} "
        f"({', '.join(machine['features'])}), torch {machine['torch']}; medians of {ROUNDS} rounds side by side, with "
        "their range."
    )
    name = f"parts-{case.precision}.md"
    (options.out / name).write_text("\n\n".join(["# What each part gives", about, "\n".join(lines)]) + "\n")


if __name__ == "__main__":
    main()
