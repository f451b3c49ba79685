"""Directions in the space of latents along which a generator's images change most."""

import torch
from torch import Tensor

from equipoise.exporting.ports import Inputs, Ports, run_ports

MOST_PROBED = 256  # axes; of longer latents, random orthonormal ones
STEP = 0.25  # of central differences, long enough for discrete images to change


def principal_directions(ports: Ports, inputs: Inputs, count: int) -> tuple[Tensor, Tensor]:
    """The principal directions of a generator's Jacobian: eigenvectors of the mean of JᵀJ over latents.

    J is taken by central differences, which need nothing of the network but that it runs.

    Args:
        ports: a generator.
        inputs: at whose `latents` (N, K) J is taken; the more, the better the mean.
        count: number of directions, at most K.

    Returns:
        Directions (count, K) of length 1, strongest first, the largest entry of each positive; and their strengths
        (count,): the root mean square change of an image's values along them, per unit.
    """
    latents = inputs["latents"]
    length = latents.shape[1]
    axes = torch.eye(length)
    if length > MOST_PROBED:
        axes = torch.linalg.qr(torch.randn(length, MOST_PROBED, generator=torch.Generator().manual_seed(0)))[0].T
    total = torch.zeros(len(axes), len(axes), dtype=torch.float64)
    for row in range(len(latents)):
        given = {name: each[row].expand(len(axes), *each[row].shape) for name, each in inputs.items()}
        ahead, behind = (
            run_ports(ports, {**given, "latents": latents[row] + sign * STEP * axes})[0] for sign in (1, -1)
        )
        change = ((ahead - behind) / (2 * STEP)).flatten(1).double()
        total += change @ change.T / change.shape[1]
    strengths, vectors = torch.linalg.eigh(total / len(latents))
    chosen = (vectors.T.flip(0)[:count] @ axes.double()).float()
    largest = chosen.gather(1, chosen.abs().argmax(1, keepdim=True))
    return chosen * largest.sign(), strengths.flip(0)[:count].clamp_min(0).sqrt().float()
