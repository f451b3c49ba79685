"""Directions in which latents may be moved: those in which most changes, of latents or of the images made of them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import jvp


class Directions(NamedTuple):
    """Orthogonal directions, the strongest first.

    Attributes:
        vectors: (D, K), each of length 1; the value farthest from 0 of each is positive, so that signs are no accident.
        strengths: (D,) standard deviation of the latents along each, or root mean square change of an image's values
            a step of length 1.
    """

    vectors: Tensor
    strengths: Tensor


def principal_directions(latents: Tensor) -> Directions:
    """Principal components of latents (N, K), N of two or more: min(N, K) directions, in the latents' precision."""
    centred = latents - latents.mean(dim=0)
    _, singular, vectors = torch.linalg.svd(centred, full_matrices=False)
    return Directions(_signed(vectors), singular / (len(latents) - 1) ** 0.5)


def jacobian_directions(generate: Callable[[Tensor], Tensor], latents: Tensor) -> Directions:
    """Directions that change images most on average: eigenvectors of the mean of J^T J, J the generator's Jacobian.

    One forward-mode derivative a dimension for all latents together, so that no Jacobian of one image is ever whole.

    Args:
        generate: latents (n, K) to images (n, C, H, W), each from its own latent alone.
        latents: (n, K), at which the Jacobian is taken.

    Returns:
        K directions, on the CPU. The strength is the root of the mean over latents and values of an image of (J v)².
    """
    count, size = latents.shape
    # clone(): a tangent that is expanded, and so overlaps itself, is refused by some operations
    columns = [
        jvp(generate, (latents,), (axis.expand(count, size).clone(),))[1].flatten(1)
        for axis in torch.eye(size, dtype=latents.dtype, device=latents.device)
    ]
    jacobian = torch.stack(columns, dim=-1).flatten(0, 1).cpu().double()  # (n * C * H * W, K)
    values, vectors = torch.linalg.eigh(jacobian.T @ jacobian / len(jacobian))  # ascending
    strengths = values.flip(0).clamp_min(0).sqrt()
    return Directions(_signed(vectors.T.flip(0)).to(latents.dtype), strengths.to(latents.dtype))


def _signed(vectors: Tensor) -> Tensor:
    """`vectors` (D, K), each with the sign that makes its value farthest from 0 positive."""
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)
