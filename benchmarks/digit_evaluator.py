"""Digits that samples show, how recognisable and how diverse they are, by the feature extractor `digits`."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from equipoise.data import normalise, open_images
from equipoise.metrics import squared_mmd
from equipoise.metrics.features import load_extractor
from equipoise.metrics.similarity import diversity

RECOGNISABLE = 0.9  # probability of a digit above which a sample counts as recognisable


@dataclass(frozen=True)
class DigitStatistics:
    """Statistics of a set of samples.

    Attributes:
        digits: number of samples classified as each digit, 0 to 9.
        distinct: number of distinct digits among the recognisable ones of the first 64 samples.
        entropy: entropy of the digits' histogram, 1 when all are as frequent.
        recognisable: share of samples whose digit has a probability above RECOGNISABLE.
        diversity: mean pairwise distance, divided by that of the data.
        kid: 1,000 times KID (Bińkowski et al. 2018, arXiv:1801.01401) against the held-out digits.
    """

    digits: list[int]
    distinct: int
    entropy: float
    recognisable: float
    diversity: float
    kid: float


class DigitEvaluator:
    """Compares samples with the held-out digits, which the extractor was not trained on either."""

    def __init__(self) -> None:
        _, held_out = open_images("digits", resolution=32).split(0.1)
        images = held_out.batch(np.arange(len(held_out)))
        self.extractor = load_extractor("digits", shape=held_out.shape)
        self.reference = self.extractor(images).vectors
        self.data_diversity = diversity(normalise(images))

    def __call__(self, images: Tensor) -> DigitStatistics:
        """Statistics of samples (N, 1, H, W) uint8, N >= 2."""
        vectors, probabilities = self.extractor(images)
        assert probabilities is not None
        probability, digit = probabilities.max(dim=1)
        counts = torch.bincount(digit, minlength=10)
        return DigitStatistics(
            digits=counts.tolist(),
            distinct=len(set(digit[:64][probability[:64] > RECOGNISABLE].tolist())),
            entropy=float(torch.special.entr(counts / counts.sum()).sum() / np.log(10)),
            recognisable=float((probability > RECOGNISABLE).double().mean()),
            diversity=diversity(normalise(images[:1000])) / self.data_diversity,
            kid=1000 * squared_mmd(vectors, self.reference),
        )


if __name__ == "__main__":
    digits = open_images("digits", resolution=32)
    samples = digits.batch(np.arange(0, 5000, 5))
    print("every fifth digit, which the extractor was trained on unless it is held out:", DigitEvaluator()(samples))
