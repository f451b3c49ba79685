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

from benchmarks import mean_and_spread
from equipoise.bench import Textbook
from equipoise.bench.steps import Step, equipoise_step, textbook_step
from equipoise.config.datasets import open_dataset
from equipoise.config.presets import PRESETS
from equipoise.config.train_config import TrainConfig
from equipoise.data import Feed
from equipoise.devices import Launcher, make_launcher
from equipoise.evaluation.periodic_kid import PeriodicKID
from equipoise.networks import Autoencoder
from equipoise.objectives import BEGAN
from equipoise.players import Players
from equipoise.sampling.sample import sample_batches
from equipoise.training.state import DataSpec, TrainState
from equipoise.views.figures import grid

RESULTS = Path(__file__).parents[1] / "docs" / "results"
SCORES = 30  # of each run
KID = 0.5  # the quality: strokes that read as digits, most of them
SAMPLES = 48  # in the figure, of the end of each run


class Score(NamedTuple):
    """KID after so many seconds of steps and so many images."""

    seconds: float
    images: int
    kid: float


class Trainer(NamedTuple):
    """A training step, the number of images trained on so far, and the generator to score."""

    step: Step
    images: Callable[[], int]
    generator: nn.Module


def configs() -> dict[str, TrainConfig]:
    """Configurations of equipoise by name: the demo, and the demo with one setting changed."""
    demo = PRESETS["began"]["remedies"]
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
    """The paper's objective, learning rates and initial weights, with networks as small as the demo's."""
    demo, published = PRESETS["began"]["remedies"], PRESETS["began"]["paper"]
    assert isinstance(published.network, Autoencoder)
    assert isinstance(demo.network, Autoencoder)
    small = replace(published.network, width=demo.network.width, latent=demo.network.latent)
    same = {"data": demo.data, "resolution": demo.resolution, "images": demo.images, "precision": "auto"}
    return published.with_changes(objective=BEGAN.paper(), network=small, separate_latents=False, **same)


def equipoise_trainer(config: TrainConfig, feed: Feed, launcher: Launcher) -> Trainer:
    """Training as by `equipoise train`."""
    train_state = TrainState(config, DataSpec.of(feed), launcher.device)
    return Trainer(equipoise_step(train_state, feed, launcher), lambda: train_state.images, train_state.ema)


def textbook_trainer(config: TrainConfig, feed: Feed, launcher: Launcher) -> Trainer:
    """Training as by most public code."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        players = config.build(feed.shape)
    textbook = Textbook(config, Players(*(player.to(launcher.device) for player in players)))
    step = textbook_step(textbook, feed, launcher)
    return Trainer(step, lambda: textbook.steps * config.batch, textbook.players.generator)


def train(trainer: Trainer, config: TrainConfig, kid: PeriodicKID, seconds: float) -> tuple[list[Score], Tensor]:
    """Train for `seconds` of steps, interrupted for SCORES scores.

    Returns:
        The scores, and samples (SAMPLES, C, H, W) of the trained generator.
    """
    scores, spent = list[Score](), 0.0
    for number in range(1, SCORES + 1):
        start = time.process_time()
        while spent + time.process_time() - start < seconds * number / SCORES:
            trainer.step()
        spent += time.process_time() - start
        scores.append(Score(spent, trainer.images(), kid(trainer.generator)["value"]))
    samples = torch.cat(list(sample_batches(trainer.generator, config, range(SAMPLES), config.seed)))
    return scores, samples


def seconds_to(scores: list[Score], kid: float = KID) -> float:
    """Seconds until the score is at most `kid`, infinite if it never is."""
    return next((score.seconds for score in scores if score.kid <= kid), math.inf)


def train_or_load(name: str, seed: int, seconds: float, runs: Path, launcher: Launcher) -> tuple[list[Score], Tensor]:
    """Scores and samples of one run, which is trained only if `runs` does not hold it."""
    file = runs / f"{name}-{seed}-{seconds:.0f}.pt"
    if not file.exists():
        config = (paper() if name == "textbook" else configs()[name]).with_changes(seed=seed)
        dataset = open_dataset(config)
        trainer = (textbook_trainer if name == "textbook" else equipoise_trainer)(config, dataset.feed, launcher)
        scores, samples = train(trainer, config, PeriodicKID(config, dataset, launcher.device), seconds)
        runs.mkdir(parents=True, exist_ok=True)
        torch.save({"looks": json.dumps(scores), "samples": samples}, file)
    saved = torch.load(file, weights_only=True)
    return [Score(*score) for score in json.loads(saved["looks"])], saved["samples"]


def figure(results: dict[str, list[tuple[list[Score], Tensor]]], out: Path) -> None:
    """KID over seconds, and below it samples of the first run of each configuration."""
    picture = Figure(figsize=(11, 7), dpi=100, facecolor="white", layout="constrained")
    curves, *sheets = picture.subplot_mosaic([["curves"] * len(results), list(results)]).values()
    for number, (name, runs) in enumerate(results.items()):
        for number_of_run, (scores, _) in enumerate(runs):
            label = name if number_of_run == 0 else None
            seconds, kids = [score.seconds for score in scores], [score.kid for score in scores]
            curves.plot(seconds, kids, color=f"C{number}", label=label)
    curves.axhline(KID, color="#8a8a8a", linewidth=1, linestyle=":")
    curves.set(xlabel="seconds of one core", ylabel="KID", yscale="log")
    curves.legend(frameon=False)
    for axes, (name, runs) in zip(sheets, results.items(), strict=True):
        axes.imshow(grid(runs[0][1]), cmap="gray")
        axes.set_title(f"{name}, at the end", loc="left", size=10)
        axes.set_axis_off()
    picture.savefig(out)


def table(results: dict[str, list[tuple[list[Score], Tensor]]], seconds: float) -> str:
    """Table with a row a configuration: seconds to the quality, the last score, images a second."""
    lines = [f"| | seconds to KID {KID} | reached | KID after {seconds:.0f} s | images/s |", "|---|---|---|---|---|"]
    for name, runs in results.items():
        times = [seconds_to(scores) for scores, _ in runs]
        reached = [spent for spent in times if spent < math.inf]
        lines.append(
            f"| {name} | {statistics.median(times) if len(reached) * 2 > len(times) else math.inf:.0f} "
            f"| {len(reached)} of {len(times)} | {mean_and_spread([scores[-1].kid for scores, _ in runs], 2)} "
            f"| {mean_and_spread([scores[-1].images / scores[-1].seconds for scores, _ in runs], 0)} |"
        )
    return "\n".join(lines).replace("| inf |", "| never |")


def main() -> None:
    """Train the configurations that are named, print the table, and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["ours", "textbook"], help=f"textbook, {', '.join(configs())}")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=Path("runs/time-to-quality"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)  # then a process's time is that of its core, whatever else runs
    launcher = make_launcher("cpu", 1)
    results = {
        name: [train_or_load(name, seed, options.seconds, options.runs, launcher) for seed in range(options.seeds)]
        for name in options.names
    }
    print(table(results, options.seconds))
    options.out.mkdir(parents=True, exist_ok=True)
    figure(results, options.out / "time-to-quality.png")


if __name__ == "__main__":
    main()
