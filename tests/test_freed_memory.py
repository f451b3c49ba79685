"""Freed memory that is kept is not cleared anew."""

import subprocess
import sys

import pytest

PROGRAM = """
import contextlib, resource, sys, torch
from equipoise.isolation import isolated, keep_freed_memory
keep_freed_memory(keep=sys.argv[1] == "keep")
with isolated() if sys.argv[1] == "isolated" else contextlib.nullcontext():
    for _ in range(10):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tensors = [torch.ones(10_000_000) for _ in range(4)]
        del tensors
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has glibc")
def test_pages_are_not_cleared_anew() -> None:
    """Of 40,000 pages that are taken, none or all; none either in what the library does when it is called."""
    words = [sys.executable, "-c", PROGRAM]
    kept, isolated, given_back = (
        int(subprocess.run([*words, word], capture_output=True, text=True, check=True).stdout)
        for word in ("keep", "isolated", "no")
    )
    assert kept < 1000
    assert isolated < 1000
    assert given_back > 30_000


AFTERWARDS = """
import torch
from pathlib import Path
from equipoise.isolation import freed_memory_kept
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
before = resident()
with freed_memory_kept():
    with freed_memory_kept():  # whoever is inside and leaves takes nothing from the others
        pass
    tensors = [torch.ones(10_000_000) for _ in range(4)]
    del tensors
    print(resident() - before)
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has glibc")
def test_what_was_kept_goes_back_afterwards() -> None:
    """Of 160 MB all are held until training ends, and next to nothing then: the process may be somebody's notebook."""
    done = subprocess.run([sys.executable, "-c", AFTERWARDS], capture_output=True, text=True, check=True)
    inside, after = map(int, done.stdout.split())
    assert inside > 100_000_000
    assert after < 30_000_000
