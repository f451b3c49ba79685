"""The load by other processes, and how often a timing is repeated."""

import pytest
import torch

from equipoise.bench.machine import BackgroundLoad, timings


def test_the_load_by_other_processes_is_a_number_of_cores() -> None:
    load = BackgroundLoad()
    torch.randn(300, 300) @ torch.randn(300, 300)
    busy = load.busy_cores()
    assert busy is None or busy >= 0


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
