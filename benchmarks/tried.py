"""Ways to a faster step on a CPU in bf16 that were tried, each timed in alternation with what is done instead.

Pieces of BEGAN's step at a batch of 16, n = 64, channels-last, on one thread; writes docs/results/tried.md.

    OMP_NUM_THREADS=1 python -m benchmarks.tried --seconds 4
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import this_machine
from benchmarks.parts import AUTOENCODER, ablated_step
from equipoise.bench.benchmark import ROUNDS, Case
from equipoise.bench.timing import time_interleaved
from equipoise.networks import Autoencoder
from equipoise.networks.autoencoder import elu
from equipoise.players import Players

RESULT = Path(__file__).parents[1] / "docs" / "results" / "tried.md"
BATCH, WIDTH, SIDES = 16, 64, (64, 32, 16, 8)
CPU = torch.device("cpu")
COMPILED_ELU = torch.compile(F.elu, dynamic=True)


class Alternative(NamedTuple):
    """Two ways to the same end: what is done, and what was tried instead."""

    name: str
    done: Callable[[], object]
    tried: Callable[[], object]


def images(channels: int, side: int, batch: int = BATCH) -> Tensor:
    """(batch, channels, side, side) in bf16, channels-last."""
    return torch.randn(batch, channels, side, side).bfloat16().contiguous(memory_format=torch.channels_last)


def activation_after_convolution(side: int) -> Alternative:
    """Leaky ReLU stands for ELU, which torch does not hand on to oneDNN: what a post-operation can give at most."""
    x, weight, bias = images(WIDTH, side), images(WIDTH, 3, WIDTH), torch.randn(WIDTH).bfloat16()

    def done() -> Tensor:
        with torch.no_grad():
            return elu(F.conv2d(x, weight, bias, padding=1))

    def tried() -> Tensor:
        one = [1, 1]
        post = "leaky_relu", [0.2], ""
        out: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, one, one, one, 1, *post)
        return out

    return Alternative(f"convolution and activation in one, {side}²", done, tried)


def compiled_activation(side: int) -> Alternative:
    """ELU in place, as it follows every convolution, and one kernel of Inductor's."""
    x = images(WIDTH, side)
    return Alternative(f"ELU compiled by Inductor, {side}²", lambda: elu(x), lambda: COMPILED_ELU(x))


def compiled_gradient(side: int) -> Alternative:
    """ELU's gradient from its output, and one kernel of Inductor's."""
    out, gradient = elu(images(WIDTH, side)), images(WIDTH, side)

    def by_input(gradient: Tensor, out: Tensor) -> Tensor:
        return torch.where(out > 0, gradient, gradient * (out + 1))

    def done() -> Tensor:
        by_x: Tensor = torch.ops.aten.elu_backward(gradient, 1.0, 1.0, 1.0, True, out)
        return by_x

    compiled = torch.compile(by_input)
    assert torch.allclose(done(), compiled(gradient, out), rtol=0.02, atol=0.02)  # bf16 has eight bits
    return Alternative(f"ELU's gradient compiled by Inductor, {side}²", done, lambda: compiled(gradient, out))


def gradient_by_weights(side: int) -> Alternative:
    """The gradient by the weights, and nine products of shifted views over all pixels, from one padded copy."""
    x, gradient, weight = images(WIDTH, side), images(WIDTH, side), images(WIDTH, 3, WIDTH)

    def done() -> Tensor:
        by_weights: Tensor = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [False, True, False]
        )[1]
        return by_weights

    def tried() -> Tensor:
        # Rows of pixels as one long row: a shift of the kernel is a shift of that row, as images are padded.
        padded = F.pad(x, (1, 1, 1, 1)).permute(0, 2, 3, 1).contiguous().view(-1, WIDTH)
        wide = F.pad(gradient, (1, 1, 1, 1)).permute(0, 2, 3, 1).contiguous().view(-1, WIDTH).t()
        row, length = side + 2, len(padded)
        products = []
        for shift in (dy * row + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)):
            first, last = max(0, -shift), length - max(0, shift)
            products.append(wide[:, first:last] @ padded[first + shift : last + shift])
        return torch.stack(products, dim=-1).view(WIDTH, WIDTH, 3, 3)

    # In bf16 both round: they are the same to a few parts in a hundred of the largest
    assert (done() - tried()).abs().max() <= 0.05 * done().abs().max()
    return Alternative(f"gradient by the weights as nine products, {side}²", done, tried)


def split_gradient_by_weights(side: int) -> Alternative:
    """The gradient by the weights of the batch, and the sum of those of its two halves."""
    x, gradient, weight = images(WIDTH, side), images(WIDTH, side), images(WIDTH, 3, WIDTH)

    def by_weights(part: slice) -> Tensor:
        return torch.ops.aten.convolution_backward(
            gradient[part], x[part], weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [False, True, False]
        )[1]

    halves = slice(0, BATCH // 2), slice(BATCH // 2, BATCH)
    return Alternative(
        f"gradient by the weights in two halves, {side}²",
        lambda: by_weights(slice(None)),
        lambda: by_weights(halves[0]) + by_weights(halves[1]),
    )


def both_halves_forward(side: int) -> Alternative:
    """The discriminator's forward passes over real and generated images, one after the other and as one."""
    players: Players = Autoencoder(width=WIDTH).build((3, side, side))
    discriminator = players.discriminator.to(memory_format=torch.channels_last)
    real, fake = (images(3, side).float() for _ in range(2))
    both = torch.cat([real, fake]).contiguous(memory_format=torch.channels_last)

    def forward(*batches: Tensor) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return [discriminator(batch).score for batch in batches]

    name = f"both halves through D in one forward pass, {side}²"
    return Alternative(name, lambda: forward(real, fake), lambda: forward(both))


class CompiledELU(torch.autograd.Function):
    """ELU by Inductor's kernel, its gradient from the output by torch's own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Any shape."""
        out: Tensor = COMPILED_ELU(x)
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """The gradient by the input, from those by the output."""
        by_x: Tensor = torch.ops.aten.elu_backward(gradients[0], 1.0, 1.0, 1.0, True, *ctx.saved_tensors)
        return by_x


def whole_step(side: int) -> Alternative:
    """BEGAN's step as it is, and with every ELU compiled by Inductor, and nothing else."""
    return changed_step(f"a whole step with ELU compiled by Inductor, {side}²", side, CompiledELU.apply)


def step_without_activations(side: int) -> Alternative:
    """BEGAN's step as it is, and with no activation at all: what any faster ELU can give at most."""
    return changed_step(f"a whole step without any ELU, {side}²", side, lambda x: x)


def changed_step(name: str, side: int, activation: Callable[[Tensor], Any]) -> Alternative:
    """BEGAN's step with another activation."""
    case = Case("began", side, WIDTH, BATCH, "bf16")
    config = case.config("cpu")
    changed = ablated_step(config, case.shape, patched=lambda: patch(f"{AUTOENCODER}.elu", activation))
    return Alternative(name, ablated_step(config, case.shape), changed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each row (default: 4)")
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    kinds = (
        (activation_after_convolution, SIDES),
        (compiled_activation, SIDES[:2]),
        (compiled_gradient, SIDES[:2]),
        (gradient_by_weights, SIDES),
        (split_gradient_by_weights, SIDES[:2]),
        (both_halves_forward, SIDES[:2]),
        (whole_step, SIDES[:2]),
        (step_without_activations, SIDES[:2]),
    )
    lines = ["| tried | done: ms | tried: ms | so many times as fast |", "|---|---|---|---|"]
    for make, sides in kinds:
        for side in sides:
            alternative = make(side)
            steps = {"done": alternative.done, "tried": alternative.tried}
            times = time_interleaved(steps, CPU, cycle=1, rounds=ROUNDS, limit=options.seconds)
            median, low, high = times["tried"].ratio_to(times["done"])
            ms = [f"{times[name].median * 1e3:.2f}" for name in steps]
            lines.append(f"| {alternative.name} | {' | '.join(ms)} | {median:.2f} ({low:.2f}-{high:.2f}) |")
            print(lines[-1], flush=True)
    about = (
        f"`python -m benchmarks.tried --seconds {options.seconds:g}`: a batch of {BATCH}, {WIDTH} channels, bf16, on "
        f"{this_machine()}; medians of {ROUNDS} rounds side by side, with their range. Leaky ReLU stands for ELU in "
        "the first rows, as torch does not hand ELU on to oneDNN."
    )
    options.out.write_text("\n\n".join(["# What was tried for a faster step on a CPU", about, "\n".join(lines)]) + "\n")


if __name__ == "__main__":
    main()
