"""What a function of the library finds when it is called, and what its caller finds afterwards.

A run depends on its seed, configuration and data alone, so that what a caller has set in torch for its own work must
not reach it; and a caller finds everything of its own as it left it.
"""

import os
import random
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch


@contextmanager
def isolated() -> Iterator[None]:
    """Inside, torch is as in a process that has just begun; afterwards the caller's own state is as it was.

    Inside, there is no default type or device, autocast, no_grad or inference mode of the caller's, and products of
    matrices have full precision. Afterwards global random generators, cuDNN's choices, filters of warnings, and
    environment variables are what they were. Also a decorator, as in `@isolated()`.
    """
    with ExitStack() as stack:
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
