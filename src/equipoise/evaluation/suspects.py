"""Samples that lie suspiciously near to training images, each shown beside its nearest one."""

import torch
from PIL import Image
from torch import Tensor

from equipoise.evaluation.image_sets import ImageSet
from equipoise.metrics import Statistics, crowding, nearest
from equipoise.views.captions import grid_with_captions, stacked

SHOWN = 24  # samples
COLUMNS = 8  # pictures in a row: four samples, each with its training image


def suspects_sheet(samples: ImageSet, training: ImageSet, statistics: tuple[Statistics, Statistics]) -> Image.Image:
    """Sheet of the samples that crowd a training image most, most suspicious first, each left of its nearest one.

    Below a sample stands its distance over the one from the training image to the nearest other training image: the
    generator has brought the two nearer than the data are where it is below 1, and copied where it is near 0.

    Args:
        samples: what is scored.
        training: among what near images are looked for.
        statistics: vectors of both.
    """
    vectors, base = (part.vectors for part in statistics)
    assert vectors is not None  # noqa: S101
    assert base is not None  # noqa: S101
    found = nearest(vectors, [base])
    ratios = crowding(found, base)
    pictures, captions = [], []
    for place in ratios.argsort(stable=True)[:SHOWN].tolist():
        twin = int(found.indices[place])
        pictures += [_image(samples, place), _image(training, twin)]
        captions += [
            (f"sample {place}", f"ratio {ratios[place]:.3g}"),
            (f"training {twin}", f"distance {found.distances[place]:.3g}"),
        ]
    shown, near = len(pictures) // 2, int((ratios <= 1).sum())
    heading = (
        f"{shown} of {len(ratios):,} samples, nearest to training images first; {near:,} are nearer to one than its "
        "neighbour is"
    )
    return stacked([(heading, grid_with_captions(torch.stack(pictures), captions, COLUMNS))])


def _image(images: ImageSet, place: int) -> Tensor:
    return next(iter(images.read(range(place, place + 1))))[0]
