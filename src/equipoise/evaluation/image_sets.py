"""What can be scored: a run's samples, its real images, or any others, as sets of one shape that are read in parts."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from equipoise.config.datasets import open_dataset as open_run_data
from equipoise.config.train_config import TrainConfig
from equipoise.data import Images, open_dataset, open_images
from equipoise.errors import UsageError
from equipoise.randomness import keyed_generator
from equipoise.runs.run import Run
from equipoise.sampling.load import load_generator
from equipoise.sampling.sample import images_to_fill_in, sample_batches

Split = Literal["held-out", "train", "all"]

AT_ONCE, BYTES = 250, 2**26  # images in memory, and their bytes
TRAINING = 10_000  # training images among which near ones are looked for, at most


@dataclass(frozen=True)
class ImageSet:
    """Images of one shape, in an order that never changes.

    Attributes:
        name: in words.
        identity: changes when the images do, and only then.
        shape: (C, H, W).
        count: how many.
        read: positions -> the images there, uint8 (n, C, H, W), some at a time.
        generator: what draws them, where something does.
    """

    name: str
    identity: str
    shape: tuple[int, int, int]
    count: int
    read: Callable[[range], Iterator[Tensor]]
    generator: nn.Module | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to score, and how; see `equipoise.evaluate`."""

    images: str
    reference: str | None = None
    features: str = "auto"
    weights: Path | None = None
    metrics: tuple[str, ...] | None = None
    count: int = 5000
    split: Split = "held-out"
    resolution: int | str | None = None
    seed: int = 0
    ema: bool = True
    best: bool = False


class Sets(NamedTuple):
    """What a request asks for.

    Attributes:
        samples: what is scored.
        reference: what it is compared with.
        training: what the generator was trained on, where the reference was held out from that.
        data: what --data takes for the real images, where that is known.
        split: which part of them the reference is.
        config: of the run that draws the samples, if one does.
    """

    samples: ImageSet
    reference: ImageSet
    training: ImageSet | None
    data: str
    split: str
    config: TrainConfig | None


def packed(images: Images, name: str, count: int, seed: int) -> ImageSet:
    """Packed images as they lie, or `count` of them chosen at random."""
    chosen = torch.arange(len(images))
    if len(images) > count:
        chosen = torch.randperm(len(images), generator=keyed_generator(seed, "chosen"))[:count].sort().values
    positions, step = chosen.numpy(), max(1, min(AT_ONCE, BYTES // math.prod(images.shape)))

    def read(places: range) -> Iterator[Tensor]:
        for start in range(places.start, places.stop, step):
            yield images.batch(positions[start : min(start + step, places.stop)])

    return ImageSet(name, images.fingerprint, images.shape, len(positions), read)


def sampled(run: Run, request: Request, device: torch.device) -> ImageSet:
    """What a run's generator draws, `request.count` images.

    Raises:
        UsageError: the run has no such checkpoint.
    """
    generator = load_generator(run, ema=request.ema, best=request.best).to(device)
    _, facts, _ = run.load_checkpoint(best=request.best)
    masked = images_to_fill_in(open_run_data(run.config)) if run.config.tasks.inpaint else None
    which = ("best, " if request.best else "") + f"{facts['images']:,} images seen"
    return ImageSet(
        name=f"{run.path} ({which})",
        identity=_digest(generator.state_dict(), f"{run.config.prior} {request.seed}"),
        shape=tuple(facts["shape"]),
        count=request.count,
        read=lambda places: sample_batches(generator, run.config, places, request.seed, masked=masked),
        generator=generator,
    )


def real_and_training(config: TrainConfig, split: Split, count: int, seed: int) -> tuple[ImageSet, ImageSet | None]:
    """Part of a run's own data, and what it was trained on where that is the other part.

    Raises:
        UsageError: nothing is held out.
    """
    dataset = open_run_data(config)
    if split == "all":
        return packed(dataset.split("all"), config.data, count, seed), None
    train = dataset.split("train")
    if split == "train":
        return packed(train, config.data, count, seed), None
    held = dataset.split("held-out")
    if not len(held):
        raise UsageError(f"all of {config.data} was trained on: add --split train, or give --reference")
    return packed(held, config.data, count, seed), packed(train, config.data, TRAINING, seed)


def sets_of(request: Request, device: torch.device) -> Sets:
    """Find what a request asks for.

    Raises:
        UsageError: it is not there, or the two sets are of unlike shapes.
    """
    if request.reference is not None:
        return _two(request, (request.images, request.reference), device)
    run = _run(request.images)
    if run is None:
        raise UsageError(f"{request.images} is not a run: give --reference, the images to compare it with")
    _refuse_resolution(request, run)
    config = run.config
    samples = sampled(run, request, device)
    reference, training = real_and_training(config, request.split, request.count, request.seed)
    part = request.split if request.split == "all" else f"{request.split} {config.held_out:g}"
    return Sets(samples, reference, training, config.data, part, config)


def _two(request: Request, names: tuple[str, str], device: torch.device) -> Sets:
    """Two sets that were both named: of runs what they draw, each from latents of its own, else the images there."""
    runs = tuple(map(_run, names))
    framing = _framing(request, names, runs)

    def one(name: str, run: Run | None, how: Request) -> ImageSet:
        if run:
            return sampled(run, how, device)
        return packed(_images(name, framing), name, how.count, how.seed)

    samples = one(names[0], runs[0], request)
    reference = one(names[1], runs[1], replace(request, ema=True, best=False, seed=request.seed + bool(runs[1])))
    if samples.shape != reference.shape:
        raise UsageError(
            f"{samples.name} holds images of {_told(samples.shape)} and {reference.name} of {_told(reference.shape)}: "
            "bring both to one size with --resolution, or name runs of one size"
        )
    data = runs[1].config.data if runs[1] else names[1]
    return Sets(samples, reference, None, data, "all", runs[0].config if runs[0] else None)


def _framing(request: Request, names: tuple[str, str], runs: tuple[Run | None, ...]) -> dict[str, Any]:
    """How to open images: as a run's were, where one is named; else gray ones beside coloured ones as coloured."""
    for run in filter(None, runs):
        _refuse_resolution(request, run)
        config, channels = run.config, run.load_checkpoint()[1]["shape"][0]
        return {
            "resolution": config.resolution,
            "channels": channels,
            "fit": config.fit,
            "background": config.background,
        }
    channels = {_images(name, {"resolution": request.resolution}).shape[0] for name in names}
    return {"resolution": request.resolution, "channels": max(channels) if len(channels) > 1 else None}


def _images(name: str, framing: dict[str, Any]) -> Images:
    """Any images, at their own size where no resolution is given; of shards the first ones."""
    return open_images(name, **framing) if framing["resolution"] is None else open_dataset(name, **framing).split("all")


def _refuse_resolution(request: Request, run: Run) -> None:
    if request.resolution is not None:
        raise UsageError(f"{run.path} draws images of {run.config.resolution} pixels: leave --resolution out")


def _run(name: str) -> Run | None:
    return Run.open(Path(name).expanduser()) if (Path(name).expanduser() / "config.yaml").is_file() else None


def _told(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{width}x{height} with {channels} channel{'s' if channels > 1 else ''}"


def _digest(state: Mapping[str, Tensor], more: str) -> str:
    """Of a network's weights, their names and what else decides on its samples."""
    digest = hashlib.sha256(more.encode())
    for name, tensor in state.items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
