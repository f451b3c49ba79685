"""Inception score, of Salimans et al. (2016), arXiv:1606.03498."""

import torch
from torch import Tensor

from equipoise.metrics.base import Estimate, MetricResult, check_finite, require
from equipoise.metrics.metric import Metric, MetricInputs
from equipoise.randomness import keyed_generator


def inception_score(probabilities: Tensor, *, splits: int = 10, seed: int = 0) -> Estimate:
    """Inception score exp E_x KL(p(y|x) | p(y)), its mean over splits (Salimans et al., 2016, arXiv:1606.03498).

    Args:
        probabilities: (N, T), each row summing to 1.
        splits: number of parts, of equal size or one image more, among which the images are distributed at random.
        seed: of that.

    Returns:
        The mean, from 1 to T, and the spread over the splits.

    Raises:
        UsageError: there are fewer images than splits, or a probability is not finite.
    """
    require("inception-score", splits, len(probabilities))
    check_finite(probabilities)
    # Shuffled first: images that were stored by class would otherwise make each split one class, whose score is 1.
    order = torch.randperm(len(probabilities), generator=keyed_generator(seed, "inception-score"))
    scores = []
    for part in probabilities[order].tensor_split(splits):
        p = part.double()
        information = entropy(p.mean(dim=0)) - entropy(p).mean()  # E KL(p(y|x) | p(y)) = H(y) - H(y|x)
        scores.append(information.exp())
    return Estimate.from_parts(torch.stack(scores))


def entropy(p: Tensor) -> Tensor:
    """Entropy in nats over the last dimension, with 0 log 0 = 0."""
    return torch.as_tensor(torch.special.entr(p).sum(dim=-1))


def _compute(inputs: MetricInputs) -> MetricResult:
    samples, reference = inputs.probabilities
    real = inception_score(reference, seed=inputs.seed)
    return inception_score(samples, seed=inputs.seed).result() | {"real": real.value}


INCEPTION_SCORE = Metric(
    compute=_compute,
    needs=frozenset({"probabilities"}),
    better="higher",
    ideal=None,
    minimum=100,
    description="how sure the classes are, and how many",
)
