"""What a run says of itself."""

import math

import pytest
import torch
from scipy.spatial.distance import pdist

from equipoise import BEGAN, TrainConfig
from equipoise.metrics.similarity import diversity
from equipoise.training.health import diagnose

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
        ({"grain": 0.5, "detail": 2.1}, "grain", "--gamma"),
        ({"grain": 0.6, "detail": 0.2}, "blur", "--width"),
        ({"grain": 0.1, "detail": 2.1}, "harsh-detail", "--ema"),
        ({"detail": lambda n: 1.0 if n < 40 else 0.2}, "blur", "--width"),
        ({"clusters": 0.8}, "missing-clusters", "--match"),
    ],
)
def test_each_symptom_is_named_with_evidence_and_remedy(values: dict[str, object], kind: str, remedy: str) -> None:
    findings = diagnose(rows(**values), CONFIG)
    assert [finding.kind for finding in findings] == [kind]
    (finding,) = findings
    assert remedy in finding.remedy
    assert any(character.isdigit() for character in finding.evidence + finding.meaning)
    assert finding.message == f"{finding.evidence}: {finding.meaning}; {finding.remedy}"
    assert ";" not in finding.evidence + finding.meaning


def test_a_symptom_must_last() -> None:
    assert kinds(rows(k=lambda n: 0.0 if n > 42 else 0.3)) == []
    assert kinds(rows(k=lambda n: 0.0 if n > 38 else 0.3)) == ["k-at-0"]
    assert kinds(rows(count=15, k=0.0)) == [], "at the start k may still find its way"


SAMPLED = {"diversity": 0.1, "detail": 0.2, "grain": 0.5, "clusters": 0.5}
HEALTHY = {"diversity": 1.0, "detail": 1.0, "grain": 0.0, "clusters": 1.0}


@pytest.mark.parametrize("every", [1, 5, 10, 25, 100])
@pytest.mark.parametrize("measure", SAMPLED)
def test_what_samples_show_is_withheld_until_it_outlasts_the_first_tenth(measure: str, every: int) -> None:
    """With samples every so many thousand of 100,000 images: no warning that only the first tenth explains."""

    def first_warning(mends_at: int | None) -> int | None:
        lines = []
        for images in range(0, 101, every):
            ill = mends_at is None or images < mends_at
            ill_or_well = {measure: SAMPLED[measure]} if ill else {}
            lines.append({"images": 1000 * images, **HEALTHY, **ill_or_well})
            if diagnose(lines, CONFIG):
                return images
        return None

    assert first_warning(mends_at=11) is None
    lasting = first_warning(mends_at=None)
    assert lasting is not None
    assert 20 <= lasting <= max(20, every)


def test_collapse_after_a_good_time_is_told_once_it_lasts() -> None:
    assert kinds(rows(count=45, diversity=lambda n: 0.9 if n < 40 else 0.2)) == []
    assert kinds(rows(count=50, diversity=lambda n: 0.9 if n < 40 else 0.2)) == ["collapse"]
    assert kinds(rows(count=50, diversity=lambda n: 1.8 if n < 8 else 0.7)) == [], "noise at the start is no best"


def test_diversity_against_scipy() -> None:
    images = torch.randn(20, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = pdist(images.flatten(1).double().numpy()).mean() / math.sqrt(48)
    assert diversity(images) == pytest.approx(expected, rel=1e-12)
    assert diversity(images[:1].repeat(5, 1, 1, 1)) == 0


def said(**values: object) -> dict[str, str]:
    """Kind and message of all findings in 50 lines of these measures alone."""
    lines = [
        {"images": 1000 * (n + 1), **{name: value(n) if callable(value) else value for name, value in values.items()}}
        for n in range(50)
    ]
    return {finding.kind: finding.message for finding in diagnose(lines, CONFIG)}


KIDS = (0.3, 0.1, 0.084, 0.083, 0.084, 0.09, 0.088, 0.092, 0.094, 0.095)
ENERGIES = {"energy_real": 0.1, "energy_fake": 0.2, "balance": 2.0, "margin": 0.5}


@pytest.mark.parametrize(
    ("values", "kind", "remedy"),
    [
        ({"accuracy": 0.99}, "discriminator-wins", "--lr-ratio"),
        ({**ENERGIES, "hinge_active": 0.0}, "hinge-off", "--margin"),
        ({**ENERGIES, "hinge_active": 1.0, "balance": 5.0}, "hinge-on", "--margin"),
        ({**ENERGIES, "hinge_active": 0.8, "balance": 0.3}, "generator-wins", "--lr-ratio"),
        ({**ENERGIES, "hinge_active": 0.0, "margin": 0.0}, "no-margin", "--pretrain"),
        ({"loss_real": 0.3, "loss_fake": 0.9, "hinge_active": 0.0}, "margins-kept", "--tau"),
        ({"loss_real": 0.0, "loss_fake": 0.0, "hinge_active": 0.5}, "dead-loss", "--no-relu"),
        ({"effective_sample_size": 1.1}, "weights-degenerate", "--samples"),
        ({"pulling_away": 0.97}, "codes-alike", "--pull"),
        ({"mixing_active": 0.0}, "reals-ignored", "--distance-scale"),
        ({"accuracy": 0.7, "diversity": 0.1}, "collapse", "dragan"),
        ({"gap": lambda n: 1 + max(0, n - 20) / 5}, "gap-rising", "--n-critic"),
        ({"kid": lambda n: KIDS[n // 5]}, "kid-rising", "--best"),
        ({"kid": lambda n: KIDS[n // 5], "held_out_energy": 1.2}, "kid-rising", "--augment"),
    ],
)
def test_what_other_objectives_measure_shows_symptoms_too(values: dict[str, object], kind: str, remedy: str) -> None:
    findings = said(**values)
    assert list(findings) == [kind]
    assert remedy in findings[kind]
    assert any(character.isdigit() for character in findings[kind])


@pytest.mark.parametrize(
    "values",
    [
        {"accuracy": 0.9, "score_real": 5.0},
        {"detail": 1.4, "grain": 0.25, "clusters": 0.98, "diversity": 0.6},
        {"held_out_energy": 1.4},  # no harm by itself
        {"grain": lambda n: 0.6 if n % 3 else 0.1, "detail": 1.0},
        {"accuracy": lambda n: 0.99 if n % 5 else 0.9},
        {**ENERGIES, "hinge_active": 0.5},
        {**ENERGIES, "hinge_active": 1.0, "balance": 1.1},  # EBGAN's equilibrium: all energies meet below the margin
        {"k": 0.2, "balance": 0.3, "m_global": 0.1},  # BEGAN holds its balance at gamma
        {"loss_real": 0.3, "loss_fake": 0.9, "hinge_active": 1.0, "margin": 0.0},
        {"loss_real": 0.0, "loss_fake": 0.9, "hinge_active": 0.4},
        {"effective_sample_size": 9.0, "pulling_away": 0.3, "mixing_active": 0.1},
        {"gap": lambda n: n / 50 if n < 5 else 0.1 + 2 / n},
        {"gap": lambda n: -1.0},
        {"kid": lambda n: 0.08 + 0.02 * (-1) ** n},
        {"kid": lambda n: 0.3 / (n + 1)},
        {"kid": lambda n: [0.0486, 0.0519][n > 45]},  # risen by less than a tenth
        {"kid": lambda n: (n - 20) / 1e4},  # about 0, and so as good as can be told
    ],
)
def test_healthy_measures_of_other_objectives(values: dict[str, object]) -> None:
    assert said(**values) == {}
