"""Random numbers as pure functions of (seed, purpose, position), so that resuming needs no generator's state."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from equipoise.devices import to_device

Prior = Literal["uniform", "normal"]
"""Distribution of the latents: U[-1, 1], as in the BEGAN paper, or N(0, 1)."""


def keyed_generator(seed: int, purpose: str, position: int = 0) -> torch.Generator:
    """A CPU random generator for one purpose at one position, such as the latents of the step after so many images."""
    # Hashed, as sums would collide: seed 0 at position 1 would draw what seed 1 draws at position 0.
    digest = hashlib.blake2b(f"{seed}/{purpose}/{position}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)  # a seed has 63 bits


def latents(count: int, size: int, prior: Prior, generator: torch.Generator) -> Tensor:
    """Latents (count, size) in fp32, drawn on the CPU, so that they are the same for every device."""
    if prior == "normal":
        return torch.randn(count, size, generator=generator)
    return torch.rand(count, size, generator=generator) * 2 - 1


@lru_cache(maxsize=8)  # batch by batch the same places are asked for
def random_places(total: int, count: int, seed: int, purpose: str) -> Tensor:
    """Places (n,) of `count` of `total` things, or of all, in ascending order, for stored images lie class by class."""
    return torch.randperm(total, generator=keyed_generator(seed, purpose))[:count].sort().values


@dataclass(frozen=True)
class Draws:
    """Random tensors of one step, by purpose: this process's rows of those of the whole batch.

    Each process draws for all processes and keeps its share, so that N processes draw what one would. A purpose gives
    the same tensor whenever it is drawn, and other purposes independent ones.

    Attributes:
        seed: of the run.
        position: images seen before the step.
        batch: number of rows over all processes.
        share: this process's rows among them, n of them.
        device: of the tensors.
        dtype: of all tensors but integers.
    """

    seed: int
    position: int
    batch: int
    share: slice
    device: torch.device = torch.device("cpu")  # noqa: RUF009
    dtype: torch.dtype = torch.float32

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """(n, *shape) from U[0, 1)."""
        return self._share(torch.rand(self.batch, *shape, generator=self._generator(purpose)))

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """(n, *shape) from N(0, 1)."""
        return self._share(torch.randn(self.batch, *shape, generator=self._generator(purpose)))

    def latents(self, purpose: str, size: int, prior: Prior) -> Tensor:
        """(n, size) from `prior`."""
        return self._share(latents(self.batch, size, prior, self._generator(purpose)))

    def integers(self, purpose: str, high: int) -> Tensor:
        """(n,) int64, uniform from 0 to high - 1."""
        rows = torch.randint(high, (self.batch,), generator=self._generator(purpose))
        return to_device(self.device, rows[self.share])

    def _generator(self, purpose: str) -> torch.Generator:
        return keyed_generator(self.seed, purpose, self.position)

    def _share(self, rows: Tensor) -> Tensor:
        return to_device(self.device, rows[self.share].to(self.dtype))
