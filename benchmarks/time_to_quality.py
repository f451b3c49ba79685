"""Seconds to a quality: BEGAN by our recipe, the same recipe by the textbook's steps, and the paper's settings.

    python -m benchmarks.time_to_quality --data digits --seconds 120
    python -m benchmarks.time_to_quality --data photos/ --seeds 1

What the recipe gives and what the speed gives stand apart: `ours` is what `equipoise train began --data ...` does,
`textbook-steps` the same settings by the step that most public code takes (equipoise.bench), and `textbook` that step
at the paper's settings, with its networks 16 wide, which favours it: the paper's own are 64 times as slow here.

Seconds are of one core, of steps alone, not of scores. KID is of 400 samples beside held-out images, by the classifier
of digits or EfficientNet-Lite0; of the averaged generator, which `textbook` has none of. Prints a table, and draws
time-to-quality-DATA.png into --out; what --runs has already is not trained again.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
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
from equipoise.sampling.sample import sample_batches
from equipoise.suggestion.suggest import fill_in, is_chosen_for
from equipoise.training.batch import make_batch
from equipoise.training.distributed import Distributed
from equipoise.training.state import DataSpec, TrainState
from equipoise.views.figures import grid

RESULTS = Path(__file__).parents[1] / "docs" / "results"
WAYS = "ours", "textbook-steps", "textbook"
SCORES = 8  # of each run
KID = 0.2  # the quality, if none is asked for
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


@cache
def recipe(data: str) -> TrainConfig:
    """The settings by which `equipoise train began` trains on these images; chosen once, alike for all runs."""
    config = PRESETS["began"]["default"].with_changes(data=data)
    config = fill_in(config, ()).config if is_chosen_for(data) else config
    return config.with_changes(score_count=400)


def paper(data: str) -> TrainConfig:
    """The paper's objective, learning rates and initial weights, with small networks."""
    ours, published = recipe(data), PRESETS["began"]["paper"]
    assert isinstance(published.network, Autoencoder)
    same = {"data": data, "resolution": ours.resolution, "images": ours.images, "score_count": ours.score_count}
    return published.with_changes(network=replace(published.network, width=16), separate_latents=False, **same)


def our_trainer(config: TrainConfig, feed: Feed, launcher: Launcher) -> Trainer:
    """Training as by `equipoise train`."""
    train_state = TrainState(config, DataSpec.of(feed), launcher.device)
    return Trainer(equipoise_step(train_state, feed, launcher), lambda: train_state.images, train_state.ema)


def textbook_steps_trainer(config: TrainConfig, feed: Feed, launcher: Launcher) -> Trainer:
    """The same by the textbook's steps; our average of the generator belongs to the settings."""
    train_state = TrainState(config, DataSpec.of(feed), launcher.device)
    for module in (*train_state.players, train_state.ema):
        module.to(memory_format=torch.contiguous_format)
    textbook = Textbook(config, train_state.players)

    def step() -> None:
        inputs = make_batch(config, feed, train_state.images, Distributed(), launcher.device)
        textbook.recipe(inputs, train_state.lr)
        train_state.finish_step(textbook.state, {})

    return Trainer(step, lambda: train_state.images, train_state.ema)


def textbook_trainer(config: TrainConfig, feed: Feed, launcher: Launcher) -> Trainer:
    """Training as by most public code."""
    textbook = Textbook(config, TrainState(config, DataSpec.of(feed), launcher.device).players)
    for player in textbook.players:
        player.to(memory_format=torch.contiguous_format)
    step = textbook_step(textbook, feed, launcher)
    return Trainer(step, lambda: textbook.steps * config.batch, textbook.players.generator)


TRAINERS = dict(zip(WAYS, (our_trainer, textbook_steps_trainer, textbook_trainer), strict=True))


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


def seconds_to(scores: list[Score], kid: float) -> float:
    """Seconds until the score is at most `kid`, infinite if it never is."""
    return next((score.seconds for score in scores if score.kid <= kid), math.inf)


def train_or_load(
    way: str, data: str, seed: int, seconds: float, runs: Path, launcher: Launcher
) -> tuple[list[Score], Tensor]:
    """Scores and samples of one run, which is trained only if `runs` does not hold it."""
    file = runs / f"{Path(data).name}-{way}-{seed}-{seconds:.0f}.pt"
    if not file.exists():
        config = (paper if way == "textbook" else recipe)(data).with_changes(seed=seed)
        dataset = open_dataset(config)
        trainer = TRAINERS[way](config, dataset.feed, launcher)
        scores, samples = train(trainer, config, PeriodicKID(config, dataset, launcher.device), seconds)
        runs.mkdir(parents=True, exist_ok=True)
        torch.save({"scores": json.dumps(scores), "samples": samples}, file)
    saved = torch.load(file, weights_only=True)
    return [Score(*score) for score in json.loads(saved["scores"])], saved["samples"]


def figure(results: dict[str, list[tuple[list[Score], Tensor]]], kid: float, out: Path) -> None:
    """KID over seconds, and below it samples of the first run of each way."""
    picture = Figure(figsize=(11, 7), dpi=100, facecolor="white", layout="constrained")
    curves, *sheets = picture.subplot_mosaic([["curves"] * len(results), list(results)]).values()
    for number, (way, runs) in enumerate(results.items()):
        for number_of_run, (scores, _) in enumerate(runs):
            label = way if number_of_run == 0 else None
            seconds, kids = [score.seconds for score in scores], [score.kid for score in scores]
            curves.plot(seconds, kids, color=f"C{number}", label=label)
    curves.axhline(kid, color="#8a8a8a", linewidth=1, linestyle=":")
    curves.set(xlabel="seconds of one core", ylabel="KID", yscale="log")
    curves.legend(frameon=False)
    for axes, (way, runs) in zip(sheets, results.items(), strict=True):
        axes.imshow(grid(runs[0][1]), cmap="gray")
        axes.set_title(f"{way}, at the end", loc="left", size=10)
        axes.set_axis_off()
    picture.savefig(out)


def table(results: dict[str, list[tuple[list[Score], Tensor]]], kid: float, seconds: float) -> str:
    """Table with a row a way: seconds to the quality, the last score, images a second."""
    lines = [f"| | seconds to KID {kid:g} | reached | KID after {seconds:.0f} s | images/s |", "|---|---|---|---|---|"]
    for way, runs in results.items():
        times = [seconds_to(scores, kid) for scores, _ in runs]
        reached = [spent for spent in times if spent < math.inf]
        lines.append(
            f"| {way} | {statistics.median(times) if len(reached) * 2 > len(times) else math.inf:.0f} "
            f"| {len(reached)} of {len(times)} | {mean_and_spread([scores[-1].kid for scores, _ in runs], 3)} "
            f"| {mean_and_spread([scores[-1].images / scores[-1].seconds for scores, _ in runs], 0)} |"
        )
    return "\n".join(lines).replace("| inf |", "| never |")


def main() -> None:
    """Train every way, print the table, and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", default=WAYS, help=f"of {', '.join(WAYS)}; all by default")
    parser.add_argument("--data", default="digits", help="as of `equipoise train` (default: digits)")
    parser.add_argument("--kid", type=float, default=KID, help=f"the quality (default: {KID})")
    parser.add_argument("--seconds", type=float, default=150, help="of one core, for each run (default: 150)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each way (default: 3)")
    parser.add_argument("--runs", type=Path, default=Path("runs/time-to-quality"))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)  # then a process's time is that of its core, whatever else runs
    launcher = make_launcher("cpu", 1)
    results = {
        way: [
            train_or_load(way, options.data, seed, options.seconds, options.runs, launcher)
            for seed in range(options.seeds)
        ]
        for way in options.ways
    }
    print(table(results, options.kid, options.seconds))
    options.out.mkdir(parents=True, exist_ok=True)
    figure(results, options.kid, options.out / f"time-to-quality-{Path(options.data).name}.png")


if __name__ == "__main__":
    main()
