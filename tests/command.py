"""Type of the fixtures `within` and `equipoise`, which run the command with the words that they are called with."""

import subprocess
from collections.abc import Callable

Command = Callable[..., "subprocess.CompletedProcess[str]"]
