"""What the fixtures `within` and `equipoise` give: a call of the command with these words."""

import subprocess
from collections.abc import Callable

Command = Callable[..., "subprocess.CompletedProcess[str]"]
