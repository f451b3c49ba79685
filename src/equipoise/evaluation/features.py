"""Features and statistics of a set of images, from one pass over it; of stored images they are cached on the disk."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
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
    """Statistics of a process's part of a set of images, from the cache folder where they were computed before.

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
    # Everything that decides on the statistics. Another version of this protocol computes others.
    inputs = [PROTOCOL, images.identity, images.count, extractor.name, extractor.identity, extractor.preprocessing]
    key = hashlib.sha256(repr([*inputs, sorted(required), seed, rank, world_size]).encode()).hexdigest()[:32]
    file = cache_folder() / "references" / f"{key}.safetensors"
    stored = images.generator is None  # samples of a generator are hardly ever scored twice
    if stored and (cached := load_statistics(file)):
        return cached
    positions = partition(images.count, rank, world_size)
    with progress_bar(f"scoring {images.name}", quiet=quiet or rank > 0) as progress:

        def batches() -> Iterator[FeatureBatch]:
            done = 0
            for batch in images.read(positions):
                features = extractor(batch) if required & {"vectors", "moments", "probabilities"} else None
                yield FeatureBatch(batch, *features) if features else FeatureBatch(batch)
                done += len(batch)
                progress(done, len(positions))

        statistics = accumulate(batches(), required, total=images.count, first=positions.start, seed=seed)
    if stored:
        save_statistics(file, statistics)
    return statistics


def load_statistics(file: Path) -> Statistics | None:
    """Statistics from a file of the cache; None if it is missing, damaged, or of another origin.

    safetensors holds plain numbers: whatever lies there, no code is run.
    """
    try:
        with safe_open(file, framework="pt") as contents:
            tensors = {name: contents.get_tensor(name) for name in contents.keys()}  # noqa: SIM118
            checksum = (contents.metadata() or {}).get("checksum")
        return Statistics.from_tensors(tensors) if checksum == _checksum(tensors) else None
    except (OSError, SafetensorError, LookupError, RuntimeError, ValueError):
        return None


def save_statistics(file: Path, statistics: Statistics) -> None:
    """Write statistics to a file of the cache, whole or not at all."""
    tensors = {name: tensor.contiguous() for name, tensor in statistics.tensors().items()}
    with suppress(OSError):  # a full disk costs no more than computing them again
        file.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(file.parent, file.name)
        write_atomically(file, to_bytes(tensors, {"checksum": _checksum(tensors)}))


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Hash of names, types, shapes and values, in an order that does not depend on how they are stored."""
    ordered = dict(sorted(tensors.items()))
    return tensor_digest(ordered, f"statistics {[tensor.dtype for tensor in ordered.values()]}")
