"""The cache on the disk: folders that appear whole or not at all, locks on them, and small notes between runs."""

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Annotated

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from equipoise.errors import UsageError
from equipoise.reading import parse_json, read_bytes

try:
    import fcntl
except ImportError:  # Windows, where nothing that is open can be removed
    fcntl = None  # type: ignore[assignment]

PARTIAL = ".partial"  # end of the name of a folder that is not whole
UNFINISHED = ".tmp"  # and of a file
LOCKED_BY_THEN = 60.0  # seconds after which who writes a file or folder has it locked, if that is possible at all


class _DigestNote(BaseModel):
    """A file's place, size and times of change, and the SHA-256 that it had then."""

    model_config = ConfigDict(strict=True)
    state: list[str | int]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


DIGEST_NOTE = TypeAdapter(_DigestNote)
MIN_NOTED_BYTES = 64 * 2**20  # size from which a file's digest is worth a note


def cache_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """Folder of packed data: `folder`, else $EQUIPOISE_CACHE, else equipoise in the user's cache folder.

    Raises:
        UsageError: the user has no home folder, and names no other.
    """
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))  # the standard says to ignore relative paths
    default = (shared if shared.is_absolute() else Path("~/.cache")) / "equipoise"
    try:
        return Path(folder or os.environ.get("EQUIPOISE_CACHE") or default).expanduser()
    except RuntimeError as error:
        raise UsageError("there is no home folder to cache data in: set EQUIPOISE_CACHE to a folder") from error


@contextmanager
def cache_errors(folder: Path) -> Iterator[None]:
    """Report what goes wrong while writing to the cache folder in one sentence.

    Raises:
        UsageError: in place of OSError: no room, no permission, or something else in the way.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"cannot write to the cache folder {folder}: {error.strerror or error}; "
            f"{room_first(error)}set EQUIPOISE_CACHE to another folder"
        ) from error


def room_first(error: OSError) -> str:
    """What else helps than to choose another place, where a disk is full: the beginning of a sentence's advice."""
    return "make room there, or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""


def require_room(folder: Path, size: int) -> None:
    """Raise UsageError unless `size` bytes are free on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise UsageError(
            f"packed, the images take {size / 1e9:,.3g} GB, and on the disk of the cache folder {folder} there are "
            f"{free / 1e9:,.3g} GB: make room there, set EQUIPOISE_CACHE to another folder, or lower --resolution"
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


def remove_abandoned(folder: Path) -> None:
    """Remove what dead processes left in `folder`: partial folders whose lock nobody holds."""
    for partial in folder.glob(f"*{PARTIAL}"):
        lock = _file_lock(folder / f"{partial.name.split('.')[0]}.lock")
        with suppress(OSError):  # held by a living process (filelock.Timeout), or a file system without locks
            lock.acquire(blocking=False)
            shutil.rmtree(partial, ignore_errors=True)
        lock.release()


def _file_lock(path: Path) -> FileLock:
    # filelock's fallback for systems without flock is a marker file, which would outlive a killed holder.
    return FileLock(path, fallback_to_soft=False)


@contextmanager
def atomic_folder(final: Path) -> Iterator[Path]:
    """Yield a new folder to fill, which takes the name `final` when it is whole, or vanishes if the filling fails.

    An existing `final` is replaced.
    """
    partial = final.with_name(f"{final.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        partial.mkdir()  # in here, since Ctrl-C may come as soon as it is there
        with _held(partial):
            yield partial
        # The content must be on the disk before the name is: after a power cut, a renamed folder may hold empty files.
        for path in partial.iterdir():
            sync(path)
        sync(partial)
        _replace_folder(partial, final)
        sync(final.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def atomic_file(final: Path) -> Iterator[Path]:
    """Yield the path of a new file to write, which takes the name `final` when it is whole, or vanishes on failure.

    It is there already, empty and locked, so that `remove_leftovers` knows that somebody writes it.
    """
    partial = final.with_name(f".{final.name}.{secrets.token_hex(4)}{UNFINISHED}")
    try:
        partial.open("xb").close()
        with _held(partial):
            yield partial
        sync(partial)  # before the rename, as in `atomic_folder`
        partial.replace(final)
        sync(final.parent)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Lock a file or folder itself, where the system can do that, for as long as this process lives at most."""
    if fcntl is None:
        yield
        return
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove from `folder` what killed processes had begun to write there in place of `name`, or of anything."""
    stem = ".+" if name is None else re.escape(name)
    leftover = re.compile(rf"\.{stem}\.[0-9a-f]{{8}}\{UNFINISHED}|{stem}\.[0-9a-f]{{8}}\{PARTIAL}", re.DOTALL)
    with suppress(OSError):  # it is not there, or may not be read
        for path in folder.iterdir():
            if leftover.fullmatch(path.name) and not path.is_symlink() and _is_abandoned(path):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _is_abandoned(path: Path) -> bool:
    """Whether no living process has locked a file or folder, as far as that can be told."""
    if fcntl is None or not (path.is_file() or path.is_dir()):
        return False
    with suppress(OSError):  # somebody holds it, or a file system without locks
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return time.time() - os.fstat(handle).st_mtime > LOCKED_BY_THEN
        finally:
            os.close(handle)
    return False


def write_note(path: Path, text: str) -> None:
    """Write a small file that saves work later, or none: nothing depends on it.

    Processes may write the same note at once, so each writes a file of its own and renames it. There is no fsync: a
    note that a power cut spoils is not valid, and is written again.
    """
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{secrets.token_hex(4)}")
        try:
            fresh.write_text(text)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


def file_digest(path: Path, notes: Path, *, min_noted_bytes: int = MIN_NOTED_BYTES) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; that of a large file is noted in the folder `notes`.

    A note is valid while the file's place, size and times of change all stay the same.
    """
    stat = path.stat()
    # The time of the last status change (ctime) cannot be set by programs, so it reveals edits that restore the mtime.
    state = [str(path.resolve()), stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    note = notes / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]}.json"
    if stat.st_size >= min_noted_bytes:
        with suppress(OSError, ValueError):
            known = parse_json(DIGEST_NOTE, read_bytes(note))
            if known.state == state:
                return known.sha256
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if stat.st_size >= min_noted_bytes:
        write_note(note, json.dumps({"state": state, "sha256": digest}))
    return digest


def _replace_folder(partial: Path, final: Path) -> None:
    try:
        partial.rename(final)
    except OSError:
        if not final.exists():
            raise
        # A folder cannot be renamed over one that is not empty, so the old one is moved aside first. Between the two
        # renames there is none of that name, which a reader takes for data that was not packed yet.
        aside = final.with_name(f"{final.name}.{secrets.token_hex(4)}{PARTIAL}")
        with suppress(FileNotFoundError):  # another process was faster
            final.rename(aside)
        partial.rename(final)
        shutil.rmtree(aside, ignore_errors=True)


def sync(path: Path) -> None:
    """Force a file to the disk, or a folder, where the file system can do that.

    Raises:
        OSError: the disk refuses a file.
    """
    folder = path.is_dir()
    with suppress(OSError) if folder else nullcontext():  # Windows opens no folders, and some systems sync none
        handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
