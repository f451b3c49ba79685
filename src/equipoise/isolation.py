"""What a function of the library finds when it is called, and what its caller finds afterwards.

A run depends on its seed, configuration and data alone, so that what a caller has set in torch for its own work must
not reach it; and a caller finds everything of its own as it left it. Nor does a process hold memory that it has freed,
but for the while in which it takes the same again and again.
"""

import ctypes
import os
import random
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = -1, -3, -4  # of glibc's mallopt
USUAL = {TRIM_THRESHOLD: 64 * 2**20, MMAP_THRESHOLD: 32 * 2**20, MMAP_MAX: 65536}  # what its own rules come to
KEEPING = {TRIM_THRESHOLD: 2**31 - 1, MMAP_MAX: 0}


@contextmanager
def isolated() -> Iterator[None]:
    """Inside, torch is as in a process that has just begun; afterwards the caller's own state is as it was.

    Inside, there is no default type or device, autocast, no_grad or inference mode of the caller's, products of
    matrices have full precision, and freed memory is kept. Afterwards global random generators, cuDNN's choices,
    filters of warnings, and environment variables are what they were. Also a decorator, as in `@isolated()`.
    """
    with ExitStack() as stack:
        stack.enter_context(freed_memory_kept())
        stack.enter_context(_globals_restored())
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        for kind in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":  # else at no cost: torch calls this context for every operation
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")
        yield


@contextmanager
def _globals_restored() -> Iterator[None]:
    """Put back what has no context of its own."""
    dtype, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    benchmark = torch.backends.cudnn.benchmark
    python, numpy = random.getstate(), np.random.get_state()  # the one that is global
    environment = dict(os.environ)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_float32_matmul_precision(precision)
        torch.backends.cudnn.benchmark = benchmark
        random.setstate(python)
        np.random.set_state(numpy)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)


_lock = threading.Lock()
_inside = 0  # how many are, in all threads and one within another


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """While anybody is inside, this process keeps the memory that it frees; then what is free goes to the system.

    By default the C library hands large pieces back as soon as they are free, and asks for them again a moment later;
    the system then clears every page anew. Layers and steps free and take the same sizes each time, so that keeping
    them costs nothing.
    """
    _enter(1)
    try:
        yield
    finally:
        _enter(-1)


def _enter(change: int) -> None:
    global _inside
    with _lock:
        before, _inside = _inside, _inside + change
        if not before:
            keep_freed_memory()
        elif not _inside:
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
