"""The inception score."""

import torch
from torch import Tensor

from equipoise.metrics.base import Estimate, check_finite, require
from equipoise.randomness import keyed_generator


def inception_score(probabilities: Tensor, *, splits: int = 10, seed: int = 0) -> Estimate:
    """The score exp E_x KL(p(y|x) | p(y)), its mean over splits (Salimans et al., 2016, arXiv:1606.03498).

    Args:
        probabilities: (N, T), each row summing to 1.
        splits: parts of equal size, or one image more, into which the images are dealt.
        seed: of the dealing, so that images which were stored by class do not make each split a class.

    Returns:
        The mean, from 1 to T, and the spread over the splits.

    Raises:
        UsageError: there are fewer images than splits; a probability is not finite.
    """
    require("inception-score", splits, len(probabilities))
    check_finite(probabilities)
    order = torch.randperm(len(probabilities), generator=keyed_generator(seed, "inception-score"))
    return Estimate.of(torch.stack([_score(part) for part in probabilities[order].tensor_split(splits)]))


def _score(probabilities: Tensor) -> Tensor:
    p = probabilities.double()
    information = entropy(p.mean(dim=0)) - entropy(p).mean()  # E KL(p(y|x) | p(y)) = H(y) - H(y|x)
    return information.exp()


def entropy(p: Tensor) -> Tensor:
    """Entropy in nats over the last dimension, with 0 log 0 = 0."""
    return torch.as_tensor(torch.special.entr(p).sum(dim=-1))
