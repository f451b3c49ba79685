"""What there is to train on: a look at some of the images, before any are packed."""

from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
import torch.nn.functional as F

from equipoise.config.data_settings import DataSettings
from equipoise.data import ProgressCallback, indices, normalise
from equipoise.data.decode import Pixels, quiet_pillow
from equipoise.data.digests import usable_partition
from equipoise.data.framing import Framing, parse_framing
from equipoise.data.packed.workers import ReadReport, prepare_all
from equipoise.data.shards import is_stream, open_stream
from equipoise.data.sizes import Size, summarise
from equipoise.data.sources import border_of, find_source
from equipoise.data.sources.labels import open_labelled
from equipoise.metrics.detail import noise_share
from equipoise.metrics.dimension import intrinsic_dimension
from equipoise.metrics.symmetry import mirror_asymmetry

MOST = 1000  # images that are looked at, evenly chosen; of shards, the first
SIDE = 32  # at which they are: texture, dimension and symmetry are of this size, whatever is trained
SYMMETRY_SIDE = 16  # at which left is compared with right: pairs of images are many


@dataclass(frozen=True)
class Facts:
    """What was seen of images to train on.

    Attributes:
        name: of the data, as the user gave it.
        count: how many images there are, as far as those that were looked at can be read, and without those that the
            data itself holds out; None of shards with more than MOST, of which only the first were.
        looked_at: how many of them were decoded for what follows.
        size: their median (width, height) in the files, or of the square that is cropped.
        channels: 1 or 3.
        texture: share of the finest detail that is spread evenly, in [0, 1]; see `metrics.detail.noise_share`.
        dimension: intrinsic, by the pixels; None where too few differ.
        asymmetry: of the images and their mirror images, as a set; see `metrics.symmetry.mirror_asymmetry`.
        classes: number of labels, or 0.
        held_out: how many images the data itself holds out.
    """

    name: str
    count: int | None
    looked_at: int
    size: Size
    channels: int
    texture: float
    dimension: float | None
    asymmetry: float
    classes: int
    held_out: int = 0

    def __str__(self) -> str:
        """In one line."""
        count = f"more than {self.looked_at:,}" if self.count is None else f"{self.count:,}"
        held_out = f", beside {self.held_out:,} that the data itself holds out" if self.held_out else ""
        dimension = f", of about {self.dimension:.0f} dimensions" if self.dimension else ""
        classes = f", in {self.classes} classes" if self.classes else ""
        colour = "gray" if self.channels == 1 else "colour"
        width, height = self.size
        median = f"{width}x{height} in the median"
        return f"{self.name}: {count} images in {colour}, {median}{dimension}{classes}{held_out}"


def look(settings: DataSettings, progress: ProgressCallback | None = None) -> Facts:
    """Look at data as `settings` say: their labels, crop, channels, fit and background; the resolution does not matter.

    Args:
        settings: of a run; not of a toy.
        progress: called with the number of images looked at, and to look at.

    Raises:
        UsageError: the data cannot be used, or none of the images that were looked at can be read.
    """
    side = SIDE
    facts, pixels = _read(settings, side, progress)
    if min(facts.size) < side:  # enlarged, they would have no fine detail
        facts, pixels = _read(settings, min(facts.size), progress)
    shape = (facts.channels, *pixels[0].shape[1:])
    images = normalise(torch.from_numpy(np.stack([np.broadcast_to(image, shape) for image in pixels])))
    small = F.adaptive_avg_pool2d(images, min(SYMMETRY_SIDE, images.shape[-1]))
    return replace(
        facts,
        texture=noise_share(images) if images.shape[-1] > 1 else 0.0,
        dimension=intrinsic_dimension(images.flatten(1)),
        asymmetry=mirror_asymmetry(small) if len(small) > 1 else 1.0,
    )


def _read(settings: DataSettings, side: int, progress: ProgressCallback | None) -> tuple[Facts, list[Pixels]]:
    """Decode some images, each to (C, side, side) in 1 or 3 channels; and what is known of all without pixels."""
    border = border_of(settings.data)
    framing = parse_framing(side, settings.channels, settings.fit, settings.background, settings.crop, border)
    read = _read_stream if is_stream(settings.data) else _read_source
    count, held_out, classes, report, pixels = read(settings, framing, progress)
    report.require_any(settings.data)
    size = (settings.crop,) * 2 if settings.crop else summarise(report.sizes).median
    channels = settings.channels or max(map(len, pixels))
    return Facts(settings.data, count, len(pixels), size, channels, 0.0, None, 1.0, classes, held_out), pixels


# Images, those that are held out beside, classes, what was read of some, pixels
Reading = tuple[int | None, int, int, ReadReport, list[Pixels]]


def _read_source(settings: DataSettings, framing: Framing, progress: ProgressCallback | None) -> Reading:
    pixels: list[Pixels] = []
    with quiet_pillow(), open_labelled(find_source(settings.data), settings.label) as contents:
        count = len(contents.names)
        # In their order, in which files are read the quickest.
        chosen = np.sort(indices(count, min(count, MOST), 0, 0)).tolist() if count else []
        some = replace(
            contents, names=[contents.names[place] for place in chosen], read=lambda index: contents.read(chosen[index])
        )
        report = prepare_all(some, framing, pixels.append, progress)
        classes = 0 if contents.labels is None else len(np.unique(contents.labels))
        own = usable_partition(contents.held_out) if settings.held_out == "auto" else None
        readable = 1 - len(report.skipped) / max(len(chosen), 1)
        held_out = 0 if own is None else round(int(own.sum()) * readable)
    return round(count * readable) - held_out, held_out, classes, report, pixels


def _read_stream(settings: DataSettings, framing: Framing, progress: ProgressCallback | None) -> Reading:
    """The first images of shards, of which only a look at all of them would tell how many there are."""
    stream = open_stream(
        settings.data,
        framing.height,
        channels=framing.channels,
        fit=settings.fit,
        background=settings.background,
        crop=settings.crop,
        label=settings.label,
    )
    report, pixels, labels = ReadReport(), [], set()
    with quiet_pillow(), closing(stream), closing(stream.single_pass()) as samples:
        for index, (sample, image) in enumerate(islice(samples, MOST)):
            if isinstance(image, str):
                report.skip(sample.name, image)
                continue
            pixels.append(image.pixels)
            report.add(index, image)
            labels.add(sample.label)
            if progress is not None:
                progress(len(pixels), MOST)
        whole = next(samples, None) is None
    return len(pixels) if whole else None, 0, len(labels) if stream.labelled else 0, report, pixels
