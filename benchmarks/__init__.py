"""Measurements, each of which writes the tables and pictures that the docs show: `python -m benchmarks.NAME --help`."""

import statistics

import torch

from equipoise.bench.machine import describe


def mean_and_spread(values: list[float], digits: int) -> str:
    """Mean and, of several seeds, standard deviation."""
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def this_machine() -> str:
    """The processor, how much of it torch uses, and torch's version, in a few words."""
    machine = describe(torch.device("cpu"))
    cores = f"{machine['threads']} core{'s' if machine['threads'] > 1 else ''}"
    return f"{cores} of {machine['device']} ({', '.join(machine['features'])}), torch {machine['torch']}"
