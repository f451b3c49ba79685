"""How fast training is on this machine: beside the textbook's step, beside the machine's own peaks, and where it goes.

Only `equipoise bench` needs this.
"""

from equipoise.bench.report import measure, table
from equipoise.bench.textbook import TEXTBOOK, Textbook

__all__ = ["TEXTBOOK", "Textbook", "measure", "table"]
