"""Every random draw is a pure function of (seed, purpose, position), so that resuming needs no generator's state."""

import hashlib
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from equipoise.devices import to_device

Prior = Literal["uniform", "normal"]
"""Latents from U[-1, 1], as in the BEGAN paper, or from N(0, 1)."""


def keyed_generator(seed: int, purpose: str, position: int = 0) -> torch.Generator:
    """A CPU generator for one purpose at one position, say the latents of the step after so many images."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{position}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def latents(count: int, size: int, prior: Prior, generator: torch.Generator) -> Tensor:
    """Draw latents: (count, size) float32 on the CPU, so that every device is given the same."""
    if prior == "normal":
        return torch.randn(count, size, generator=generator)
    return torch.rand(count, size, generator=generator) * 2 - 1


@dataclass(frozen=True)
class Draws:
    """The random tensors of one step: of each, drawn for the whole batch, this process's rows.

    Attributes:
        seed: of the run.
        position: images seen before the step.
        batch: rows over all processes.
        share: this process's rows among them.
        device, dtype: of the tensors.
    """

    seed: int
    position: int
    batch: int
    share: slice
    device: torch.device = torch.device("cpu")  # noqa: RUF009
    dtype: torch.dtype = torch.float32

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """(n, *shape) from U[0, 1); another for each purpose, the same whenever it is asked for again."""
        return self._mine(torch.rand(self.batch, *shape, generator=self._keyed(purpose)))

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """(n, *shape) from N(0, 1)."""
        return self._mine(torch.randn(self.batch, *shape, generator=self._keyed(purpose)))

    def latents(self, purpose: str, size: int, prior: Prior) -> Tensor:
        """(n, size) from the latents' distribution."""
        return self._mine(latents(self.batch, size, prior, self._keyed(purpose)))

    def integers(self, purpose: str, high: int) -> Tensor:
        """(n,) int64 from 0 to high - 1."""
        return to_device(self.device, torch.randint(high, (self.batch,), generator=self._keyed(purpose))[self.share])

    def _keyed(self, purpose: str) -> torch.Generator:
        return keyed_generator(self.seed, purpose, self.position)

    def _mine(self, rows: Tensor) -> Tensor:
        return to_device(self.device, rows[self.share].to(self.dtype))
