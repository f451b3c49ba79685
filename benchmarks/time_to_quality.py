"""Seconds to a quality: BEGAN on the bundled digits, as `make demo` trains it and as the textbook does.

    python -m benchmarks.time_to_quality             # 300 seconds each, 3 seeds: half an hour of one core
    python -m benchmarks.time_to_quality ours batch-32 --seeds 1 --seconds 120

`textbook` is the step that most public code takes (equipoise.bench) at the paper's settings, but with the demo's small
networks, which favours it: the paper's own are 64 times as slow here. Seconds are of one core, of steps alone, not of
scores. KID is of 1,000 samples beside held-out digits, by the classifier of digits; ours are of the averaged
generator, the textbook has none. Prints a table, and draws time-to-quality.png
into --out; what --runs has already is not trained again.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from benchmarks.digits import told
from equipoise.bench import Textbook
from equipoise.bench.steps import take_step
from equipoise.config.datasets import open_dataset
from equipoise.config.presets import PRESETS
from equipoise.config.train_config import TrainConfig
from equipoise.devices import Launcher, make_launcher
from equipoise.evaluation.periodic_kid import PeriodicKID
from equipoise.networks import Autoencoder
from equipoise.objectives import BEGAN
from equipoise.players import Players
from equipoise.sampling.sample import sample_batches
from equipoise.training.allocator import keep_freed_memory
from equipoise.training.batch import make_batch
from equipoise.training.distributed import make_distributed
from equipoise.training.state import DataSpec, TrainState
from equipoise.views.figures import grid

RESULTS = Path(__file__).parents[1] / "docs" / "results"
LOOKS = 30  # scores of each run
KID = 0.5  # the quality: strokes that read as digits, most of them
SHOWN = 48  # samples of the end, of each


class Look(NamedTuple):
    """One score: after so many seconds of steps and so many images."""

    seconds: float
    images: int
    kid: float


class Entrant(NamedTuple):
    """Whoever trains: a step, and the generator that it is judged by."""

    step: Callable[[], int]
    generator: Callable[[], nn.Module]


def configs() -> dict[str, TrainConfig]:
    """Who takes part by name, `textbook` apart: the demo, and the demo with something changed."""
    demo = PRESETS["began"]["demo"]
    return {
        "ours": demo,
        "batch-32": demo.with_changes(batch=32, lr=7e-4),
        "batch-8": demo.with_changes(batch=8),
        "lr-1e-3": demo.with_changes(lr=1e-3),
        "lr-2.5e-4": demo.with_changes(lr=2.5e-4),
        "width-12": demo.with_changes(network=replace_width(demo, 12)),
        "width-24": demo.with_changes(network=replace_width(demo, 24)),
        "ema-2000": demo.with_changes(ema=2_000),
    }


def replace_width(config: TrainConfig, width: int) -> Autoencoder:
    assert isinstance(config.network, Autoencoder)
    return replace(config.network, width=width)


def paper() -> TrainConfig:
    """The paper's objective, rates and first weights, in networks as small as the demo's."""
    demo, theirs = PRESETS["began"]["demo"], PRESETS["began"]["paper"]
    assert isinstance(theirs.network, Autoencoder)
    assert isinstance(demo.network, Autoencoder)
    small = replace(theirs.network, width=demo.network.width, latent=demo.network.latent)
    return theirs.with_changes(objective=BEGAN.paper(), network=small, data=demo.data, resolution=demo.resolution)


def ours(config: TrainConfig, launcher: Launcher) -> Entrant:
    """As `equipoise train` takes its steps."""
    feed, distributed = open_dataset(config).feed, make_distributed(launcher, config.precision_on(launcher.device.type))
    train_state = TrainState(config, DataSpec.of(feed), launcher.device)

    def step() -> int:
        keep_freed_memory()
        take_step(train_state, make_batch(config, feed, train_state.images, distributed, launcher.device), distributed)
        return train_state.images

    return Entrant(step, lambda: train_state.ema)


def textbook(config: TrainConfig, launcher: Launcher) -> Entrant:
    """As most public code takes them."""
    feed, distributed = open_dataset(config).feed, make_distributed(launcher, "fp32")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        players = config.build(feed.shape)
    book = Textbook(config, Players(*(player.to(launcher.device) for player in players)))

    def step() -> int:
        keep_freed_memory(keep=False)
        book.step(make_batch(config, feed, book.steps * config.batch, distributed, launcher.device))
        return book.steps * config.batch

    return Entrant(step, lambda: players.generator)


def trained(entrant: Entrant, config: TrainConfig, seconds: float, launcher: Launcher) -> tuple[list[Look], Tensor]:
    """Train for so long, and look LOOKS times; the scores, and samples (SHOWN, C, H, W) of the end."""
    judge, looks, spent, images = PeriodicKID(config, open_dataset(config), launcher.device), list[Look](), 0.0, 0
    for number in range(1, LOOKS + 1):
        start = time.process_time()
        while spent + time.process_time() - start < seconds * number / LOOKS:
            images = entrant.step()
        spent += time.process_time() - start
        looks.append(Look(spent, images, judge(entrant.generator())["value"]))
    samples = torch.cat(list(sample_batches(entrant.generator(), config, range(SHOWN), config.seed)))
    return looks, samples


def seconds_to(looks: list[Look], kid: float = KID) -> float:
    """Seconds until the score is at most `kid`, infinite if it never is."""
    return next((look.seconds for look in looks if look.kid <= kid), math.inf)


def measured(name: str, seed: int, seconds: float, runs: Path, launcher: Launcher) -> tuple[list[Look], Tensor]:
    """Train one, or read what was kept of it."""
    kept = runs / f"{name}-{seed}-{seconds:.0f}.pt"
    if not kept.exists():
        config = (paper() if name == "textbook" else configs()[name]).with_changes(seed=seed)
        entrant = (textbook if name == "textbook" else ours)(config, launcher)
        looks, samples = trained(entrant, config, seconds, launcher)
        runs.mkdir(parents=True, exist_ok=True)
        torch.save({"looks": json.dumps(looks), "samples": samples}, kept)
    found = torch.load(kept, weights_only=True)
    return [Look(*look) for look in json.loads(found["looks"])], found["samples"]


def figure(found: dict[str, list[tuple[list[Look], Tensor]]], out: Path) -> None:
    """KID over seconds, and below it the samples of each one's first run."""
    picture = Figure(figsize=(11, 7), dpi=100, facecolor="white", layout="constrained")
    curves, *sheets = picture.subplot_mosaic([["curves"] * len(found), list(found)]).values()
    for number, (name, each) in enumerate(found.items()):
        for run, (looks, _) in enumerate(each):
            label = name if run == 0 else None
            curves.plot([look.seconds for look in looks], [look.kid for look in looks], color=f"C{number}", label=label)
    curves.axhline(KID, color="#8a8a8a", linewidth=1, linestyle=":")
    curves.set(xlabel="seconds of one core", ylabel="KID", yscale="log")
    curves.legend(frameon=False)
    for axes, (name, each) in zip(sheets, found.items(), strict=True):
        axes.imshow(grid(each[0][1]), cmap="gray")
        axes.set_title(f"{name}, at the end", loc="left", size=10)
        axes.set_axis_off()
    picture.savefig(out)


def table(found: dict[str, list[tuple[list[Look], Tensor]]], seconds: float) -> str:
    """A row each: seconds to the quality, the score at the end, images a second."""
    lines = [f"| | seconds to KID {KID} | reached | KID after {seconds:.0f} s | images/s |", "|---|---|---|---|---|"]
    for name, each in found.items():
        times = [seconds_to(looks) for looks, _ in each]
        reached = [spent for spent in times if spent < math.inf]
        lines.append(
            f"| {name} | {statistics.median(times) if len(reached) * 2 > len(times) else math.inf:.0f} "
            f"| {len(reached)} of {len(times)} | {told([looks[-1].kid for looks, _ in each], 2)} "
            f"| {told([looks[-1].images / looks[-1].seconds for looks, _ in each], 0)} |"
        )
    return "\n".join(lines).replace("| inf |", "| never |")


def main() -> None:
    """Train who is asked for, and write the table and the figure of the first two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["ours", "textbook"], help=f"textbook, {', '.join(configs())}")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs/time-to-quality"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)  # then a process's time is that of its core, whatever else runs
    launcher = make_launcher("cpu", 1)
    found = {
        name: [measured(name, seed, options.seconds, options.runs, launcher) for seed in range(options.seeds)]
        for name in options.names
    }
    print(table(found, options.seconds))
    options.out.mkdir(parents=True, exist_ok=True)
    figure(found, options.out / "time-to-quality.png")


if __name__ == "__main__":
    main()
