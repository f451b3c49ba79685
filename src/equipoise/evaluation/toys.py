"""Scores of a run on a toy: its points beside held-out ones, and beside the distribution itself, which is known."""

import torch

from equipoise.errors import UsageError, quoted
from equipoise.evaluation.request import Request
from equipoise.evaluation.scores import PROTOCOL, Scores, over_draws
from equipoise.metrics import POINT_METRICS, point_scores
from equipoise.runs.run import Run
from equipoise.sampling.sample import sample
from equipoise.views.toy_scatter import toy_distribution

IMAGES_ONLY = ("features", "weights", "resolution", "split", "suspects")  # settings that mean nothing for points


def evaluate_toy(run: Run, request: Request) -> Scores:
    """Scores of the points that a toy run's generator makes.

    Args:
        run: a run on a toy.
        request: its metrics are names in POINT_METRICS, by default all that apply; its count is that of the run's
            points, and of held-out ones.

    Raises:
        UsageError: a setting or a metric that points do not have; too few points, or some that are not finite.
    """
    toy = run.config.toy
    assert toy is not None, "a run on a toy"  # noqa: S101
    defaults = Request(images=request.images)
    for name in IMAGES_ONLY:
        if getattr(request, name) != getattr(defaults, name):
            raise UsageError(f"--{name} is for images, and {toy.name} has points: leave it out")
    total = request.count * request.draws
    points = sample(run, total, seed=request.seed, ema=request.ema, best=request.best).flatten(1)
    if not torch.isfinite(points).all():
        raise UsageError(f"{run.path} makes points that are NaN or infinite: train again with a lower --lr")
    held_out, truth = toy.held_out(request.count), toy_distribution(toy)
    figures = over_draws([point_scores(draw, held_out, truth) for draw in torch.split(points, request.count)])
    names = list(figures) if request.metrics is None or "all" in request.metrics else request.metrics
    if unknown := next((name for name in names if name not in figures), None):
        raise UsageError(f"{toy.name} has no score {quoted(unknown)}: choose from {', '.join(figures)}")
    protocol = {
        "version": PROTOCOL,
        "toy": toy.name,
        "count": request.count,
        "reference": {"identity": toy.fingerprint, "count": request.count, "split": "held-out"},
        "seed": request.seed,
    }
    subject = {"name": str(run.path), "count": request.count, "draws": request.draws, "beside": toy.name}
    return Scores({name: figures[name] for name in POINT_METRICS if name in names}, subject, protocol)
