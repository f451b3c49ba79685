"""The inception score: against torchmetrics, its extremes, and the formula."""

import pytest
import torch
from torch import Tensor
from torchmetrics.image.inception import InceptionScore

from equipoise.errors import UsageError
from equipoise.metrics import inception_score


def random_probabilities(count: int, classes: int = 7, seed: int = 0) -> Tensor:
    logits = torch.randn(count, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (3 * logits).softmax(dim=1)


def test_equals_the_formula() -> None:
    p = random_probabilities(200)
    divergence = (p * (p.log() - p.mean(dim=0).log())).sum(dim=1).mean()
    assert inception_score(p, splits=1).value == pytest.approx(divergence.exp().item(), rel=1e-12)


def test_equals_torchmetrics_with_logits_of_ones_own() -> None:
    class Logits(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1).log()

    p = random_probabilities(120, 12)
    oracle = InceptionScore(feature=Logits(), splits=1).set_dtype(torch.float64)
    oracle.update(p.view(-1, 3, 2, 2))
    assert inception_score(p, splits=1).value == pytest.approx(oracle.compute()[0].item(), rel=1e-9)


def test_lies_between_one_and_the_number_of_classes() -> None:
    sure = torch.eye(5)[torch.arange(100) % 5]
    assert inception_score(sure, splits=1).value == pytest.approx(5, rel=1e-12)
    assert inception_score(sure[:1].expand(100, 5)).value == pytest.approx(1, rel=1e-12)
    assert inception_score(torch.full((100, 5), 0.2)).value == pytest.approx(1, rel=1e-7)


def test_falls_with_noise_and_with_dropped_modes() -> None:
    sure = torch.eye(5)[torch.arange(500) % 5]
    noisy = [inception_score(sure * (1 - level) + level / 5).value for level in (0.0, 0.2, 0.5, 1.0)]
    assert noisy == sorted(noisy, reverse=True)
    dropped = [inception_score(sure[torch.arange(500) % 5 < left]).value for left in (5, 4, 2, 1)]
    assert dropped == sorted(dropped, reverse=True)


def test_images_that_are_stored_by_class_are_dealt_to_all_splits() -> None:
    by_class = torch.eye(5)[torch.arange(500) // 100]
    assert inception_score(by_class, splits=5).value > 4.5


def test_refuses_fewer_images_than_splits() -> None:
    with pytest.raises(UsageError, match="inception-score needs 10 images or more, not 9"):
        inception_score(random_probabilities(9))
