"""Measures of several steps: sums on the device, means on the host."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class MetricAccumulator:
    """Sums of each step's measures, kept on the device until a line of metrics, or the schedule's window, is due."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    steps: int = 0

    def add(self, measures: Mapping[str, Tensor]) -> None:
        """Add one step's measures; those of the generator's loss are there only when it moves."""
        if known := [name for name in measures if name in self.sums]:
            # One kernel for all sums. Out of place: on a GPU the measures lie where a graph writes them anew each step.
            sums = torch._foreach_add([self.sums[name] for name in known], [measures[name] for name in known])
            self.sums.update(zip(known, sums, strict=True))
        self.sums.update({name: value.clone() for name, value in measures.items() if name not in self.sums})
        for name in measures:
            self.counts[name] = self.counts.get(name, 0) + 1
        self.steps += 1

    def close(self) -> dict[str, float]:
        """The means since the last call.

        This is where training waits for the device.
        """
        sums, counts = self.sums, self.counts
        self.sums, self.counts, self.steps = {}, {}, 0
        totals = torch.stack(list(sums.values())).double().tolist()
        return {name: total / counts[name] for name, total in zip(sums, totals, strict=True)}
