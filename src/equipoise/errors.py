"""The errors that are meant for the person at the keyboard; the command line shows them without a traceback."""


def printable(name: str) -> str:
    """The name with escapes for control characters, with which a file could rewrite what the terminal shows."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


class UsageError(ValueError):
    """Something that was given cannot work; the message is one sentence that says what to do. Exit code 2."""


class Diverged(RuntimeError):  # noqa: N818
    """A loss stopped being finite; the last good checkpoint was kept. The message says what to try. Exit code 1."""


class Interrupted(Exception):  # noqa: N818
    """A signal stopped training; a checkpoint was written. Exit code 128 + the signal's number.

    Attributes:
        run: the run's folder, ready for `resume`.
        signal: the signal's number.
    """

    def __init__(self, run: str, images: int, signal: int) -> None:
        super().__init__(f"stopped at {images:,} images, nothing is lost: go on with `equipoise resume {run}`")
        self.run, self.signal = run, signal
