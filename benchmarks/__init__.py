"""Measurements, each of which writes the tables and pictures that the docs show: `python -m benchmarks.NAME --help`."""

import statistics


def mean_and_spread(values: list[float], digits: int) -> str:
    """Mean and, of several seeds, standard deviation."""
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"
