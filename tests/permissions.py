"""What a test needs where root, as which tests often run, would be allowed everything."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2  # of Linux: prctl, capabilities
REFUSED = 77


def _obey() -> None:
    """Give up what lets root read and write anywhere, for the program that is started next."""
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if os.geteuid() == 0 and ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            os._exit(REFUSED)


def run_obeying_permissions(*words: str, cwd: Path, stdin: str = "") -> "subprocess.CompletedProcess[str]":
    """Run Python with these words in a process that may do with files what their permissions say."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        input=stdin,
        preexec_fn=_obey if sys.platform == "linux" else None,  # no threads here
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == REFUSED or (sys.platform != "linux" and os.geteuid() == 0):
        pytest.skip("root that may not give up its rights reads and writes anywhere")
    return done
