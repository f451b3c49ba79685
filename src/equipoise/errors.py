"""The errors that are meant for the person at the keyboard; the command line shows them without a traceback."""

import difflib
import re
import reprlib
import shlex
from collections.abc import Iterable
from pathlib import Path

MOST_QUOTED = 100  # characters of a value from outside in a message
MOST_REASON = 200  # characters of what a library or a server says
MOST_SHOWN = 2_000  # characters of a message


class MessageError(Exception):
    """An error whose message is shown as it is: one line of MOST_SHOWN characters at most, whatever was put into it."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message, MOST_SHOWN))


class UsageError(MessageError, ValueError):
    """Something that was given cannot work; the message is one sentence that says what to do. Exit code 2."""


class UsageWarning(UserWarning):
    """Something that a person should know, although it works; the command line shows it in one line on stderr."""


class Diverged(MessageError, RuntimeError):  # noqa: N818
    """A loss stopped being finite; the last good checkpoint was kept. The message says what to try. Exit code 1."""


class Interrupted(MessageError):  # noqa: N818
    """A signal stopped training; a checkpoint was written. Exit code 128 + the signal's number.

    Attributes:
        run: the run's folder, ready for `resume`.
        signal: the signal's number.
    """

    def __init__(self, run: str, images: int, signal: int) -> None:
        super().__init__(f"stopped at {images:,} images, nothing is lost: go on with `equipoise resume {as_word(run)}`")
        self.run, self.signal = run, signal


class StudyInterrupted(Interrupted):
    """A signal stopped a study; its trials have written their checkpoints. Exit code 128 + the signal's number."""

    def __init__(self, folder: str, done: int, total: int, signal: int) -> None:
        MessageError.__init__(
            self,
            f"stopped with {done} of {total} trials done, nothing is lost: "
            f"go on with `equipoise study {as_word(folder)}`",
        )
        self.run, self.signal = folder, signal


def one_line(text: str, most: int) -> str:
    """`text` on one line, what is not printable escaped, and its middle left out where it is longer than `most`."""
    spaced = re.sub(r"\s*[\t\n\v\f\r\x85\u2028\u2029]\s*", " ", _shortened(text, most)).strip()
    return _shortened(printable(spaced), most)


def printable(text: str) -> str:
    """`text` with all that is not printable escaped."""
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    """`letter` as an escape; one that stands for a byte of a file's name that is not UTF-8, as that byte."""
    is_byte = "\udc80" <= letter <= "\udcff"
    return f"\\x{ord(letter) & 0xFF:02x}" if is_byte else letter.encode("unicode_escape").decode()


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2].rstrip()} … {text[-(most // 2 - 3) :].lstrip()}"


class _Quotes(reprlib.Repr):
    """`repr` in bounded time and length, of values that stand for more than there is memory as well."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxtuple, self.maxdict, self.maxset = 3, 4, 4, 4, 4
        self.maxstring = self.maxlong = self.maxother = MOST_QUOTED - 2

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write numbers of more than 4300 digits, and takes long for those.
        return super().repr_int(x, level) if x.bit_length() < 1000 else f"a number of {x.bit_length()} bits"


_QUOTES = _Quotes()


def quoted(value: object) -> str:
    """`repr` of a value from outside, for a message: on one line of about MOST_QUOTED characters at most."""
    return one_line(_QUOTES.repr(value), MOST_QUOTED)


def counted(count: int, noun: str) -> str:
    """A number of things in words."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def did_you_mean(unknown: str, known: Iterable[str]) -> str:
    """' (did you mean ...?)' with the known word most similar to `unknown`, or '' if none is."""
    near = difflib.get_close_matches(unknown, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def as_word(path: Path | str) -> str:
    """`path` as one word of a command that a message says to run; no word of it is taken for a flag."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def reason(error: BaseException) -> str:
    """What an error of a library or of the system says, for a message: one line of MOST_REASON characters at most."""
    return one_line(str(getattr(error, "strerror", None) or error), MOST_REASON) or type(error).__name__
