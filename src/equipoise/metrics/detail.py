"""Fine detail of images: how much there is, by the radial power spectrum in octaves, and how much of it is grain.

A generator that hedges paints soft images, with little power in the finest octave; one that is paid for what an
autoencoder cannot reconstruct paints grain. Both at once can have the data's power there; but the data's lies at edges,
and grain everywhere.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from equipoise.metrics.base import MetricResult
from equipoise.metrics.metric import Metric, MetricInputs
from equipoise.metrics.statistics import Statistic

VALUES = 2**20  # of images in float64 at once
MEDIAN = 0.6745  # of the absolute value of N(0, 1)


def octave_powers(images: Tensor) -> Tensor:
    """Mean power of images in each octave of spatial frequency, from one half (and the corners beyond) downwards.

    The radial average of the periodogram (Welch 1967, doi:10.1109/TAU.1967.1161901) under a Hann window, without which
    the jump from one edge to the opposite one would be taken for fine detail. White noise of variance 1 has power 1 in
    all octaves together, of which about 0.8 in the finest.

    Args:
        images: (N, C, H, W), H and W at least 4.

    Returns:
        (L,) float64, finest first: radii above 1/4 cycle a pixel, then (1/8, 1/4], and so on to the lowest.
    """
    height, width = images.shape[2:]
    window = _hann(height)[:, None] * _hann(width)
    spectrum = torch.zeros(height, width, dtype=torch.float64)
    for values in _parts(images):
        means = (values * window).sum(dim=(2, 3), keepdim=True) / window.sum()
        spectrum += torch.fft.fft2((values - means) * window).abs().square().sum(dim=(0, 1))
    spectrum /= len(images) * images.shape[1] * height * width * window.square().sum()
    radii = torch.hypot(*torch.meshgrid(torch.fft.fftfreq(height), torch.fft.fftfreq(width), indexing="ij")).double()
    octaves = (-radii.clamp(min=1 / (2 * max(height, width))).log2().ceil() - 1).clamp(min=0).long()
    return torch.zeros(int(octaves.max()) + 1, dtype=torch.float64).index_add_(0, octaves.flatten(), spectrum.flatten())


def fine_share(images: Tensor) -> float:
    """Share of the power of images (N, C, H, W) that lies in the finest octave, in [0, 1]; 0 of plain ones."""
    powers = octave_powers(images)
    total = float(powers.sum())
    return float(powers[0]) / total if total > 0 else 0.0


def noise_share(images: Tensor) -> float:
    """Share of the finest detail's variance that is spread evenly as noise is, in [0, 1]; 0 of plain images.

    An image's noise is what the median of its diagonal Haar coefficients would come from if all were Gaussian (Donoho
    and Johnstone 1994, doi:10.1093/biomet/81.3.425): edges are few, and move a median little. White noise has a share
    of 1, drawn lines on plain ground of 0.

    Args:
        images: (N, C, H, W), H and W at least 2.
    """
    noise = variance = 0.0
    for values in _parts(images):
        rows = values[..., 1:, :] - values[..., :-1, :]
        diagonal = ((rows[..., 1:] - rows[..., :-1]) / 2).flatten(1)  # of variance 1 where the pixels' noise has that
        noise += float((diagonal.abs().median(dim=1).values / MEDIAN).square().sum())
        variance += float(diagonal.square().mean(dim=1).sum())
    return min(1.0, noise / variance) if variance > 0 else 0.0


def _parts(images: Tensor) -> Iterator[Tensor]:
    """Images (n, C, H, W) in float64 on the CPU, some at a time: of all at once every value would take 60 bytes."""
    for part in torch.split(images, max(1, VALUES // images[0].numel())):
        yield part.double().cpu()


def _hann(length: int) -> Tensor:
    return torch.hann_window(length + 2, periodic=False, dtype=torch.float64)[1:-1]  # without the zeros at both ends


def _metric(share: Callable[[Tensor], float], description: str) -> Metric:
    """A share of the samples, with that of the real images beside it."""

    def compute(inputs: MetricInputs) -> MetricResult:
        samples, reference = inputs.pictures
        return {"value": share(samples), "real": share(reference)}

    needs: frozenset[Statistic] = frozenset({"pictures"})
    return Metric(compute=compute, needs=needs, minimum_side=4, better="reference", ideal=None, description=description)


DETAIL = _metric(fine_share, "share of the finest octave in the power of images: low is blur")
GRAIN = _metric(noise_share, "share of the finest detail that lies evenly as noise does: high is grain")
