"""Ablation of the fast step: BEGAN's step as it is, and with one part left out at a time, timed in alternation.

On a CPU, of the paper's BEGAN, or of what photographs are trained by; writes docs/results/parts-PRECISION.md, or
parts-photographs.md.

    python -m benchmarks.parts --width 64 --resolution 64 --seconds 300
    OMP_NUM_THREADS=1 python -m benchmarks.parts --photographs --resolution 32 --width 32 --batch 64 --precision bf16
"""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam

from benchmarks import this_machine
from equipoise.bench import Textbook
from equipoise.bench.benchmark import ROUNDS, SYNTHETIC_BATCHES, Case
from equipoise.bench.steps import Step, SyntheticFeed, equipoise_step, textbook_step
from equipoise.bench.timing import count_flops, peak_memory, time_interleaved
from equipoise.config.train_config import TrainConfig
from equipoise.devices import SingleProcess
from equipoise.isolation import keep_freed_memory
from equipoise.networks import DCGANAutoencoder
from equipoise.networks.autoencoder import upsample
from equipoise.networks.players import EnergyDiscriminator
from equipoise.objectives import BEGAN
from equipoise.players import Players
from equipoise.training.batch import make_batch
from equipoise.training.distributed import Distributed
from equipoise.training.state import DataSpec, Shape, TrainState
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


def without_keeping(*, keep: bool = True) -> None:
    """Stand-in for `keep_freed_memory` that leaves torch's usual behaviour."""
    keep_freed_memory(keep=False)


AUTOENCODER = "equipoise.networks.autoencoder"
EVERYWHERE: dict[str, tuple[Change | None, Patch]] = {
    "nothing left out": (None, nullcontext),
    "channels-last": (
        in_default_layout,
        lambda: patch("equipoise.training.batch.channels_last", lambda images: images),
    ),
    "small bf16 convolutions as products": (
        None,
        lambda: patch("equipoise.networks.convolution.MAX_PIXELS", 0),
    ),
    "last layers' gradients in bf16": (
        None,
        lambda: patch("equipoise.networks.outputs.is_eager_on_cpu", lambda x: False),
    ),
    "freed memory kept": (None, lambda: patch("equipoise.bench.steps.keep_freed_memory", without_keeping)),
    "fused Adam": (with_plain_adam, nullcontext),
}
OF_THE_PAPER: dict[str, tuple[Change | None, Patch]] = {
    **EVERYWHERE,
    "one backward pass for both players": (
        None,
        lambda: patch.object(BEGAN, "shared_term_coefficient", lambda self, state: None),
    ),
    "one transposed convolution to enlarge": (None, lambda: patch(f"{AUTOENCODER}.upsample_and_convolve", two_steps)),
    "bias's gradient of transposed convolutions by torch": (
        None,
        lambda: patch(f"{AUTOENCODER}.transposed_convolution", F.conv_transpose2d),
    ),
    "activations in place": (None, lambda: patch(f"{AUTOENCODER}.elu", F.elu)),
}
OF_PHOTOGRAPHS: dict[str, tuple[Change | None, Patch]] = {
    **EVERYWHERE,
    "outer layers by cells of pixels": (None, lambda: patch("equipoise.networks.kernel.MAX_CHANNELS_IN_CELLS", 0)),
    "energies without a map of them": (
        None,
        lambda: patch.object(EnergyDiscriminator, "energy", lambda self, errors: self.energy_map(errors).mean((1, 2))),
    ),
}


def photographs(case: Case) -> TrainConfig:
    """What `equipoise train began` does with photographs, but for their flips, which no step takes part in."""
    return TrainConfig(
        objective=BEGAN(gamma=0.85),
        network=DCGANAutoencoder(width=case.width, wavelet=2),
        resolution=case.resolution,
        batch=case.batch,
        precision=case.precision,
        augment=("translation",),
        lr=1e-3,
    )


def ablated_step(config: TrainConfig, shape: Shape, change: Change | None = None, patched: Patch = nullcontext) -> Step:
    """Equipoise's step with one part left out: by a change of the state, or by a patch while it runs."""
    train_state = TrainState(config, DataSpec(shape), CPU)
    if change:
        change(train_state)
    plain_step = equipoise_step(train_state, synthetic_feed(config, shape), SingleProcess(CPU))

    def step() -> None:
        with patched():
            plain_step()

    return step


def plain_textbook_step(config: TrainConfig, shape: Shape) -> Step:
    textbook, feed = Textbook(config, config.build(shape)), synthetic_feed(config, shape)
    if config.network_name == "autoencoder":
        return textbook_step(textbook, feed, SingleProcess(CPU))

    def step() -> None:
        keep_freed_memory(keep=False)
        textbook.recipe(make_batch(config, feed, textbook.steps * config.batch, Distributed(), CPU), config.lr)

    return step


def synthetic_feed(config: TrainConfig, shape: Shape) -> SyntheticFeed:
    return SyntheticFeed(shape, SYNTHETIC_BATCHES * config.batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--photographs", action="store_true", help="as photographs are trained by, not the paper's")
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    case = Case("began", options.resolution, options.width, options.batch, options.precision)
    config = photographs(case) if options.photographs else case.config("cpu")
    parts = OF_PHOTOGRAPHS if options.photographs else OF_THE_PAPER
    builders: dict[str, Callable[[], Step]] = {
        name: partial(ablated_step, config, case.shape, *part) for name, part in parts.items()
    }
    builders["everything: the textbook's step"] = partial(plain_textbook_step, config, case.shape)
    steps = {name: build() for name, build in builders.items()}
    times = time_interleaved(steps, CPU, cycle=1, rounds=ROUNDS, limit=options.seconds)
    whole, *_ = times.values()
    lines = [
        "| left out | images/s | so many times as fast with it | GFLOP an image | memory of a step |",
        "|---|---|---|---|---|",
    ]
    for name, build in builders.items():
        median, low, high = whole.ratio_to(times[name])
        slower = "-" if times[name] is whole else f"{median:.2f} ({low:.2f}-{high:.2f})"
        rate, flops = case.batch / times[name].median, count_flops(steps[name], 1) / case.batch / 1e9
        lines.append(f"| {name} | {rate:.1f} | {slower} | {flops:.1f} | {peak_memory(build, CPU, 1) / 2**20:.0f} MiB |")
        print(lines[-1], flush=True)
    which = "--photographs " if options.photographs else ""
    about = (
        f"`python -m benchmarks.parts {which}--resolution {case.resolution} --width {case.width} --batch {case.batch} "
        f"--precision {case.precision}`: BEGAN on {this_machine()}; medians of {ROUNDS} rounds side by side, with "
        "their range."
    )
    name = f"parts-{'photographs' if options.photographs else case.precision}.md"
    (options.out / name).write_text("\n\n".join(["# What each part gives", about, "\n".join(lines)]) + "\n")


if __name__ == "__main__":
    main()
