"""Features and statistics of a set of images, from one pass over it; of stored images they are cached on the disk."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from equipoise.data import cache_folder
from equipoise.data.cache import remove_leftovers
from equipoise.evaluation.image_sets import ImageSet, tensor_digest
from equipoise.evaluation.scores import PROTOCOL
from equipoise.metrics import FeatureBatch, Statistic, Statistics, accumulate, partition
from equipoise.metrics.features import Extractor
from equipoise.runs.files import write_atomically
from equipoise.views.terminal import progress_bar

FEATURES: frozenset[Statistic] = frozenset({"vectors", "moments", "probabilities"})
MOST_BYTES = 2**31  # of the cache of statistics


def extractor_name(name: str, data: str) -> str:
    """Resolve `auto`: the classifier of digits for the bundled ones, else effnet-lite0 where it is installed."""
    if name != "auto":
        return name
    if data == "digits":
        return "digits"
    return "effnet-lite0" if find_spec("efficientnet_lite_pytorch") else "pixels"


def image_statistics(
    images: ImageSet,
    required: frozenset[Statistic],
    extractor: Extractor,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    *,
    quiet: bool = True,
) -> Statistics:
    """Statistics of a process's part of a set of images; its features from the cache where they were computed before.

    Patches and pictures are taken anew: they cost little beside features, and would be other ones for every seed.

    Args:
        images: the whole set.
        required: statistics to compute.
        extractor: of the features.
        seed: of the choice of pictures and patches.
        rank: of this process.
        world_size: number of processes that share the set.
        quiet: show no progress.

    Raises:
        UsageError: as for `metrics.accumulate`.
    """
    # Samples of a generator are hardly ever scored twice, and pixels are no work.
    stored = images.generator is None and extractor.name != "pixels"
    features = required & FEATURES if stored else frozenset[Statistic]()
    # Everything that decides on the features. Another version of this protocol computes others.
    inputs = [PROTOCOL, images.identity, images.count, extractor.name, extractor.identity, extractor.preprocessing]
    key = hashlib.sha256(repr([*inputs, sorted(features), seed, rank, world_size]).encode()).hexdigest()[:32]
    file = cache_folder() / "references" / f"{key}.safetensors"
    cached = load_statistics(file) if features else None
    rest = required - features if cached else required
    if cached and not rest:
        return cached
    positions = partition(images.count, rank, world_size)
    with progress_bar(f"scoring {images.name}", quiet=quiet or rank > 0) as progress:

        def batches() -> Iterator[FeatureBatch]:
            done = 0
            for batch in images.read(positions):
                yield FeatureBatch(batch, *extractor(batch)) if rest & FEATURES else FeatureBatch(batch)
                done += len(batch)
                progress(done, len(positions))

        statistics = accumulate(batches(), rest, total=images.count, first=positions.start, seed=seed)
    if cached:
        return replace(cached, patches=statistics.patches, pictures=statistics.pictures)
    if features:
        save_statistics(file, replace(statistics, patches=(), pictures=None))
    return statistics


def load_statistics(file: Path) -> Statistics | None:
    """Statistics from a file of the cache; None if it is missing, damaged, or of another origin.

    safetensors holds plain numbers: whatever lies there, no code is run.
    """
    try:
        with safe_open(file, framework="pt") as contents:
            tensors = {name: contents.get_tensor(name) for name in contents.keys()}  # noqa: SIM118
            checksum = (contents.metadata() or {}).get("checksum")
        if checksum != _checksum(tensors):
            return None
        with suppress(OSError):
            os.utime(file)  # those that were not used for longest are removed
        return Statistics.from_tensors(tensors)
    except (OSError, SafetensorError, LookupError, RuntimeError, ValueError):
        return None


def save_statistics(file: Path, statistics: Statistics) -> None:
    """Write statistics to a file of the cache, whole or not at all, and remove the least used for it."""
    tensors = {name: tensor.contiguous() for name, tensor in statistics.tensors().items()}
    with suppress(OSError):  # a full disk costs no more than computing them again
        file.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(file.parent, file.name)
        write_atomically(file, to_bytes(tensors, {"checksum": _checksum(tensors)}))
        _remove_unused(file.parent)


def _remove_unused(folder: Path) -> None:
    """Remove the statistics that were not used for longest, as far as there are more than MOST_BYTES."""
    files = [(path, path.stat()) for path in folder.glob("*.safetensors")]
    total = 0
    for path, stat in sorted(files, key=lambda each: each[1].st_mtime_ns, reverse=True):
        total += stat.st_size
        if total > MOST_BYTES:
            path.unlink(missing_ok=True)


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Hash of names, types, shapes and values, in an order that does not depend on how they are stored."""
    ordered = dict(sorted(tensors.items()))
    return tensor_digest(ordered, f"statistics {[tensor.dtype for tensor in ordered.values()]}")
