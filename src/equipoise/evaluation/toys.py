"""Scores of a run on a toy: its points beside held-out ones, and beside the distribution itself, which is known."""

import torch

from equipoise.data import TOYS
from equipoise.errors import UsageError, quoted
from equipoise.evaluation.request import Request, open_run
from equipoise.evaluation.scores import PROTOCOL, Scores, over_draws
from equipoise.metrics import POINT_METRICS, applicable, point_scores
from equipoise.runs.run import Run
from equipoise.sampling.sample import sample
from equipoise.views.toy_scatter import toy_distribution

IMAGES_ONLY = ("features", "weights", "resolution", "crop", "split", "suspects")  # what points do not have


def run_on_toy(request: Request) -> Run | None:
    """The run that a request names, if it is on a toy; None where images are scored.

    Raises:
        UsageError: a toy is named beside images, or without a run on it.
    """
    for name in filter(None, (request.images, request.reference)):
        run = open_run(name)
        if run.config.toy is not None if run else name in TOYS:
            if run and request.reference is None:
                return run
            raise UsageError(f"{name} is a toy, of points and not of images: evaluate a run on it without --reference")
    return None


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
    truth = toy_distribution(toy)
    names, notes = _choose(request, toy.name, applicable(truth))
    total = request.count * request.draws
    points = sample(run, total, seed=request.seed, ema=request.ema, best=request.best).flatten(1)
    if not torch.isfinite(points).all():
        raise UsageError(f"{run.path} makes points that are NaN or infinite: train again with a lower --lr")
    held_out = toy.held_out(request.count)
    figures = over_draws([point_scores(draw, held_out, truth, names) for draw in torch.split(points, request.count)])
    protocol = {
        "version": PROTOCOL,
        "toy": toy.name,
        "count": request.count,
        "reference": {"identity": toy.fingerprint, "count": request.count, "split": "held-out"},
        "seed": request.seed,
    }
    subject = {"name": str(run.path), "count": request.count, "draws": request.draws, "beside": toy.name}
    return Scores(figures, subject, protocol, notes)


def _choose(request: Request, toy: str, possible: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """Names of the metrics to compute, of those that are `possible`, and a note on what is left out.

    Raises:
        UsageError: a metric that was asked for does not apply or needs more points, or there is none.
    """
    named = request.metrics is not None and "all" not in request.metrics
    names = list(request.metrics or ()) if named else possible
    if not names:
        raise UsageError(f"there is no score to compute: choose from {', '.join(possible)}")
    if unknown := next((name for name in names if name not in possible), None):
        raise UsageError(f"{toy} has no score {quoted(unknown)}: choose from {', '.join(possible)}")
    few = [name for name in names if POINT_METRICS[name].minimum > request.count]
    if few and named:
        raise UsageError(
            f"{few[0]} needs {POINT_METRICS[few[0]].minimum} points or more, not {request.count}: raise --count, or "
            f"leave {few[0]} out"
        )
    notes = (f"{', '.join(few)}: left out, for there are only {request.count} points: raise --count",) if few else ()
    return [name for name in names if name not in few], notes
