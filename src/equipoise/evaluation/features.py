"""One pass over a set of images, or a process's share of it: features taken, and what the scores need of them kept."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec

from equipoise.data import cache_folder
from equipoise.evaluation.image_sets import ImageSet
from equipoise.evaluation.scores import PROTOCOL
from equipoise.metrics import Chunk, Collected, Need, collect, share
from equipoise.metrics.features import Extractor
from equipoise.runs import checkpoint
from equipoise.views.terminal import progress_bar


def features_for(name: str, data: str) -> str:
    """What `auto` means: the classifier of digits for the bundled ones, else effnet-lite0 where it is installed."""
    if name != "auto":
        return name
    if data == "digits":
        return "digits"
    return "effnet-lite0" if find_spec("efficientnet_lite_pytorch") else "pixels"


def collected(
    images: ImageSet,
    needs: frozenset[Need],
    extractor: Extractor,
    seed: int,
    rank: int = 0,
    size: int = 1,
    quiet: bool = True,
) -> Collected:
    """A process's part of what one pass over the images leaves; of those on disk remembered in the cache folder."""
    facts = [PROTOCOL, images.identity, images.count, extractor.name, extractor.identity, extractor.preprocessing]
    key = hashlib.sha256(repr([*facts, sorted(needs), seed, rank, size]).encode()).hexdigest()[:32]
    memory = cache_folder() / "references" / f"{key}.safetensors"
    if images.generator is None:
        with suppress(checkpoint.CheckpointError, KeyError):
            return Collected.from_tensors(checkpoint.load(memory)[0])
    places = share(images.count, rank, size)
    with progress_bar(f"scoring {images.name}", quiet=quiet or rank > 0) as progress:
        chunks = _chunks(images, places, needs, extractor, progress)
        found = collect(chunks, needs, total=images.count, first=places.start, seed=seed)
    if images.generator is None:
        with suppress(checkpoint.CheckpointError, OSError):  # the next time takes as long, no more
            memory.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.save(memory, found.tensors(), {})
    return found


def _chunks(
    images: ImageSet,
    places: range,
    needs: frozenset[Need],
    extractor: Extractor,
    progress: Callable[[int, int], None],
) -> Iterator[Chunk]:
    done = 0
    for part in images.read(places):
        seen = extractor(part) if needs & {"vectors", "moments", "probabilities"} else None
        yield Chunk(part, *seen) if seen else Chunk(part)
        done += len(part)
        progress(done, len(places))
