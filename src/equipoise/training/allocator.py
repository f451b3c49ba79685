"""What becomes of main memory that a step gives back: kept for the next step, or left to the system.

By default the C library hands large pieces back as soon as they are free, and asks for them again a moment later; the
system then clears every page anew. A step frees and takes the same sizes each time, so that keeping them costs nothing.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # of glibc's mallopt
USUAL = {TRIM_THRESHOLD: 64 * 2**20, MMAP_THRESHOLD: 32 * 2**20, MMAP_MAX: 65536}  # what its own rules come to
KEEPING = {TRIM_THRESHOLD: 2**31 - 1, MMAP_MAX: 0}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """While inside, this process keeps the memory that it frees; then what is free goes back to the system."""
    keep_freed_memory()
    try:
        yield
    finally:
        keep_freed_memory(keep=False)
        if trim := _of_glibc("malloc_trim"):
            trim(0)


def keep_freed_memory(*, keep: bool = True) -> None:
    """Let this process keep the memory that it frees from now on, or no longer; only Linux with glibc can."""
    if mallopt := _of_glibc("mallopt"):
        for parameter, value in (KEEPING if keep else USUAL).items():
            mallopt(parameter, value)


def _of_glibc(name: str) -> "ctypes._NamedFuncPointer | None":
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
