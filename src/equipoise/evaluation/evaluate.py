"""Score samples beside real images: one pass over each set, shared by all processes, its protocol written down."""

from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from equipoise.config.train_config import TrainConfig
from equipoise.data import normalise
from equipoise.devices import Device, Launcher, make_launcher
from equipoise.errors import UsageError
from equipoise.evaluation.features import collected, features_for
from equipoise.evaluation.image_sets import ImageSet, Request, Sets, sets_of
from equipoise.evaluation.scores import PROTOCOL, Scores
from equipoise.evaluation.toys import evaluate_toy, toy_run
from equipoise.metrics import (
    METRICS,
    Collected,
    Figures,
    Need,
    check,
    memorisation,
    merge,
    minimum_reconstruction_error,
    nearest,
    needed,
    scores,
)
from equipoise.metrics.features import Extractor, load_extractor
from equipoise.runs.run import Run

RECONSTRUCTED = 64  # held-out images that are reconstructed, for each takes hundreds of steps
UNBIASED = 10  # images for each feature, from which on FID says what it should
SMALLEST = 16  # pixels, of images whose patches are compared
CLASSES = 100  # of an extractor, up to which they are taken for the modes of the data


def evaluate(
    images: Run | Path | str,
    reference: Run | Path | str | None = None,
    *,
    device: Device = "auto",
    devices: int = 1,
    quiet: bool = False,
    **how: Any,
) -> Scores:
    """Score a run's samples, or any images, beside real ones.

    Args:
        images: a run or its folder, or any images that `equipoise.data.open_images` takes.
        reference: the same, for what to compare with; by default the held-out part of the run's data.
        device: where to compute.
        devices: processes on this machine, which share the images.
        quiet: show no progress.
        how: `features`, a name in EXTRACTORS, or auto; `weights`, their file; `metrics`, names in METRICS or "all", by
            default those that apply and take no search; `count`, images of each set at most; `split` of the run's
            data: held-out, train or all; `resolution`, of images that are no run's; `seed`; `ema`, or the weights as
            they are; `best`, the checkpoint with the best KID. A run on a toy has the scores of POINT_METRICS.

    Raises:
        UsageError: something is missing, too few, or does not fit.
    """
    if reference is None and (run := toy_run(images)):
        return evaluate_toy(run, **how)
    names = [str(each.path) if isinstance(each, Run) else str(each) for each in (images, reference) if each is not None]
    request = Request(images=names[0], reference=None if reference is None else names[1], **how)
    result = cast(Any, make_launcher(device, devices)).launch(
        _work, vars(request), quiet
    )  # it takes no frozen dataclass
    if isinstance(result, str):
        raise UsageError(result)
    return Scores(**result)


class _Plan(NamedTuple):
    """What one process will do: the sets to pass over with what each is needed for, the scores, and what to note."""

    sets: Sets
    extractor: Extractor
    names: list[str]
    notes: list[str]

    def passes(self) -> dict[str, tuple[ImageSet, frozenset[Need]]]:
        """The sets by name, and what to keep of each; vectors to find near ones by, of all three."""
        near: frozenset[Need] = frozenset({"vectors"} if "memorisation" in self.names else ())
        needs = needed(self.names) | near
        found = {"samples": (self.sets.samples, needs), "reference": (self.sets.reference, needs)}
        if near and self.sets.training:
            found["training"] = (self.sets.training, near)
        return found


def _work(launcher: Launcher, wanted: dict[str, Any], quiet: bool) -> dict[str, Any] | str:
    """What every process does: its share of each set. All of them return the fields of Scores, or what is wrong."""
    request = Request(**wanted)
    rank, size = launcher.global_rank, launcher.world_size
    plan, mine, message = None, dict[str, Collected](), ""
    try:
        plan = _plan(request, launcher.device)
        for name, (images, needs) in plan.passes().items():
            mine[name] = collected(images, needs, plan.extractor, request.seed, rank, size, quiet)
    except UsageError as error:
        message = str(error)
    messages, parts = _gathered(message, mine, size)
    result: dict[str, Any] | str = next(filter(None, messages), "")
    if plan and not result and rank == 0:
        try:
            merged = {name: merge([part[name] for part in parts]) for name in mine}
            result = vars(_scored(plan, merged, request))
        except UsageError as error:
            result = str(error)
    return launcher.broadcast(result)


def _gathered(message: str, mine: dict[str, Collected], size: int) -> tuple[list[str], list[dict[str, Collected]]]:
    """What every process says and has, in order of rank."""
    if size == 1:
        return [message], [mine]
    own = (message, {name: part.tensors() for name, part in mine.items()})
    found: list[Any] = [None] * size
    torch.distributed.all_gather_object(found, own)
    parts = [{name: Collected.from_tensors(tensors) for name, tensors in each.items()} for _, each in found]
    return [text for text, _ in found], parts


def _plan(request: Request, device: torch.device) -> _Plan:
    """Open the sets and the extractor, and choose the scores.

    Raises:
        UsageError: something is missing, too few, or does not fit.
    """
    sets = sets_of(request, device)
    features = features_for(request.features, sets.data)
    extractor = load_extractor(features, file=request.weights, device=device, shape=sets.samples.shape)
    counts = (sets.samples.count, sets.reference.count)
    cannot = _cannot(sets, extractor)
    if request.metrics is not None and "all" not in request.metrics:
        check(request.metrics, *counts)
        if wrong := next((name for name in request.metrics if name in cannot), None):
            raise UsageError(f"{wrong} needs {cannot[wrong]}: leave it out of --metrics")
        if not request.metrics:
            raise UsageError(f"there is no score to compute: choose from {', '.join(METRICS)}")
        return _Plan(sets, extractor, list(request.metrics), [])
    check(["kid"], *counts)
    names = [name for name in METRICS if name not in cannot and (request.metrics or name not in _unusual(extractor))]
    few = [name for name in names if METRICS[name].minimum > min(counts)]
    notes = [f"{', '.join(few)}: left out, for there are only {min(counts)} images in a set"] if few else []
    if request.features == "auto" and features == "pixels":
        notes.append("pixels say little of what people see: pip install 'equipoise[features]' for effnet-lite0")
    return _Plan(sets, extractor, [name for name in names if name not in few], notes)


def _cannot(sets: Sets, extractor: Extractor) -> dict[str, str]:
    """The scores that cannot be had of these sets, and what they need."""
    tasks = sets.config.tasks if sets.config else None
    needs = {
        "inception-score": (extractor.classes, "an extractor with classes"),
        "modes": (extractor.classes, "an extractor with classes"),
        "memorisation": (sets.training, "a run, scored by its held-out images"),
        "reconstruction": (
            sets.config and not (tasks and (tasks.classify or tasks.inpaint)),
            "a run from latents alone",
        ),
        "sliced-wasserstein": (min(sets.samples.shape[1:]) >= SMALLEST, f"{SMALLEST} pixels a side"),
    }
    return {name: need for name, (there, need) in needs.items() if not there}


def _unusual(extractor: Extractor) -> set[str]:
    """What is computed only when it is asked for: a long search, and classes that are not those of the data."""
    return {"reconstruction"} | ({"modes"} if (extractor.classes or 0) > CLASSES else set())


def _scored(plan: _Plan, merged: dict[str, Collected], request: Request) -> Scores:
    """All scores, their protocol, and what to keep in mind."""
    sets, extractor, names, notes = plan
    figures = scores(names, merged["samples"], merged["reference"], seed=request.seed)
    if "memorisation" in names:
        figures["memorisation"] = _memorisation(merged)
    if "reconstruction" in names:
        figures["reconstruction"] = _reconstruction(sets, request)
    fewest = min(sets.samples.count, sets.reference.count)
    if "fid" in figures and fewest < UNBIASED * extractor.size:
        figures["fid"]["biased"] = 1.0
        notes.append(
            f"fid is too high with fewer than {UNBIASED * extractor.size:,} images of each set "
            f"({UNBIASED} times {extractor.size} features): trust kid"
        )
    features = {"name": extractor.name, "weights": extractor.identity, "preprocessing": extractor.preprocessing}
    reference = {"identity": sets.reference.identity, "count": sets.reference.count, "split": sets.split}
    protocol = {
        "version": PROTOCOL,
        "features": features,
        "shape": list(sets.samples.shape),
        "count": sets.samples.count,
        "reference": reference,
        "seed": request.seed,
    }
    subject = {
        "name": sets.samples.name,
        "identity": sets.samples.identity,
        "count": sets.samples.count,
        "beside": sets.reference.name,
    }
    return Scores({name: figures[name] for name in METRICS if name in figures}, subject, protocol, tuple(notes))


def _memorisation(merged: dict[str, Collected]) -> Figures:
    train, samples, real = (cast(Tensor, merged[name].vectors) for name in ("training", "samples", "reference"))
    found = memorisation(nearest(samples, [train]).distances, nearest(real, [train]).distances)
    return {"value": found.share, "nearer": found.nearer}


def _reconstruction(sets: Sets, request: Request) -> Figures:
    """The least errors of the first reference images, (H, W) pixels in [-1, 1], that the generator can draw."""
    generator, config = cast(nn.Module, sets.samples.generator), cast(TrainConfig, sets.config)
    weight = next(generator.parameters())
    few = torch.cat(list(sets.reference.read(range(min(RECONSTRUCTED, sets.reference.count)))))
    errors = minimum_reconstruction_error(
        lambda z: cast(Tensor, generator(z).images),
        normalise(few).to(weight.device, weight.dtype),
        config.network.latent,
        prior=config.prior,
        seed=request.seed,
    )
    return {"value": errors.mean().item(), "spread": errors.std(correction=0).item(), "images": float(len(few))}
