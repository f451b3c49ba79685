"""Training speed on this machine, next to the textbook's step and the machine's peaks; what `equipoise bench` runs.

In reading order: `machine` (the processor and its peaks), `textbook` and `steps` (what is timed), `timing` (how), then
`benchmark` (the figures of one configuration), `overheads` (everything around the steps) and `tables` (Markdown).
"""

from equipoise.bench.benchmark import measure
from equipoise.bench.tables import results_table
from equipoise.bench.textbook import TEXTBOOK, Textbook

__all__ = ["TEXTBOOK", "Textbook", "measure", "results_table"]
