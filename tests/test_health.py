"""What a run says of itself."""

import math

import pytest
import torch
from scipy.spatial.distance import pdist

from equipoise import BEGAN, TrainConfig
from equipoise.health import diagnose, diversity

CONFIG = TrainConfig(objective=BEGAN(gamma=0.5), images=100_000)


def rows(count: int = 50, **values: object) -> list[dict[str, float]]:
    """Lines of metrics every 1,000 images; a value may be a function of the line's number."""
    healthy = {"k": 0.3, "m_global": lambda n: 1 / (n + 1), "diversity": 0.9, **values}
    return [
        {"images": 1000 * (n + 1), **{name: value(n) if callable(value) else value for name, value in healthy.items()}}
        for n in range(count)
    ]


def kinds(lines: list[dict[str, float]]) -> list[str]:
    return [finding.kind for finding in diagnose(lines, CONFIG)]


def test_a_healthy_run_has_no_findings() -> None:
    assert kinds(rows()) == []


@pytest.mark.parametrize(
    ("values", "kind", "remedy"),
    [
        ({"k": 0.0}, "k-at-0", "--gamma"),
        ({"k": 1.0}, "k-at-1", "--gamma"),
        ({"m_global": lambda n: 0.1 + abs(n - 10) / 100}, "rising", "--lr"),
        ({"diversity": lambda n: 0.9 if n < 40 else 0.2}, "collapse", "--pull"),
        ({"diversity": 0.25}, "collapse", "--pull"),
    ],
)
def test_each_symptom_is_named_with_evidence_and_remedy(values: dict[str, object], kind: str, remedy: str) -> None:
    findings = diagnose(rows(**values), CONFIG)
    assert [finding.kind for finding in findings] == [kind]
    assert remedy in findings[0].message
    assert any(character.isdigit() for character in findings[0].message)


def test_a_symptom_must_last() -> None:
    assert kinds(rows(k=lambda n: 0.0 if n > 42 else 0.3)) == []
    assert kinds(rows(k=lambda n: 0.0 if n > 38 else 0.3)) == ["k-at-0"]
    assert kinds(rows(count=15, k=0.0)) == [], "at the start k may still find its way"


def test_diversity_against_scipy() -> None:
    images = torch.randn(20, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = pdist(images.flatten(1).double().numpy()).mean() / math.sqrt(48)
    assert diversity(images) == pytest.approx(expected, rel=1e-12)
    assert diversity(images[:1].repeat(5, 1, 1, 1)) == 0
