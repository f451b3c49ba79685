"""Folders that appear whole or not at all, whatever dies in between, and digests that are taken once."""

import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from equipoise.errors import UsageError

PARTIAL = ".partial"
REMEMBERED = 64 * 2**20  # bytes from which a file's digest is worth remembering


def cache_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """Say where packed data goes: `given`, else $EQUIPOISE_CACHE, else equipoise in the user's cache folder.

    Raises:
        UsageError: the user has no home folder, and names no other.
    """
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    usual = (shared if shared.is_absolute() else Path("~/.cache")) / "equipoise"
    try:
        return Path(given or os.environ.get("EQUIPOISE_CACHE") or usual).expanduser()
    except RuntimeError as error:
        raise UsageError("there is no home folder to cache data in: set EQUIPOISE_CACHE to a folder") from error


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what goes wrong in the cache folder into one sentence.

    Raises:
        UsageError: in place of OSError, as there is no room, no permission, or something else in the way.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"cannot write to the cache folder {folder}: {error.strerror or error}; "
            "make room there, or set EQUIPOISE_CACHE to another folder"
        ) from error


def require_room(folder: Path, size: int) -> None:
    """Raise UsageError unless `size` bytes are free where `folder` lies."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UsageError(
            f"the cache folder {folder} has {free / 2**30:.1f} GiB free of the {size / 2**30:.1f} GiB needed; "
            "make room there, or set EQUIPOISE_CACHE to another folder"
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` alone, waiting for other holders; on file systems without locks, hold nothing.

    The operating system releases the lock when its holder dies. It only saves work: without it, two processes would
    pack the same data side by side, and the later one would replace the folder of the earlier.
    """
    lock = _file_lock(path)
    with suppress(OSError):  # a file system without locks
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def appearing(final: Path) -> Iterator[Path]:
    """Give a new folder to fill, which then takes the name `final` at once, or vanishes if the filling fails.

    Should `final` exist by then, it is replaced.
    """
    partial = final.with_name(f"{final.name}.{secrets.token_hex(4)}{PARTIAL}")
    partial.mkdir()
    try:
        yield partial
        for path in partial.iterdir():
            _sync(path)
        _sync(partial)
        _rename(partial, final)
        _sync(final.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def appearing_file(final: Path) -> Iterator[Path]:
    """Give a new file to fill, which then takes the name `final` at once, or vanishes if the filling fails."""
    partial = final.with_name(f".{final.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        yield partial
        _sync(partial)
        partial.replace(final)
        _sync(final.parent)
    finally:
        partial.unlink(missing_ok=True)


def remove_abandoned(folder: Path) -> None:
    """Remove what dead processes left in `folder`: partial folders whose lock nobody holds."""
    for partial in folder.glob(f"*{PARTIAL}"):
        lock = _file_lock(folder / f"{partial.name.split('.')[0]}.lock")
        with suppress(OSError):  # held by a living process (Timeout), or a file system without locks
            lock.acquire(blocking=False)
            shutil.rmtree(partial, ignore_errors=True)
        lock.release()


def _file_lock(path: Path) -> FileLock:
    # filelock's fallback for systems without flock is a marker file, which would outlive a killed holder.
    return FileLock(path, fallback_to_soft=False)


def digest(path: Path, memory: Path) -> str:
    """Give the sha256 of a file's bytes in hexadecimal; of large files, remembered in the folder `memory`.

    A remembered digest holds while the file's place, size and times of change all stay the same.
    """
    stat = path.stat()
    if stat.st_size < REMEMBERED:
        return _sha256(path)
    state = [str(path.resolve()), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    note = memory / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(note.read_text())
        if known["state"] == state:
            return str(known["sha256"])
    result = _sha256(path)
    with suppress(OSError):  # to remember is a convenience
        memory.mkdir(parents=True, exist_ok=True)
        fresh = note.with_suffix(f".{secrets.token_hex(4)}")
        fresh.write_text(json.dumps({"state": state, "sha256": result}))
        fresh.replace(note)
    return result


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rename(partial: Path, final: Path) -> None:
    try:
        partial.rename(final)
    except OSError:
        if not final.exists():
            raise
        aside = final.with_name(f"{final.name}.{secrets.token_hex(4)}{PARTIAL}")
        with suppress(FileNotFoundError):
            final.rename(aside)
        partial.rename(final)
        shutil.rmtree(aside, ignore_errors=True)


def _sync(path: Path) -> None:
    """Force a file or folder to the disk."""
    if path.is_dir() and sys.platform == "win32":
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
