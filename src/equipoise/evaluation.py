"""Score samples beside real images: one pass over each set, shared by all processes, its protocol written down."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from equipoise import checkpoint
from equipoise.config import TrainConfig
from equipoise.data import Images, cache_folder, normalise, open_images
from equipoise.display import counting
from equipoise.errors import UsageError
from equipoise.latents import drawn
from equipoise.metrics import (
    METRICS,
    Chunk,
    Collected,
    Figures,
    Need,
    check,
    collect,
    memorisation,
    merge,
    minimum_reconstruction_error,
    nearest,
    needed,
    share,
)
from equipoise.metrics import scores as figures_of
from equipoise.metrics.features import Extractor, load_extractor
from equipoise.randomness import keyed
from equipoise.run import Run, images_of
from equipoise.scores import PROTOCOL, Scores
from equipoise.team import Device, fabric_for

Split = Literal["held-out", "train", "all"]

AT_ONCE = 250  # images in memory
TRAINING = 10_000  # training images among which near ones are looked for, at most
RECONSTRUCTED = 64  # held-out images that are reconstructed, for each takes hundreds of steps
UNBIASED = 10  # images for each feature, from which on FID says what it should
SMALLEST = 16  # pixels, of images whose patches are compared


@dataclass(frozen=True)
class Pictures:
    """A set of images of one shape, in an order that never changes.

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


@dataclass(frozen=True)
class Request:
    """What to score, and how; see `evaluate`."""

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
        how: `features`, a name in EXTRACTORS, or auto; `weights`, their file; `metrics`, names in METRICS, by default
            all that apply but `reconstruction`; `count`, images of each set at most; `split` of the run's data;
            `resolution`, of images that are no run's; `seed`; `ema`, or the weights as they are; `best`, the
            checkpoint with the best KID.

    Raises:
        UsageError: something is missing, too few, or does not fit.
    """
    named = [str(each.path) if isinstance(each, Run) else str(each) for each in (images, reference) if each is not None]
    request = Request(*named, **how)
    result = cast(Any, fabric_for(device, devices)).launch(_work, request, quiet)
    if isinstance(result, str):
        raise UsageError(result)
    return cast(Scores, result)


class Judge:
    """KID of a generator beside held-out images, again and again while it trains."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        held = images_of(config, "held-out")
        real = packed(held if len(held) else images_of(config, "train"), config.data, config.score_count, config.seed)
        check(["kid"], real.count)
        self.extractor = load_extractor(_features("auto", config.data), device=device, shape=real.shape)
        self.real = _collected(real, frozenset({"vectors"}), self.extractor, config.seed)

    def __call__(self, generator: nn.Module) -> Figures:
        """KID and its spread, of `config.score_count` samples from latents that are always the same."""
        config = self.config
        images = drawn(generator, config, range(config.score_count), config.seed, self.device)
        chunks = (Chunk(each, self.extractor(each).vectors) for each in images)
        found = collect(chunks, frozenset({"vectors"}), total=config.score_count)
        return figures_of(["kid"], found, self.real, seed=config.seed)["kid"]


def packed(images: Images, name: str, count: int, seed: int) -> Pictures:
    """Packed images as they lie, or `count` of them chosen at random."""
    chosen = torch.arange(len(images))
    if len(images) > count:
        chosen = torch.randperm(len(images), generator=keyed(seed, "chosen"))[:count].sort().values
    positions = chosen.numpy()

    def read(places: range) -> Iterator[Tensor]:
        for start in range(places.start, places.stop, AT_ONCE):
            yield images.batch(positions[start : min(start + AT_ONCE, places.stop)])

    return Pictures(name, images.fingerprint, images.shape, len(positions), read)


def _work(fabric: Fabric, request: Request, quiet: bool) -> Scores | str:
    """What every process does: its share of each set, then all that there is to say, or why there is nothing."""
    rank, size, mine = fabric.global_rank, fabric.world_size, {}
    message = ""
    try:
        subject, sets, split = _sets(request, fabric.device)
        extractor = load_extractor(
            _features(request.features, sets["reference"].name),
            file=request.weights,
            device=fabric.device,
            shape=sets["samples"].shape,
        )
        names, notes = _chosen(request, sets, extractor)
        for name, pictures in sets.items():
            if name == "training" and "memorisation" not in names:
                continue
            needs = needed(names) if name != "training" else frozenset[Need]()
            needs |= {"vectors"} if "memorisation" in names else frozenset()
            mine[name] = _collected(pictures, needs, extractor, request.seed, rank, size, quiet)
    except UsageError as error:
        message = str(error)
    messages, parts = _gathered(message, mine, size)
    if wrong := [text for text in messages if text]:
        return wrong[0]
    try:
        merged = {name: merge([part[name] for part in parts]) for name in mine}
        figures = figures_of(names, merged["samples"], merged["reference"], seed=request.seed)
        figures |= _of_runs(names, sets, merged, subject, request, fabric.device)
    except UsageError as error:
        return str(error)
    count, real = sets["samples"].count, sets["reference"]
    if "fid" in figures and min(count, real.count) < UNBIASED * extractor.size:
        figures["fid"]["biased"] = 1.0
        notes.append(
            f"fid is too high with fewer than {UNBIASED * extractor.size:,} images of each set "
            f"({UNBIASED} times {extractor.size} features): trust kid"
        )
    protocol = {
        "version": PROTOCOL,
        "features": {
            "name": extractor.name,
            "weights": extractor.identity,
            "preprocessing": extractor.preprocessing,
        },
        "shape": list(sets["samples"].shape),
        "count": count,
        "reference": {"identity": real.identity, "count": real.count, "split": split},
        "seed": request.seed,
    }
    ordered = {name: figures[name] for name in METRICS if name in figures}
    about = {"name": sets["samples"].name, "identity": sets["samples"].identity, "count": count}
    return Scores(ordered, about, protocol, tuple(notes))


def _gathered(message: str, mine: dict[str, Collected], size: int) -> tuple[list[str], list[dict[str, Collected]]]:
    """What every process says and has, in order of rank."""
    if size == 1:
        return [message], [mine]
    own = (message, {name: part.tensors() for name, part in mine.items()})
    found: list[Any] = [None] * size
    torch.distributed.all_gather_object(found, own)
    parts = [{name: Collected.from_tensors(tensors) for name, tensors in each.items()} for _, each in found]
    return [text for text, _ in found], parts


def _sets(request: Request, device: torch.device) -> tuple[Run | None, dict[str, Pictures], str]:
    """The sets by name: samples, reference, and for a run's held-out score training; and what the reference is."""
    run = _run(request.images)
    if run is None:
        return None, _pairs(request), request.reference or ""
    config = run.config
    samples = _samples(run, request, device)
    if request.reference is not None:
        other = _run(request.reference)
        if other is not None:
            real = _samples(other, replace(request, ema=True, best=False), device)
        else:
            whole = open_images(request.reference, config.resolution, channels=_channels(samples), fit=config.fit)
            real = packed(whole, request.reference, request.count, request.seed)
        _alike(samples, real)
        return run, {"samples": samples, "reference": real}, request.reference
    train, held = images_of(config, "train"), images_of(config, "held-out")
    name = f"{config.data}, {request.split}"
    if request.split == "held-out":
        if not len(held):
            raise UsageError(f"{run.path} was trained on all of {config.data}: add --split train, or give --reference")
        return (
            run,
            {
                "samples": samples,
                "reference": packed(held, config.data, request.count, request.seed),
                "training": packed(train, config.data, TRAINING, request.seed),
            },
            f"{name} ({config.held_out:g})",
        )
    whole = train if request.split == "train" else images_of(config, "all")
    return run, {"samples": samples, "reference": packed(whole, config.data, request.count, request.seed)}, name


def _pairs(request: Request) -> dict[str, Pictures]:
    """Two sets that are no run's, or only the reference is."""
    if request.reference is None:
        raise UsageError(f"{request.images} is not a run: give --reference, the images to compare it with")
    if (run := _run(request.reference)) is not None:
        raise UsageError(f"{run.path} is a run: name it first, and the images to compare it with as --reference")
    opened = [open_images(name, request.resolution) for name in (request.images, request.reference)]
    if len({images.shape[0] for images in opened}) > 1:  # gray beside colour
        opened = [open_images(name, request.resolution, channels=3) for name in (request.images, request.reference)]
    both = [
        packed(images, name, request.count, request.seed)
        for images, name in zip(opened, (request.images, request.reference), strict=True)
    ]
    _alike(*both)
    return dict(zip(("samples", "reference"), both, strict=True))


def _alike(one: Pictures, other: Pictures) -> None:
    if one.shape != other.shape:
        sizes = [f"{width}x{height}" for _, height, width in (one.shape, other.shape)]
        raise UsageError(
            f"{one.name} holds images of {sizes[0]} with {one.shape[0]} channels and {other.name} of {sizes[1]} with "
            f"{other.shape[0]}: bring both to one size with --resolution"
        )


def _run(name: str) -> Run | None:
    return Run.open(name) if (Path(name).expanduser() / "config.yaml").is_file() else None


def _channels(pictures: Pictures) -> int:
    return pictures.shape[0]


def _samples(run: Run, request: Request, device: torch.device) -> Pictures:
    generator = run.generator(ema=request.ema, best=request.best).to(device)
    _, facts, _ = run.load_checkpoint(best=request.best)
    which = ("best, " if request.best else "") + f"{facts['images']:,} images seen"
    return Pictures(
        name=f"{run.path} ({which})",
        identity=f"{run.path.resolve()} {facts['images']} ema={request.ema} seed={request.seed}",
        shape=tuple(facts["shape"]),
        count=request.count,
        read=lambda places: drawn(generator, run.config, places, request.seed, device),
        generator=generator,
    )


def _features(name: str, data: str) -> str:
    """What `auto` means: the classifier of digits for the bundled ones, else effnet-lite0 where it is installed."""
    if name != "auto":
        return name
    if data == "digits":
        return "digits"
    return "effnet-lite0" if find_spec("efficientnet_lite_pytorch") else "pixels"


def _chosen(request: Request, sets: dict[str, Pictures], extractor: Extractor) -> tuple[list[str], list[str]]:
    """Which scores to compute, and what to note.

    Raises:
        UsageError: one that was asked for is not there, or cannot be had of these sets.
    """
    counts = (sets["samples"].count, sets["reference"].count)
    cannot = {
        **(dict.fromkeys(("inception-score", "modes"), "an extractor with classes") if not extractor.classes else {}),
        **({} if "training" in sets else {"memorisation": "a run, scored by its held-out images"}),
        **({} if sets["samples"].generator else {"reconstruction": "a run"}),
        **({} if min(sets["samples"].shape[1:]) >= SMALLEST else {"sliced-wasserstein": f"{SMALLEST} pixels a side"}),
    }
    notes = []
    if request.features == "auto" and extractor.name == "pixels":
        notes.append("pixels say little of what people see: pip install 'equipoise[features]' for effnet-lite0")
    if request.metrics is not None:
        check(request.metrics, *counts)
        for name in request.metrics:
            if name in cannot:
                raise UsageError(f"{name} needs {cannot[name]}: leave it out of --metrics")
        return [name for name in METRICS if name in request.metrics], notes
    check(["kid"], *counts)
    names = [name for name in METRICS if name not in cannot and name != "reconstruction"]
    few = [name for name in names if METRICS[name].minimum > min(counts)]
    notes += [f"{', '.join(few)}: left out, for there are only {min(counts)} images in a set"] if few else []
    return [name for name in names if name not in few], notes


def _collected(
    pictures: Pictures,
    needs: frozenset[Need],
    extractor: Extractor,
    seed: int,
    rank: int = 0,
    size: int = 1,
    quiet: bool = True,
) -> Collected:
    """This process's part of what one pass over `pictures` leaves; of real images remembered in the cache folder."""
    facts = [PROTOCOL, pictures.identity, pictures.count, extractor.name, extractor.identity, extractor.preprocessing]
    key = hashlib.sha256(repr([*facts, sorted(needs), seed, rank, size]).encode()).hexdigest()[:32]
    memory = cache_folder() / "references" / f"{key}.safetensors"
    if pictures.generator is None:
        with suppress(checkpoint.CheckpointError, KeyError):
            return Collected.from_tensors(checkpoint.load(memory)[0])
    places = share(pictures.count, rank, size)
    with counting(f"scoring {pictures.name}", quiet=quiet or rank > 0) as progress:
        chunks = _chunks(pictures, places, needs, extractor, progress)
        found = collect(chunks, needs, total=pictures.count, first=places.start, seed=seed)
    if pictures.generator is None:
        with suppress(checkpoint.CheckpointError, OSError):  # the next time takes as long, no more
            memory.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.save(memory, found.tensors(), {})
    return found


def _chunks(
    pictures: Pictures,
    places: range,
    needs: frozenset[Need],
    extractor: Extractor,
    progress: Callable[[int, int], None],
) -> Iterator[Chunk]:
    done = 0
    for images in pictures.read(places):
        seen = extractor(images) if needs & {"vectors", "moments", "probabilities"} else None
        yield Chunk(images, *seen) if seen else Chunk(images)
        done += len(images)
        progress(done, len(places))


def _of_runs(
    names: list[str],
    sets: dict[str, Pictures],
    merged: dict[str, Collected],
    run: Run | None,
    request: Request,
    device: torch.device,
) -> dict[str, Figures]:
    """The scores that take a training set or a generator."""
    figures: dict[str, Figures] = {}
    if "memorisation" in names:
        train, samples, real = (cast(Tensor, merged[name].vectors) for name in ("training", "samples", "reference"))
        found = memorisation(nearest(samples, [train]).distances, nearest(real, [train]).distances)
        figures["memorisation"] = {"value": found.share, "nearer": found.nearer}
    if "reconstruction" in names and run is not None:
        generator, real_set = cast(nn.Module, sets["samples"].generator), sets["reference"]
        few = torch.cat(list(real_set.read(range(min(RECONSTRUCTED, real_set.count)))))
        errors = minimum_reconstruction_error(
            lambda z: cast(Tensor, generator(z).images),
            normalise(few).to(device),
            run.config.network.latent,
            prior=run.config.prior,
            seed=request.seed,
        )
        figures["reconstruction"] = {"value": errors.mean().item(), "spread": errors.std().item(), "of": len(few)}
    return figures
