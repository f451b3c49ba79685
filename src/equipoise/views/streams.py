"""Standard streams whose other end may go away: a pipe's reader that leaves, a terminal that is closed, a full disk."""

import errno
import io
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from equipoise.errors import UsageWarning

GONE = {errno.EPIPE, errno.EIO}  # the reader of a pipe, and the other side of a terminal


class LossyStream(io.TextIOBase):
    """A text stream for what may get lost: once `stream` fails, nothing more is written to it, and nobody is told.

    Args:
        stream: where the text goes; None for nowhere, as Python has it where a standard stream is closed.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """That of the stream."""
        return self._encoding

    def isatty(self) -> bool:
        """Whether the text goes to a terminal."""
        with self._losing():
            return self._stream is not None and self._stream.isatty()
        return False

    def fileno(self) -> int:
        """The stream's descriptor.

        Raises:
            OSError: it has none.
        """
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write `text`, or lose it."""
        with self._losing():
            if self._stream is not None:
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is still in memory, or lose it."""
        with self._losing():
            if self._stream is not None:
                self._stream.flush()

    @contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # ValueError: it was closed
            if self._stream is not None and getattr(error, "errno", None) in GONE:
                lead_nowhere(self._stream)
            self._stream = None


def open_standard_streams() -> None:
    """Let standard streams that are closed lead nowhere.

    Else the next file that is opened, such as a checkpoint, gets the number of a closed stream, and with it whatever a
    library writes there; and Python has None for the stream, which not every library expects.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # of a number


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Inside, warnings of libraries, which name their own files, are not shown, nor by processes that are started.

    They are for programmers: who asks for them by `python -W` or PYTHONWARNINGS sees them. What concerns a user is said
    in a sentence of ours.
    """
    if sys.warnoptions:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", append=True)  # after what a test has set, for one
        warnings.simplefilter("once", UsageWarning)
        warnings.showwarning = _say_warning
        os.environ["PYTHONWARNINGS"] = "ignore"
        try:
            yield
        finally:
            os.environ.pop("PYTHONWARNINGS", None)


def _say_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"warning: {message}", file=LossyStream(sys.stderr), flush=True)


def flush_standard_streams() -> OSError | None:
    """Write what `print` left in memory, and return the error of stdout, if there is one.

    A stream that fails leads nowhere from now on: Python flushes both once more when it exits, and would then end with
    an exit code of its own, 120.
    """
    errors: list[OSError | None] = []
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
            errors.append(None)
        except OSError as error:
            lead_nowhere(stream)
            errors.append(error)
    return errors[0]


def lead_nowhere(stream: TextIO) -> None:
    """Let all that is written to `stream`, and what it still holds, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)
