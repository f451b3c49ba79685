"""How often a timing is repeated."""

import pytest

from equipoise.bench.machine import timings


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"tries": 5, "limit": 100}, 5),
        ({"tries": 5, "limit": 100, "at_least": 8}, 8),
        ({"tries": 5, "limit": 3}, 3),
        ({"tries": 5, "limit": 3, "at_least": 8}, 3),
        ({"tries": 5, "limit": 0.1}, 1),
    ],
)
def test_timings_are_repeated_within_a_limit(options: dict[str, float], count: int) -> None:
    assert timings(lambda: 1.0, **options) == [1.0] * count  # type: ignore[arg-type]
