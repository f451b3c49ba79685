"""Characters that a stream cannot write: plain ones in their place, and bytes of names that are no text as they are."""

import codecs
import sys
from io import TextIOWrapper

ASCII = str.maketrans({"ℒ": "L", "γ": "gamma", "λ": "lambda", "×": "x", "·": "-", "–": "-", "…": "...", "—": "-"}) | {
    ord("±"): "+-"
}
PLAIN = "equipoise.plain"  # name of the error handler


def plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """The first character that could not be encoded: as the byte that it stands for, in ASCII, or as a ?."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    is_byte = "\udc80" <= letter <= "\udcff"  # of a file's name that is not in the system's encoding
    return bytes([ord(letter) & 0xFF]) if is_byte else ASCII.get(ord(letter), "?"), error.start + 1


codecs.register_error(PLAIN, plain)


def write_anything() -> None:
    """Let stdout and stderr write any text, whatever their encoding is."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=PLAIN)
