"""What can be scored: a run's samples, its real images, or any others; sets of one shape that are read in batches."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.config.datasets import open_dataset as open_run_data
from equipoise.config.numbers import MAX_SEED
from equipoise.config.train_config import TrainConfig
from equipoise.data import BUNDLED, Images, open_dataset, open_images
from equipoise.data.sources import border_of
from equipoise.errors import UsageError
from equipoise.evaluation.request import Request, open_run
from equipoise.randomness import keyed_generator
from equipoise.runs.run import Run
from equipoise.sampling.load import generator_and_facts
from equipoise.sampling.sample import images_to_fill_in, sample_batches

BATCH, BATCH_BYTES = 250, 2**26  # images in memory, and their bytes
MAX_TRAINING = 10_000  # training images among which near ones are looked for


@dataclass(frozen=True)
class ImageSet:
    """Images of one shape, in an order that never changes.

    Attributes:
        name: in words.
        identity: hash that changes when the images do, and only then.
        shape: (C, H, W).
        count: number of images.
        read: positions to the images there, uint8 (n, C, H, W), a batch at a time.
        generator: what makes them, where something does; stored images have none.
    """

    name: str
    identity: str
    shape: tuple[int, int, int]
    count: int
    read: Callable[[range], Iterator[Tensor]]
    generator: nn.Module | None = None


@dataclass(frozen=True)
class ImageSets:
    """The sets of one evaluation.

    Attributes:
        draws: what is scored, drawn once or more; equally many images each time, none twice.
        reference: what it is compared with.
        training: what the generator was trained on, where the reference was held out from that; else None.
        data: what --data takes for the real images, where that is known.
        split: which part of them the reference is.
        config: of the run that makes the samples, if one does.
    """

    draws: tuple[ImageSet, ...]
    reference: ImageSet
    training: ImageSet | None
    data: str
    split: str
    config: TrainConfig | None

    @property
    def samples(self) -> ImageSet:
        """The first draw, whose name, identity, shape and count are those of all."""
        return self.draws[0]


def open_sets(request: Request, device: torch.device) -> ImageSets:
    """Open what a request names: images beside a named reference, or a run's samples beside the run's own data.

    Raises:
        UsageError: something is not there, nothing is held out, or the two sets are of unlike shapes.
    """
    if request.reference is not None:
        return _open_pair(request, (request.images, request.reference), device)
    run = open_run(request.images)
    if run is None:
        raise UsageError(f"{request.images} is not a run: give --reference, the images to compare it with")
    _refuse_resolution(request, run)
    if request.crop is not None:
        raise UsageError(f"{run.path} is compared with its own images, cropped as it has them: leave --crop out")
    config, count, seed = run.config, request.count, request.seed
    draws, training = generated_draws(run, request, device), None
    dataset = open_run_data(config, place=run.place)
    images = dataset.split(request.split)
    if request.split == "test" and not len(images):
        raise UsageError(f"{run.path} kept no images for a test: train with --test 0.1, or use another --split")
    if request.split in ("held-out", "test"):
        if not len(images):
            raise UsageError(f"all of {config.data} was trained on: add --split train, or give --reference")
        training = stored_images(dataset.split("train"), config.data, MAX_TRAINING, seed)
    reference = stored_images(images, config.data, count, seed)
    share = f"{config.test:g}" if request.split == "test" else dataset.holds_out
    split = request.split if request.split == "all" else f"{request.split} {share}"
    return ImageSets(draws, reference, training, config.data, split, config)


def _open_pair(request: Request, names: tuple[str, str], device: torch.device) -> ImageSets:
    """Two sets that were both named: of runs their samples, each from latents of its own, else the images there."""
    # A run's folder may be called digits; beside --reference that is the bundled data, as in --data.
    runs = (open_run(names[0]), None if names[1] in BUNDLED else open_run(names[1]))
    framing = _framing(request, names, runs)

    first, second = (run or _open_images(name, framing) for name, run in zip(names, runs, strict=True))
    # Another seed for a run as the reference: beside itself, a run would otherwise be compared with the same samples.
    settings = replace(request, ema=True, best=False, draws=1, seed=(request.seed + bool(runs[1])) % (MAX_SEED + 1))
    reference, *_ = _draws(second, names[1], settings, device)
    # Of the same images draws that share none with the reference, where there are enough; else copies, which is said.
    alike = isinstance(first, Images) and isinstance(second, Images) and first.fingerprint == second.fingerprint
    draws = _draws(first, names[0], request, device, without_first=alike)
    samples = draws[0]
    if samples.shape != reference.shape:
        size, reference_size = _size_text(samples.shape), _size_text(reference.shape)
        raise UsageError(
            f"{samples.name} holds images of {size} and {reference.name} of {reference_size}: "
            "bring both to one size with --resolution, or name runs of one size"
        )
    data = runs[1].config.data if runs[1] else names[1]
    return ImageSets(draws, reference, None, data, "all", runs[0].config if runs[0] else None)


def _draws(
    source: Run | Images, name: str, request: Request, device: torch.device, *, without_first: bool = False
) -> tuple[ImageSet, ...]:
    """As many draws as are asked for and as images suffice for; without the first one, if there are others."""
    if isinstance(source, Run):
        return generated_draws(source, request, device)
    enough_for = len(source) // request.count
    numbers = range(1, enough_for) if without_first and enough_for > 1 else range(max(1, enough_for))
    return tuple(
        stored_images(source, name, request.count, request.seed, draw=number) for number in numbers[: request.draws]
    )


def stored_images(images: Images, name: str, count: int, seed: int, *, batch: int = BATCH, draw: int = 0) -> ImageSet:
    """Set of packed images in the order in which they lie: all, or if these are too many, `count` random ones.

    Args:
        images: packed.
        name: in words.
        count: number of images at most.
        seed: of the choice.
        batch: number of images to read at a time, if these are no more than 64 MiB.
        draw: number of the choice: no two share an image.
    """
    chosen = torch.arange(len(images))
    if len(images) > count:  # sorted, so that the file is read from its beginning to its end
        order = torch.randperm(len(images), generator=keyed_generator(seed, "chosen"))
        chosen = order[draw * count : (draw + 1) * count].sort().values
    positions, step = chosen.numpy(), max(1, min(batch, BATCH_BYTES // math.prod(images.shape)))

    def read(places: range) -> Iterator[Tensor]:
        for start in range(places.start, places.stop, step):
            yield images.batch(positions[start : min(start + step, places.stop)])

    identity = images.fingerprint + (f" draw {draw}" if draw else "")
    return ImageSet(name, identity, images.shape, len(positions), read)


def generated_images(run: Run, request: Request, device: torch.device) -> ImageSet:
    """Set of `request.count` samples of a run's generator.

    Raises:
        UsageError: the run has no such checkpoint.
    """
    generator, facts = generator_and_facts(run, ema=request.ema, best=request.best)
    generator.to(device)
    masked = images_to_fill_in(open_run_data(run.config, place=run.place)) if run.config.tasks.inpaint else None
    which = ("best, " if request.best else "") + f"{facts['images']:,} images seen"
    return ImageSet(
        name=f"{run.path} ({which})",
        identity=tensor_digest(generator.state_dict(), f"{run.config.prior} {request.seed}"),
        shape=tuple(facts["shape"]),
        count=request.count,
        read=lambda places: sample_batches(generator, run.config, places, request.seed, masked=masked),
        generator=generator,
    )


def generated_draws(run: Run, request: Request, device: torch.device) -> tuple[ImageSet, ...]:
    """Sets of `request.count` samples each, of latents that follow one another; the first is `generated_images`.

    Raises:
        UsageError: the run has no such checkpoint.
    """
    first = generated_images(run, request, device)

    def later(start: int) -> ImageSet:
        return replace(first, read=lambda places: first.read(range(places.start + start, places.stop + start)))

    return tuple(later(number * request.count) for number in range(request.draws))


def tensor_digest(tensors: Mapping[str, Tensor], prefix: str) -> str:
    """SHA-256 of `prefix` and of the tensors' names, shapes and values."""
    digest = hashlib.sha256(prefix.encode())
    for name, tensor in tensors.items():
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _framing(request: Request, names: tuple[str, str], runs: tuple[Run | None, Run | None]) -> dict[str, Any]:
    """How to open images: as a run's were, where one is named; else gray ones beside coloured ones as coloured.

    A square is cropped as of the run's images too, unless the request says otherwise: photographs need it, and samples
    that were saved, which are smaller, are then refused in words.
    """
    for run in filter(None, runs):
        _refuse_resolution(request, run)
        config, channels = run.config, run.load_checkpoint()[1]["shape"][0]
        return {
            "resolution": config.resolution,
            "channels": channels,
            "crop": config.crop if request.crop is None else request.crop or None,
            "fit": config.fit,
            "background": config.background,
            "border": border_of(run.place),
        }
    framing = {"resolution": request.resolution, "crop": request.crop or None}
    channels = {_open_images(name, framing).shape[0] for name in names}
    return {**framing, "channels": max(channels) if len(channels) > 1 else None}


def _open_images(name: str, framing: dict[str, Any]) -> Images:
    """Any images, at their own size where no resolution is set; of shards the first ones."""
    return open_images(name, **framing) if framing["resolution"] is None else open_dataset(name, **framing).split("all")


def _refuse_resolution(request: Request, run: Run) -> None:
    if request.resolution is not None:
        raise UsageError(f"{run.path} draws images of {run.config.resolution} pixels: leave --resolution out")


def _size_text(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{width}x{height} with {channels} channel{'s' if channels > 1 else ''}"
