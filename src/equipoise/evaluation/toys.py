"""Score a toy run: its points beside held-out ones, and beside the distribution itself, which is known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from equipoise.errors import UsageError
from equipoise.evaluation.scores import PROTOCOL, Scores
from equipoise.metrics import POINT_METRICS, point_scores
from equipoise.runs.run import Run
from equipoise.sampling.sample import sample
from equipoise.views.toy_scatter import toy_distribution

NOT_OF_POINTS = {"features": "auto", "weights": None, "resolution": None, "split": "held-out"}


def toy_run(images: Run | Path | str) -> Run | None:
    """The run at `images`, if it is one on a toy."""
    run = images if isinstance(images, Run) else Run.open(images) if (Path(images) / "config.yaml").is_file() else None
    return run if run and run.config.toy else None


def evaluate_toy(
    run: Run,
    *,
    metrics: Sequence[str] | None = None,
    count: int = 5000,
    seed: int = 0,
    ema: bool = True,
    best: bool = False,
    **others: Any,
) -> Scores:
    """Score the points that a toy run's generator makes.

    Args:
        run: a run on a toy.
        metrics: names in POINT_METRICS; by default all that apply.
        count: points, of the run and held-out ones.
        seed: of the run's points.
        ema: use the moving average of the weights.
        best: use the checkpoint with the best score, instead of the last.
        others: settings that only images have, which must be at their defaults.

    Raises:
        UsageError: a setting or a score that points do not have; too few points, or some that are not finite.
    """
    toy = run.config.toy
    assert toy is not None, "a run on a toy"  # noqa: S101
    if wrong := next((name for name, value in others.items() if value != NOT_OF_POINTS[name]), None):
        raise UsageError(f"--{wrong} is for images, and {toy.name} has points: leave it out")
    points = sample(run, count, seed=seed, ema=ema, best=best).flatten(1)
    if not torch.isfinite(points).all():
        raise UsageError(f"{run.path} makes points that are NaN or infinite: train again with a lower --lr")
    found = point_scores(points, toy.held_out(count), toy_distribution(toy))
    names = list(found) if metrics is None or "all" in metrics else list(metrics)
    if unknown := next((name for name in names if name not in found), None):
        raise UsageError(f"{toy.name} has no score {unknown!r}: choose from {', '.join(found)}")
    protocol = {
        "version": PROTOCOL,
        "toy": toy.name,
        "count": count,
        "reference": {"identity": toy.fingerprint, "count": count, "split": "held-out"},
        "seed": seed,
    }
    subject = {"name": str(run.path), "count": count, "beside": toy.name}
    return Scores({name: found[name] for name in POINT_METRICS if name in names}, subject, protocol)
