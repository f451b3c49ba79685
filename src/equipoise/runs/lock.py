"""One run, one writer: a lock on the run's folder that the operating system releases at any death of its holder."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import ENOENT
from pathlib import Path

from filelock import FileLock, Timeout, lock_descriptor, unlock_descriptor

from equipoise.errors import UsageError

LOCK = ".lock"
TIMEOUT = 10.0  # seconds to wait for a holder that is just ending
PATIENCE = 0.1  # seconds to wait for another who only looks whether the run is free


@contextmanager
def sole_writer(folder: Path, timeout: float = TIMEOUT) -> Iterator[None]:
    """Lock the run at `folder` for this process alone.

    The file LOCK stays there afterwards, and names its last holder. On file systems without locks, such as some network
    file systems, nothing is locked.

    Args:
        folder: the run's, which must exist.
        timeout: seconds to wait for another holder.

    Raises:
        UsageError: another process holds the lock, or the folder cannot be written.
    """
    path = folder / LOCK
    if os.path.lexists(path) and not path.is_file():  # a pipe would be waited for
        raise UsageError(f"{path} is there and is no file: move it away")
    try:
        path.open("ab").close()  # asked first, so that any later OSError is about locks and not about permissions
    except OSError as error:
        raise UsageError(f"cannot write in {folder}: {error.strerror}; make it writable, or copy the run") from error
    # filelock's fallback for systems without flock is a marker file, which would outlive a killed holder.
    # Of the real path: filelock follows no symbolic link, and would fail as on a file system without locks.
    lock = FileLock(path.resolve(), fallback_to_soft=False)
    try:
        lock.acquire(timeout)
    except Timeout as error:
        holder = "another process"
        with suppress(OSError, UnicodeDecodeError):  # Windows lets nobody else read a locked file
            holder = path.read_text(encoding="utf-8")[:200].strip() or holder
        raise UsageError(f"{folder} is being written by {holder}: wait until it ends, or stop it first") from error
    except OSError:  # a file system without locks
        pass
    try:
        # The holder's name is written into the locked file itself, which filelock (from 4.2 on) never truncates. With
        # flock, unlike POSIX record locks, closing this second handle of the file does not release the lock.
        with suppress(OSError):  # a full disk, or Windows; the name is only for people
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
        yield
    finally:
        lock.release()


@contextmanager
def locked_if_free(folder: Path) -> Iterator[bool | None]:
    """Lock the run at `folder` if nobody else holds it, and leave no trace: no holder's name, no new time of change.

    Yields whether it is free, and locked from now on; None where that cannot be told, as there are no locks or no
    permission. Where no writer ever left the file LOCK, as in a copy without it, nothing is locked.
    """
    path = folder / LOCK
    if not path.is_file():
        yield None if os.path.lexists(path) else True
        return
    try:
        # Not by FileLock, which would make a file that has just gone, in a folder that can then not be deleted.
        descriptor = os.open(path, os.O_RDWR)
    except OSError as error:
        yield True if error.errno == ENOENT else None
        return
    free: bool | None = None
    try:
        with suppress(OSError):  # a file system without locks
            free = _locked(descriptor)
        yield free
    finally:
        if free:
            unlock_descriptor(descriptor)  # which closing alone does not if a process was forked meanwhile
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    """Lock an open file, within PATIENCE; whether that was possible."""
    deadline = time.monotonic() + PATIENCE
    while not lock_descriptor(descriptor, blocking=False):
        if time.monotonic() >= deadline:
            return False
        time.sleep(PATIENCE / 5)
    return True
