"""A judge of digits for the benchmarks, by the feature extractor `digits`.

It tells which digits a set of samples shows, how sure one can be of them, and how far their features are from real
ones (KID, Bińkowski et al. 2018, arXiv:1801.01401).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from equipoise.data import normalise, open_images
from equipoise.metrics import squared_mmd
from equipoise.metrics.features import load_extractor
from equipoise.metrics.similarity import diversity

SURE = 0.9  # the least probability of a digit that one can recognise


@dataclass(frozen=True)
class Verdict:
    """What samples look like.

    Attributes:
        digits: how many samples were taken for each digit, 0 to 9.
        seen: how many different digits are among the first 64 recognisable samples.
        entropy: of the digits' histogram, 1 when all are as frequent.
        sure: share of samples with a probability above SURE for one digit.
        diversity: mean pairwise distance over the data's.
        kid: 1,000 times the squared kernel distance to held-out digits, over all pairs (real ones: 0).
    """

    digits: list[int]
    seen: int
    entropy: float
    sure: float
    diversity: float
    kid: float


class PeriodicKID:
    """Compares with the digits that the extractor was not trained on."""

    def __init__(self) -> None:
        _, held_out = open_images("digits", resolution=32).split(0.1)
        images = held_out.batch(np.arange(len(held_out)))
        self.extractor = load_extractor("digits", shape=held_out.shape)
        self.reference = self.extractor(images).vectors
        self.spacing = diversity(normalise(images))

    def __call__(self, images: Tensor) -> Verdict:
        """PeriodicKID (N, 1, H, W) uint8 samples, N >= 2."""
        vectors, probabilities = self.extractor(images)
        assert probabilities is not None
        sure, digit = probabilities.max(dim=1)
        counts = torch.bincount(digit, minlength=10)
        shares = counts / counts.sum()
        return Verdict(
            digits=counts.tolist(),
            seen=len(set(digit[:64][sure[:64] > SURE].tolist())),
            entropy=float(torch.special.entr(shares).sum() / np.log(10)),
            sure=float((sure > SURE).double().mean()),
            diversity=diversity(normalise(images[:1000])) / self.spacing,
            kid=1000 * squared_mmd(vectors, self.reference),
        )


if __name__ == "__main__":
    digits = open_images("digits", resolution=32)
    print(
        "the first digits of all, which the extractor was trained on:",
        PeriodicKID()(digits.batch(np.arange(0, 5000, 5))),
    )
