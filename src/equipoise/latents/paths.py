"""Paths through latents: straight, or along great circles."""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

PathKind = Literal["auto", "linear", "spherical"]
PARALLEL = 1e-4  # sine of an angle below which a great circle is taken for a straight line


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points on the straight line from a (K,) to b (K,) at t (T,) in [0, 1]; (T, K)."""
    return a + t[:, None] * (b - a)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Points between a (K,) and b (K,) at t (T,) in [0, 1], of evenly changing angle and length; (T, K).

    Normal latents are all about sqrt(K) long, so that a straight line between two of them leads through shorter ones,
    which a generator hardly ever sees. Shoemake (1985), "Animating rotation with quaternion curves"; White (2016),
    arXiv:1609.04468. Between vectors that point the same way, or opposite ways, the line is straight.
    """
    lengths = torch.stack([a.norm(), b.norm()])
    u, v = a / lengths[0].clamp_min(1e-30), b / lengths[1].clamp_min(1e-30)
    # The angle by its tangent, as the arc cosine of a number near 1 has no digits left.
    angle = 2 * torch.atan2((u - v).norm(), (u + v).norm())
    if angle.sin() < PARALLEL or not bool((lengths > 0).all()):
        return lerp(a, b, t)
    directions = (((1 - t) * angle).sin()[:, None] * u + (t * angle).sin()[:, None] * v) / angle.sin()
    return lerp(lengths[:1], lengths[1:], t) * directions


def path(points: Tensor, frames: int, *, spherical: bool, loop: bool = False) -> Tensor:
    """Latents on the way through `points` (P, K), P of two or more.

    Args:
        points: to pass through, in this order.
        frames: latents a section, its two ends among them; 2 or more.
        spherical: along great circles.
        loop: back to the first point too.

    Returns:
        (S, frames, K), S sections: P - 1 of them, or P in a loop. One section's last latent is the next one's first.
    """
    assert frames > 1 and len(points) > 1  # noqa: S101, PT018
    t = torch.linspace(0, 1, frames, dtype=points.dtype, device=points.device)
    ends = torch.cat([points, points[:1]]) if loop else points
    between = slerp if spherical else lerp
    return torch.stack([between(a, b, t) for a, b in pairwise(ends)])
