"""Axes of a study's figures."""

import pytest

from equipoise.studies.figures import scale_of


@pytest.mark.parametrize(
    ("values", "scale"),
    [([2.8, 2.9], "linear"), ([0.03, 3.0], "log"), ([-0.01, 3.0], "linear"), ([0.0, 3.0], "linear"), ([], "linear")],
)
def test_an_axis_is_logarithmic_where_values_are_positive_and_far_apart(values: list[float], scale: str) -> None:
    assert scale_of(values) == scale
