"""Pictures a second of what goes from latents to pictures and back: sample, invert, one step, reconstruct.

The networks are those that a run gets by default, with first weights: what they make does not matter to the time. Each
figure is the best of several turns. With a run on the bundled digits, 1,000 of its pictures are also inverted into a
folder. On a CPU by one thread the seconds are those that it computed, so that whatever else runs there does not count.
Writes docs/results/latents.md.

    python -m benchmarks.latents --resolution 32 --channels 1 --run runs/digits
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from equipoise import PRESETS, Run
from equipoise.bench.machine import describe
from equipoise.config.datasets import open_dataset
from equipoise.devices import Precision, make_launcher
from equipoise.exporting.onnx_models import Session, open_session, to_onnx
from equipoise.exporting.ports import generator_ports
from equipoise.latents.regression import Regression
from equipoise.latents.search import absolute_error, descend
from equipoise.sampling.encode import LatentEncoder
from equipoise.sampling.invert import Search
from equipoise.sampling.invert_folder import invert_into
from equipoise.sampling.load import ImageGenerator
from equipoise.sampling.players import TrainedPlayers, open_players
from equipoise.sampling.reconstruct import energy_maps
from equipoise.sampling.save import save_images

RESULTS = Path(__file__).parents[1] / "docs" / "results"
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
BATCHES = (1, 16, 64)
FOLDER = 1_000  # pictures in the folder that is inverted, half of them held out
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
        trained_discriminator=ready[1],
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

    found: dict[str, tuple[Callable[[], object], float]] = {"sample": (lambda: players.pictures(z), 1.0)}
    if players.device.type == "cpu" and players.run.config.precision == "fp32":
        session = exported(players, z)
        found["sample, onnxruntime"] = (lambda: session({"latents": z}), 1.0)
    found |= {
        f"invert, {Search().steps} steps": (searched, share),
    }
    if players.encodes:
        codes = players.run.config.network.codes
        linear = Regression(torch.zeros(codes, players.latent, device=z.device), z.new_zeros(players.latent))
        encoder = LatentEncoder(players, linear)
        found["invert, one step"] = (lambda: encoder(images), 1.0)
        found["reconstruct"] = (lambda: energy_maps(players, images), 1.0)
    return found


def exported(players: TrainedPlayers, z: Tensor) -> Session:
    """The generator as an ONNX model, for any number of latents."""
    generator = ImageGenerator(players.generator, players.latent).eval()
    ports = generator_ports(generator, {"latents": z.expand(max(2, len(z)), -1)}, 0)
    return open_session(to_onnx(ports, {"equipoise": "benchmark"}), threads=torch.get_num_threads())


def clock(device: torch.device) -> float:
    """Seconds: computed by this process where it has one thread, else on the wall."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def folder_inverted(run: Run, device: torch.device) -> str:
    """What it takes to invert a folder of pictures by default, and how near it comes, in a sentence."""
    dataset = open_dataset(run.config, place=run.place)
    splits = [dataset.split(name) for name in ("held-out", "train")]  # in which images lie by class
    pictures = [each.batch(np.linspace(0, len(each) - 1, FOLDER // 2).astype(int)) for each in splits]
    with tempfile.TemporaryDirectory() as home:
        save_images(torch.cat(pictures), Path(home, "pictures"))
        players = open_players(run, device=device.type)
        began = clock(device)
        done, _ = invert_into(Path(home, "inverted"), players, [str(Path(home, "pictures"))], Search())
        seconds = clock(device) - began
    residues = {name: np.array(done.rows[name]) for name in ("residues", "one_step")}
    held_out = slice(FOLDER // 2)
    return (
        f"`equipoise invert` of a folder of {len(done):,} pictures by default, files, pages and the regression of the "
        f"encoder's codes included: {seconds:.0f} seconds, {len(done) / seconds:.1f} pictures a second, in "
        f"{run.config.precision_on(device.type)}. Mean residue {residues['residues'].mean():.4f} "
        f"({residues['residues'][held_out].mean():.4f} of the half that was held out), by one step of the encoder "
        f"{residues['one_step'].mean():.4f}. The run: {run.config.objective_name} by default on "
        f"{run.config.data}, {players.images_seen:,} images."
    )


def best_time(work: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Seconds of the quickest of as many calls as fit into `seconds`, three at least."""
    times: list[float] = []
    started = clock(device)
    while len(times) < 4 or clock(device) - started < seconds:
        before = clock(device)
        work()
        times.append(clock(device) - before)
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
    parser.add_argument("--run", type=Path, help="trained on the bundled digits, for the folder")
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
        "| | " + " | ".join(f"{precision}, batches of {batch}" for precision, batch in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
        *(
            f"| {name} | "
            + " | ".join(
                (f"{found[column]:,.1f}" if found[column] < 100 else f"{found[column]:,.0f}") if column in found else ""
                for column in columns
            )
            + " |"
            for name, found in rows.items()
        ),
    ]
    machine = describe(device)
    where = f"{machine['device']} ({', '.join(machine['features'])}), {options.threads} thread(s)"
    about = (
        f"`python -m benchmarks.latents --objective {options.objective} --resolution {options.resolution} --channels "
        f"{options.channels} --device {options.device}{' --run runs/digits' if options.run else ''}`: pictures a "
        f"second on {where}, torch {torch.__version__}. Seconds of one thread are those that it computed, as others "
        "may use the core too."
    )
    folder = [] if options.run is None else [folder_inverted(Run.open(options.run), device)]
    text = "\n\n".join(["# Latents: pictures a second", about, "\n".join(lines), *folder]) + "\n"
    print(text)
    options.out.write_text(text)


if __name__ == "__main__":
    main()
