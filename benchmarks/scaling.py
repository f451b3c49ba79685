"""Speed of several processes, what they exchange, and a model of up to 1,024 GPUs.

    python -m benchmarks.scaling    # measures 1, 2 and 4 processes here, and writes docs/results/scaling.md

Measured here, on the CPU: images a second of processes with a batch of their own each, the bytes that a step reduces,
and how long it waits for them after its backward pass. Modelled, from the step times measured on an H100
(docs/results/bench-h100.md), those bytes and the bandwidth of named interconnects: the efficiency of 8 to 1,024 GPUs,
by the formulas in `reduction` and `efficiency`.
"""

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, log2
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equipoise import PRESETS, TrainConfig
from equipoise.bench.steps import SyntheticFeed, take_step
from equipoise.devices import Launcher, make_launcher
from equipoise.networks import Autoencoder
from equipoise.training.batch import make_batch
from equipoise.training.distributed import BUCKET_BYTES, Means, make_distributed
from equipoise.training.state import DataSpec, TrainState

RESULT = Path(__file__).parents[1] / "docs" / "results" / "scaling.md"
PROCESSES = (1, 2, 4)
SHAPE, WIDTH, BATCH, STEPS, WARM_UP = (3, 32, 32), 16, 16, 24, 4  # here; a batch of 16 for each process
GPUS_OF_A_HOST = 8
GPUS = (8, 16, 64, 256, 1024)
REACHED = 0.8  # of a link's nominal bandwidth
BACKWARD = 0.6  # of a step, behind which all buckets but the last are sent


@dataclass(frozen=True)
class Link:
    """A connection between GPUs: bytes a second that each can send, nominally, and seconds until the first arrives."""

    name: str
    bandwidth: float
    latency: float


INSIDE = (
    Link("NVLink 4 (450 GB/s)", 450e9, 3e-6),
    Link("NVLink 3 (300 GB/s)", 300e9, 3e-6),
    Link("PCIe 5 ×16 (64 GB/s)", 64e9, 5e-6),
    Link("PCIe 4 ×16 (32 GB/s)", 32e9, 5e-6),
)
BETWEEN = (
    Link("400 Gb/s InfiniBand a GPU (50 GB/s)", 50e9, 5e-6),
    Link("200 Gb/s InfiniBand a GPU (25 GB/s)", 25e9, 5e-6),
    Link("100 Gb/s Ethernet a host (1.6 GB/s a GPU)", 12.5e9 / GPUS_OF_A_HOST, 20e-6),
    Link("10 Gb/s Ethernet a host (0.16 GB/s a GPU)", 1.25e9 / GPUS_OF_A_HOST, 30e-6),
)
# Images a second of one H100 in bf16, compiled, with batches of so many: docs/results/bench-h100.md
H100 = {16: 3514.0, 64: 5956.0, 256: 7431.0}


def main() -> None:
    """Measure, model, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULT)
    out = parser.parse_args().out
    rows = [make_launcher("cpu", processes).launch(measured) for processes in PROCESSES]
    config = PRESETS["began"]["paper"].with_changes(resolution=64, network=Autoencoder(width=128, latent=64))
    size = bytes_of_weights(config, (3, 64, 64))
    out.write_text(page(rows, size))
    print(f"{out} is written")


def measured(launcher: Launcher) -> dict[str, Any]:
    """Medians over the steps of this many processes: seconds, seconds in reductions, and bytes reduced."""
    torch.set_num_threads(1)
    processes = launcher.world_size
    config = PRESETS["began"]["paper"].with_changes(
        network=Autoencoder(width=WIDTH, latent=16), resolution=SHAPE[1], batch=BATCH * processes, precision="fp32"
    )
    feed = SyntheticFeed(SHAPE, 4 * config.batch)
    distributed = make_distributed(launcher, "fp32")
    train_state = TrainState(config, DataSpec.of(feed), launcher.device, processes)
    seconds, busy, waited, sent = [], [], [], []

    def gradients(loss: Tensor, weights: Sequence[Tensor], values: Tensor, **settings: Any) -> Means:
        means = distributed.gradients(loss, weights, values, **settings)
        sent[-1] += sum(tensor.nbytes for tensor in (*weights, values))

        def wait() -> tuple[list[Tensor], Tensor]:
            began = time.perf_counter()
            received = means()
            waited[-1] += time.perf_counter() - began
            return received

        return wait

    watched = replace(distributed, gradients=gradients)
    for _ in range(WARM_UP + STEPS):
        waited.append(0.0)
        sent.append(0)
        launcher.barrier()
        began, worked = time.perf_counter(), time.process_time()
        take_step(train_state, make_batch(config, feed, train_state.images, watched, launcher.device), watched)
        seconds.append(time.perf_counter() - began)
        busy.append(time.process_time() - worked)
    return {
        "processes": processes,
        "step": statistics.median(seconds[WARM_UP:]),
        "busy": statistics.median(busy[WARM_UP:]),
        "reduction": statistics.median(waited[WARM_UP:]),
        "bytes": sent[-1],
    }


def bytes_of_weights(config: TrainConfig, shape: tuple[int, int, int]) -> int:
    """Bytes that a step reduces: a gradient in fp32 for each weight of both players."""
    with torch.device("meta"):
        players = config.build(shape, 0)
    return 4 * sum(weight.numel() for player in players for weight in player.parameters())


def reduction(size: int, gpus: int, inside: Link, between: Link) -> float:
    """Seconds for an all-reduce of `size` bytes over `gpus` GPUs, in hosts of 8.

    A ring in each host (Patarasuk and Yuan, 2009): every GPU sends 2 (g - 1) / g of the bytes. Between h hosts each
    GPU reduces its g-th of the bytes with those of the same place in the other hosts: 2 (h - 1) / h of that share.
    Latencies: 2 (g - 1) steps of the ring, and 2 log2 h of the trees that NCCL builds between hosts.
    """
    g, h = min(gpus, GPUS_OF_A_HOST), max(1, gpus // GPUS_OF_A_HOST)
    seconds = 2 * (g - 1) / g * size / (REACHED * inside.bandwidth) + 2 * (g - 1) * inside.latency
    if h > 1:
        seconds += 2 * (h - 1) / h * (size / g) / (REACHED * between.bandwidth) + 2 * log2(h) * between.latency
    return seconds


def efficiency(step: float, size: int, gpus: int, inside: Link, between: Link) -> float:
    """Share of the speed of so many GPUs that is left.

    A step waits for its last bucket, and for what of the others takes longer than the backward pass.
    """
    buckets = ceil(size / BUCKET_BYTES)
    bucket = reduction(size // buckets, gpus, inside, between)
    return step / (step + max(bucket, buckets * bucket - BACKWARD * step))


def page(rows: Sequence[dict[str, Any]], size: int) -> str:
    """The page of results, in Markdown."""
    lines = [
        "# Several processes",
        "",
        "`python -m benchmarks.scaling`",
        "",
        "## Measured here",
        "",
        f"{os.cpu_count()} cores, {os.getloadavg()[0]:.0f} processes at work on them; BEGAN {WIDTH} wide at "
        f"{SHAPE[1]}×{SHAPE[2]}, fp32, a batch of {BATCH} and one thread for each process, gloo over loopback,",
        f"medians of {STEPS} steps of the first process. Waiting is the time between the backward pass and the means,",
        "for the slowest process too. CPU is what a process itself computes, whoever else is at work.",
        "",
        "| processes | images/s | ms a step | of these waiting | ms of CPU a step | bytes reduced a step |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        speed = row["processes"] * BATCH / row["step"]
        lines.append(
            f"| {row['processes']} | {speed:,.0f} | {1e3 * row['step']:,.0f} | {1e3 * row['reduction']:,.1f} | "
            f"{1e3 * row['busy']:,.0f} | {row['bytes'] if row['processes'] > 1 else 0:,} |"
        )
    lines += [
        "",
        "## Modelled",
        "",
        f"BEGAN 128 wide at 64×64 reduces {size:,} bytes a step, in fp32. With the step time t of one GPU, efficiency",
        "is",
        "",
        f"    t / (t + max(r, n r - {BACKWARD:g} t)),",
        "    r = 2 (g - 1)/g · s/B + 2 (g - 1) a + 2 (h - 1)/h · (s/g)/B' + 2 log2(h) a'",
        "",
        f"for n = {ceil(size / BUCKET_BYTES)} buckets of s bytes, h hosts of g = 8 GPUs, links of B and B' bytes a",
        f"second and of a and a' seconds in a host and between hosts, of whose bandwidth {REACHED:.0%} are reached.",
        f"All buckets but the last are sent during the backward pass, some {BACKWARD:.0%} of t. t is that of one H100",
        "with CUDA graphs, compiled ([bench-h100](bench-h100.md)). Several GPUs do without CUDA graphs, so that their",
        "steps take longer than t, and efficiency is higher, of less speed. **Nothing of this was measured on several",
        "GPUs.**",
        "",
        "In one host, 8 GPUs:",
        "",
        "| batch a GPU | ms a step | " + " | ".join(link.name for link in INSIDE) + " |",
        "|---|---|" + "---|" * len(INSIDE),
    ]
    for batch, speed in H100.items():
        step = batch / speed
        cells = [f"{efficiency(step, size, 8, link, BETWEEN[0]):.1%}" for link in INSIDE]
        lines.append(f"| {batch} | {1e3 * step:.2f} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Hosts of 8 GPUs with {INSIDE[0].name}, batches of 64 a GPU:",
        "",
        "| between hosts | " + " | ".join(f"{gpus:,} GPUs" for gpus in GPUS) + " |",
        "|---|" + "---|" * len(GPUS),
    ]
    for link in BETWEEN:
        cells = [f"{efficiency(64 / H100[64], size, gpus, INSIDE[0], link):.1%}" for gpus in GPUS]
        lines.append(f"| {link.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
