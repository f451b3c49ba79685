"""Real images made worse in one way at a time, by a strength: what a generator does wrong, isolated.

Every function takes images (N, C, H, W) in [-1, 1] and a strength, and returns N images of the same kind; what is
random depends on the number of the image alone. Strength 0 changes nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from equipoise.metrics.clusters import k_means
from equipoise.metrics.features.resize import area
from equipoise.randomness import keyed_generator

SMOOTH = 8  # an elastic displacement varies over an eighth of the image
GROUPS = 10  # clusters of the images, some of which are dropped


@dataclass(frozen=True)
class Degradation:
    """One way of making images worse.

    Attributes:
        name: of the series.
        unit: of the strength, in words.
        strengths: weakest first.
        apply: images and a strength to worse images.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[Tensor, float], Tensor]


def blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with a standard deviation of `sigma` pixels, mirrored at the edges."""
    reach = min(math.ceil(3 * sigma), min(images.shape[2:]) - 1)
    offsets = torch.arange(-reach, reach + 1, dtype=images.dtype)
    weights = (-((offsets / sigma) ** 2) / 2).exp()
    weights = weights / weights.sum()
    planes = F.pad(images.flatten(0, 1)[:, None], (reach,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(planes, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1)).view_as(images)


def grain(images: Tensor, deviation: float) -> Tensor:
    """White noise of a standard deviation, in units of [-1, 1], that differs from channel to channel."""
    return images + deviation * torch.randn(images.shape, generator=keyed_generator(0, "grain"))


def shuffle(images: Tensor, blocks: float) -> Tensor:
    """So many blocks a side, in another order in every image."""
    sides = (images.shape[2] // int(blocks), images.shape[3] // int(blocks))
    parts = F.unfold(images, sides, stride=sides)
    order = torch.rand(len(images), 1, parts.shape[2], generator=keyed_generator(0, "shuffle")).argsort(dim=2)
    return F.fold(parts.gather(2, order.expand_as(parts)), images.shape[2:], sides, stride=sides)


def warp(images: Tensor, pixels: float) -> Tensor:
    """Elastic warp (Simard et al. 2003): every pixel moves by a smooth random field of `pixels` root mean square."""
    count, _, height, width = images.shape
    field = torch.randn(count, 2, height, width, generator=keyed_generator(0, "warp"))
    field = blur(field, min(height, width) / SMOOTH)
    field = field / field.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() * pixels
    size = torch.tensor([width, height], dtype=images.dtype)
    still = F.affine_grid(torch.eye(2, 3).expand(count, 2, 3), list(images.shape), align_corners=False)
    moved = still + field.permute(0, 2, 3, 1) * 2 / size
    return F.grid_sample(images, moved, mode="bicubic", padding_mode="reflection", align_corners=False)


def scramble(images: Tensor, share: float) -> Tensor:
    """Phases turned by a share of random ones; the spectrum stays, and with it grain and softness, but no shape."""
    noise = torch.randn(len(images), 1, *images.shape[2:], generator=keyed_generator(0, "scramble"))
    turn = torch.fft.fft2(noise).angle() * share  # antisymmetric, as the phases of real images are
    turn[:, :, 0, 0] = 0  # the mean stays
    return torch.fft.ifft2(torch.fft.fft2(images) * torch.exp(1j * turn)).real


def cast(images: Tensor, shift: float) -> Tensor:
    """A colour cast: more of the first channel and less of the last; gray images become lighter."""
    channels = images.shape[1]
    slope = torch.linspace(1, -1, channels) if channels > 1 else torch.ones(1)
    return images + shift * slope.view(1, -1, 1, 1)


def drop(images: Tensor, groups: float) -> Tensor:
    """The images of so many of GROUPS clusters (of 4x4 thumbnails) are left out; those that are left repeat."""
    thumbnails = area(images, 4, 4).flatten(1).double()
    centres = k_means(thumbnails, GROUPS, seed=1)
    group = torch.cdist(thumbnails, centres).argmin(dim=1)
    kept = (group >= groups).nonzero()[:, 0]
    return images[kept[torch.arange(len(images)) % len(kept)]]


def repeat(images: Tensor, times: float) -> Tensor:
    """Every image so many times, and accordingly few of them: a generator that knows a few by heart."""
    return images[(torch.arange(len(images)) / times).long()]


SERIES = (
    Degradation("blur", "σ in pixels", (0.5, 0.7, 1.0, 1.4, 2.0), blur),
    Degradation("grain", "σ in [-1, 1]", (0.05, 0.1, 0.2, 0.4), grain),
    Degradation("shuffle", "blocks a side", (2, 4, 8, 16), shuffle),
    Degradation("warp", "RMS pixels", (0.5, 1.0, 2.0, 4.0), warp),
    Degradation("scramble", "share of the phase", (0.1, 0.2, 0.4, 1.0), scramble),
    Degradation("cast", "shift in [-1, 1]", (0.05, 0.1, 0.2, 0.4), cast),
    Degradation("drop", "of 10 clusters", (1, 2, 4, 8), drop),
    Degradation("repeat", "times each", (2, 4, 8, 32), repeat),
)
"""All series, each at strengths that go from hardly seen to hopeless."""
