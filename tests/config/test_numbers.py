"""Numbers as written in flags and YAML."""

import pytest

from equipoise import UsageError
from equipoise.config.numbers import parse_count
from equipoise.config.train_config import read_yaml
from equipoise.studies.plan import Study


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("300k", 300_000),
        ("1.5M", 1_500_000),
        ("12", 12),
        ("0.5k", 500),
        ("1_000", 1000),
        (7, 7),
        ("k", "k"),
        ("-3", -3),
        ("-", "-"),
    ],
)
def test_counts(text: object, value: object) -> None:
    assert parse_count(text) == value


def test_a_fraction_of_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        parse_count("1.0001k")
    with pytest.raises(UsageError, match="not a whole number"):
        read_yaml("images: 0.0005k", "it")
    assert read_yaml("images: 20k", "it").images == 20_000


def test_truth_values_in_lists_are_no_numbers() -> None:
    with pytest.raises(UsageError, match="seeds: should be a number, not True"):
        Study.from_dict({"arms": {"gan": {}}, "budget": 640, "seeds": [True, 2]})
