"""The metrics by name: what each needs and says, from statistics of any batches, and with both sets in their roles."""

from dataclasses import replace

import pytest
import torch
from test_statistics import statistics

from equipoise.errors import UsageError
from equipoise.metrics import (
    METRICS,
    POINT_METRICS,
    Available,
    Generator,
    MetricInputs,
    Statistics,
    check_metrics,
    compute_metrics,
    manifold_scores,
    merge_statistics,
    required_statistics,
)
from equipoise.metrics.manifold import _scores

TWO_SETS = [name for name, metric in METRICS.items() if not (metric.needs_training or metric.needs_generator)]


def compute(names: list[str], samples: Statistics, reference: Statistics) -> dict[str, dict[str, float]]:
    return compute_metrics(names, MetricInputs(samples, reference))


def linear_generator() -> Generator:
    """Images of 32 x 32 pixels of one brightness, which is the latent."""
    return Generator(
        generate=lambda z: z[:, :, None, None].expand(-1, 1, 32, 32),
        latent_size=1,
        prior="uniform",
        real=lambda count: torch.linspace(-0.5, 0.5, 3)[:count, None, None, None].expand(-1, 1, 32, 32),
    )


@pytest.mark.parametrize("name", METRICS)
def test_each_metric_takes_what_its_entry_names_and_no_more(name: str) -> None:
    metric = METRICS[name]

    def only_needed(whole: Statistics) -> Statistics:
        unneeded = {"vectors", "moments", "probabilities", "patches", "pictures"} - metric.needs
        return replace(whole, **{key: () if key == "patches" else None for key in unneeded})

    inputs = MetricInputs(
        samples=only_needed(statistics(0)),
        reference=only_needed(statistics(1)),
        training=only_needed(statistics(2)) if metric.needs_training else None,
        generator=linear_generator() if metric.needs_generator else None,
    )
    result = compute_metrics([name], inputs)[name]
    assert all(isinstance(value, int | float) for value in result.values())
    assert "value" in result
    note = metric.caveat(inputs)
    assert note is None or name in note


def test_each_metric_says_what_is_missing() -> None:
    everything = Available(side=16, extractor="clip-vitl14-336", classes=10, training=True, generator=True)
    assert not any(metric.missing(everything) for metric in METRICS.values())
    words = {
        "kid": None,
        "fid": None,
        "fid-infinity": None,
        "cmmd": "--features clip-vitl14-336",
        "gaussian-mmd": None,
        "inception-score": "an extractor with classes",
        "precision": None,
        "recall": None,
        "density": None,
        "coverage": None,
        "sliced-wasserstein": "16 pixels a side",
        "ms-ssim": None,
        "vendi": None,
        "detail": None,
        "grain": None,
        "reconstruction": "a run from latents alone",
        "memorisation": "a run, scored by its held-out images",
        "authenticity": "a run, scored by its held-out images",
        "modes": "an extractor with classes",
    }
    assert {name: METRICS[name].missing(Available(side=15)) for name in words} == words


def test_by_default_no_search_and_no_foreign_classes() -> None:
    by_name = {"reconstruction", "fid-infinity", "gaussian-mmd"}
    for classes, expected in ((10, by_name), (1000, by_name | {"modes"})):
        available = Available(side=32, classes=classes, training=True, generator=True)
        assert {name for name, metric in METRICS.items() if not metric.by_default(available)} == expected


def test_entries_are_described() -> None:
    for entry in (*METRICS.values(), *POINT_METRICS.values()):
        assert entry.description
        assert "\n" not in entry.description
        assert entry.better in ("lower", "higher", "reference")


def test_all_scores_by_name_and_the_same_for_any_batch() -> None:
    ours = compute(TWO_SETS, statistics(0), statistics(1))
    assert list(ours) == TWO_SETS
    assert not {"reconstruction", "memorisation"} & set(TWO_SETS)
    merged = merge_statistics([statistics(1, rank=rank, size=2) for rank in (0, 1)])
    theirs = compute(TWO_SETS, statistics(0, batch=11), merged)
    for name, result in ours.items():
        assert theirs[name] == pytest.approx(result, rel=1e-9, abs=1e-12), name
    assert compute(["recall"], statistics(0), statistics(1)) == {"recall": ours["recall"]}


def test_samples_and_real_images_keep_their_roles() -> None:
    samples, reference = statistics(0), statistics(1, total=150)
    assert samples.vectors is not None
    assert reference.vectors is not None
    expected = manifold_scores(reference.vectors, samples.vectors)
    ours = compute(TWO_SETS, samples, reference)
    for name in ("precision", "recall", "density", "coverage"):
        assert ours[name]["value"] == getattr(expected, name)
    for name in ("inception-score", "ms-ssim", "vendi", "detail", "grain"):
        assert compute([name], reference, samples)[name]["value"] == ours[name]["real"] != ours[name]["value"]


def test_a_set_and_itself_are_ideal() -> None:
    same = statistics()
    ours = compute(TWO_SETS, same, same)
    assert ours["fid"]["value"] == pytest.approx(0, abs=1e-9)
    assert ours["sliced-wasserstein"]["value"] == 0
    assert [ours[name]["value"] for name in ("precision", "recall", "coverage")] == [1, 1, 1]
    for name in ("inception-score", "ms-ssim", "vendi", "detail", "grain"):
        assert ours[name]["value"] == ours[name]["real"]
    assert ours["modes"]["value"] == ours["modes"]["of"]
    assert ours["modes"]["kl"] == 0


def test_what_metrics_share_is_computed_once() -> None:
    inputs = MetricInputs(statistics(0), statistics(1))
    assert inputs.shared(_scores) is inputs.shared(_scores)
    assert MetricInputs(statistics(0), statistics(1)).shared(_scores) is not inputs.shared(_scores)


def test_fid_of_few_images_is_marked_and_noted() -> None:
    inputs = MetricInputs(statistics(0, total=120), statistics(1, total=170))
    assert compute_metrics(["fid"], inputs)["fid"]["biased"] == 1
    note = METRICS["fid"].caveat(inputs)
    assert note is not None
    assert "fewer than 160 images" in note
    many = MetricInputs(statistics(0, total=160), statistics(1, total=170))
    assert "biased" not in compute_metrics(["fid"], many)["fid"]
    assert METRICS["fid"].caveat(many) is None


def test_refuses_too_few_images_and_unknown_names() -> None:
    with pytest.raises(UsageError, match="fid needs 100 images or more, not 40: give more, or leave fid out"):
        check_metrics(["kid", "fid"], 40, 4000)
    with pytest.raises(UsageError, match="there is no score 'fide': choose from kid, fid, .*modes"):
        check_metrics(["fide"], 400)
    with pytest.raises(UsageError, match="kid needs 20"):
        compute(["kid"], statistics(total=19), statistics())


def test_required_statistics_are_those_of_all_names() -> None:
    assert required_statistics([]) == required_statistics(["reconstruction"]) == frozenset()
    assert required_statistics(["kid", "fid", "recall"]) == {"vectors", "moments"}
