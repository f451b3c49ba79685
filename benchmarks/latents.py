"""Pictures a second of what goes from latents to pictures and back: sample, invert, one step, reconstruct, by PyTorch.

The networks are those that a run gets by default, with first weights: what they make does not matter to the time. Each
figure is the best of several turns. Writes docs/results/latents.md.

    python -m benchmarks.latents --resolution 32 --channels 1
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from equipoise import PRESETS, Run
from equipoise.devices import Precision, make_launcher
from equipoise.latents.regression import Regression
from equipoise.latents.search import absolute_error, descend
from equipoise.sampling.encode import LatentEncoder
from equipoise.sampling.invert import Search
from equipoise.sampling.players import TrainedPlayers
from equipoise.sampling.reconstruct import energy_maps

RESULTS = Path(__file__).parents[1] / "docs" / "results"
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
BATCHES = (1, 16, 64)
STEPS = 20  # of a search that is timed; the time of `Search`'s own number of steps is so much more


def players_of(
    objective: str, precision: Precision, shape: tuple[int, int, int], device: torch.device
) -> TrainedPlayers:
    """Players by default, untrained."""
    channels, height, width = shape
    config = PRESETS[objective]["default"].with_changes(precision=precision, resolution=f"{width}x{height}")
    torch.manual_seed(0)
    both = config.build((channels, height, width))
    ready = [each.to(device, memory_format=torch.channels_last).eval().requires_grad_(False) for each in both]
    return TrainedPlayers(
        run=Run(Path("untrained"), config),
        generator=ready[0],
        discriminator=ready[1],
        shape=shape,
        classes=0,
        images_seen=0,
        ema=False,
        device=device,
    )


def works(players: TrainedPlayers, batch: int) -> dict[str, tuple[Callable[[], object], float]]:
    """What is timed, by name, each with the share that it is of the work on a picture."""
    z = players.draw(batch, "bench", 0)
    images = players.on_device(players.pictures(z))
    share = STEPS / Search().steps

    def searched() -> None:
        descend(players.generate, images, z, loss=absolute_error, prior=players.prior, steps=STEPS, lr=0.1)

    found: dict[str, tuple[Callable[[], object], float]] = {
        "sample": (lambda: players.pictures(z), 1.0),
        f"invert, {Search().steps} steps": (searched, share),
    }
    if players.encodes:
        codes = players.run.config.network.codes
        linear = Regression(torch.zeros(codes, players.latent, device=z.device), z.new_zeros(players.latent))
        encoder = LatentEncoder(players, linear)
        found["invert, one step"] = (lambda: encoder(images), 1.0)
        found["reconstruct"] = (lambda: energy_maps(players, images), 1.0)
    return found


def best_time(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Seconds of the quickest of as many calls as fit into `seconds`, three at least."""
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < 4 or time.perf_counter() - started < seconds:
        if device.type == "cuda":
            torch.cuda.synchronize()
        before = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - before)
    return min(times[1:])  # the first call also makes plans


def main() -> None:
    """Time everything, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objective", default="began")
    parser.add_argument("--resolution", type=int, default=32)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--out", type=Path, default=RESULTS / "latents.md")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = make_launcher(options.device, 1).device
    shape = (options.channels, options.resolution, options.resolution)
    rows: dict[str, dict[tuple[str, int], float]] = {}
    for batch in BATCHES:
        for precision in PRECISIONS:
            players = players_of(options.objective, precision, shape, device)
            for name, (work, share) in works(players, batch).items():
                seconds = best_time(work, device, options.seconds)
                rows.setdefault(name, {})[precision, batch] = batch * share / seconds
    columns = [(precision, batch) for precision in PRECISIONS for batch in BATCHES]
    lines = [
        "| PyTorch | " + " | ".join(f"{precision}, batches of {batch}" for precision, batch in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
        *(
            f"| {name} | "
            + " | ".join(
                f"{found[column]:,.1f}" if found[column] < 100 else f"{found[column]:,.0f}" for column in columns
            )
            + " |"
            for name, found in rows.items()
        ),
    ]
    where = torch.cuda.get_device_name(0) if device.type == "cuda" else f"a CPU, {options.threads} thread(s)"
    about = (
        f"`python -m benchmarks.latents --objective {options.objective} --resolution {options.resolution} --channels "
        f"{options.channels} --device {options.device}`: pictures a second on {where}, torch {torch.__version__}."
    )
    text = "\n\n".join(["# Latents: pictures a second", about, "\n".join(lines)]) + "\n"
    print(text)
    options.out.write_text(text)


if __name__ == "__main__":
    main()
