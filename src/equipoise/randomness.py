"""Every random draw is a pure function of (seed, purpose, position), so that resuming needs no generator's state."""

import hashlib
from typing import Literal

import torch
from torch import Tensor

Prior = Literal["uniform", "normal"]
"""Latents from U[-1, 1], as in the BEGAN paper, or from N(0, 1)."""


def keyed(seed: int, purpose: str, position: int = 0) -> torch.Generator:
    """A CPU generator for one purpose at one position, say the latents of the step after so many images."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{position}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def latents(count: int, size: int, prior: Prior, generator: torch.Generator) -> Tensor:
    """Draw latents: (count, size) float32 on the CPU, so that every device is given the same."""
    if prior == "normal":
        return torch.randn(count, size, generator=generator)
    return torch.rand(count, size, generator=generator) * 2 - 1
