"""One run, one writer: a lock on the run's folder that the system lets go of at any death of its holder."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from equipoise.errors import UsageError

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"
GRACE = 10.0  # seconds to wait for a holder that is just ending


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold the run at `folder` alone; the file LOCK stays there, and says who held it last.

    Where there are no such locks (Windows, some network file systems), nothing is held.

    Raises:
        UsageError: another process holds it, or the folder cannot be written.
    """
    try:
        file = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write in {folder}: {error.strerror}; make it writable, or copy the run") from error
    with file:
        if not _taken(file):
            file.seek(0)
            holder = file.read(200).strip() or "another process"
            raise UsageError(f"{folder} is being written by {holder}: wait until it ends, or stop it first")
        _sign(file)
        yield


def _taken(file: IO[str]) -> bool:
    """Whether the lock could be had within GRACE, or there are none here."""
    if sys.platform == "win32":
        return True
    deadline = time.monotonic() + GRACE
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        except OSError:  # a file system without locks
            return True
        else:
            return True


def _sign(file: IO[str]) -> None:
    try:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
    except OSError:  # a full disk; the name is only for people
        return
