"""Standard streams whose other end goes away."""

import errno
import io
import os
import re
import subprocess
import sys
from typing import TextIO

import pytest
from rich.console import Console

from equipoise.views.streams import LossyStream
from equipoise.views.terminal import Display, error_console


def broken_pipe() -> TextIO:
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", buffering=1)


class Failing(io.StringIO):
    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def closed() -> TextIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("make", [broken_pipe, Failing, closed, lambda: None], ids=["pipe", "disk", "closed", "none"])
def test_what_cannot_be_written_is_lost(make: "type[TextIO]") -> None:
    stream = LossyStream(make())
    for _ in range(2):
        assert stream.write("some words\n") == 11
        stream.flush()
    assert not stream.isatty()
    Console(file=stream).print("[bold]more[/] words")


def test_nothing_is_lost_while_the_other_end_is_there() -> None:
    heard = io.StringIO()
    stream = LossyStream(heard)
    print("some words", file=stream, flush=True)
    assert heard.getvalue() == "some words\n"
    assert stream.encoding == "utf-8"


def test_a_pipe_without_a_reader_can_be_closed() -> None:
    stream = broken_pipe()
    stream.reconfigure(line_buffering=False)  # type: ignore[attr-defined]
    LossyStream(stream).write("kept in memory, as Python's own buffers do")
    LossyStream(stream).flush()
    stream.close()  # what it still held goes nowhere


def test_a_display_outlives_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", broken_pipe())
    with Display(1000, "BEGAN on digits", error_console()) as display:
        display.message("warning", "nobody reads this")
        display.update(500, {"k": 0.1})


@pytest.mark.parametrize("buffered", ["-u", "-E"])
def test_the_general_help_without_a_reader(buffered: str) -> None:
    """141, as the shell reports of any program; and a disk that is full is told."""
    script = f"import sys; sys.path = {sys.path}; from equipoise.cli.main import main; sys.exit(main(['--help']))"
    command = [sys.executable, buffered, "-c", script]
    with broken_pipe() as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (141, "")
    if os.path.exists("/dev/full"):  # noqa: PTH110
        with open("/dev/full", "w") as full:  # noqa: PTH123
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 2
        assert done.stderr.startswith("equipoise: the system refuses: No space left on device; make room")


CLOSED = """
import os, sys
from equipoise.cli.main import main
code = main(sys.argv[1:])
assert [os.readlink(f"/proc/self/fd/{number}") for number in (0, 1, 2)] == [os.devnull] * 3, "no file of ours is there"
sys.exit(code)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="looks at files as Linux lists them")  # noqa: PTH110
@pytest.mark.parametrize(("words", "code"), [(["--version"], 0), (["sample", "--help"], 0), (["sample", "nothing"], 2)])
def test_streams_that_are_closed_lead_nowhere(words: list[str], code: int) -> None:
    """As in `equipoise … <&- >&- 2>&-`: what is opened later does not take their numbers."""
    command = 'exec "$@" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", command, "sh", sys.executable, "-c", CLOSED, *words], check=False)
    assert done.returncode == code


WARNS = """
import subprocess, sys, warnings
from equipoise.views.streams import quiet_libraries

with quiet_libraries():
    warnings.warn("of a library", FutureWarning)
    subprocess.run([sys.executable, "-c", "import warnings; warnings.warn('of a child')"])
warnings.warn("of the caller")
subprocess.run([sys.executable, "-c", "import warnings; warnings.warn('of his child')"])
"""


def test_warnings_of_libraries_are_for_those_who_ask() -> None:
    def shown(*options: str) -> list[str]:
        done = subprocess.run([sys.executable, *options, "-c", WARNS], capture_output=True, text=True)
        return re.findall(r"Warning: (.*)", done.stderr)

    assert shown() == ["of the caller", "of his child"]
    assert shown("-W", "always") == ["of a library", "of a child", "of the caller", "of his child"]
