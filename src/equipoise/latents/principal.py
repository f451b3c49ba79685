"""Directions in which latents may be moved: those in which most changes, of latents or of the images made of them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


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

    One derivative a dimension, for all latents together.

    Args:
        generate: latents (n, K) to images (n, C, H, W), each from its own latent alone.
        latents: (n, K), at which the Jacobian is taken.

    Returns:
        K directions, on the CPU. The strength is the root of the mean over latents and values of an image of (J v)².
    """
    with torch.inference_mode(mode=False), torch.enable_grad():  # whatever the caller's mode
        z = latents.clone().requires_grad_()
        images = generate(z)
        # The product J^T u is linear in u, so that its derivative in u is J: forward-mode derivatives would need no
        # such detour, but torch has none under autocast, nor of GroupNorm where channels lie last.
        u = torch.zeros_like(images, requires_grad=True)
        (products,) = torch.autograd.grad(images, z, u, create_graph=True)
        columns = [torch.autograd.grad(each.sum(), u, retain_graph=True)[0].flatten(1) for each in products.unbind(1)]
    jacobian = torch.stack(columns, dim=-1).flatten(0, 1).cpu().double()  # (n * C * H * W, K)
    values, vectors = torch.linalg.eigh(jacobian.T @ jacobian / len(jacobian))  # ascending
    strengths = values.flip(0).clamp_min(0).sqrt()
    return Directions(_signed(vectors.T.flip(0)).to(latents.dtype), strengths.to(latents.dtype))


def _signed(vectors: Tensor) -> Tensor:
    """`vectors` (D, K), each with the sign that makes its value farthest from 0 positive."""
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    return vectors * torch.where(largest < 0, -1.0, 1.0).to(vectors.dtype)
