"""What fuzzers share: a watch over what reading does, and mutations of valid files."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MOST_MEMORY = 128 * 2**20  # bytes of resident memory that no input of a few kilobytes may take


# Watching what reading does


class Watch:
    """Sees what the interpreter does while `inside` is a folder: the only one that may be written to."""

    inside: Path | None = None
    seen: list[str]

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.inside is None:
            return
        if event.startswith(("subprocess", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect")):
            self.seen.append(f"{event} {arguments}")
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink"}:
            path, folder = arguments[0], arguments[-1] if event in {"os.remove", "os.rmdir"} else -1
            here = Path.cwd() if folder == -1 else Path(f"/proc/self/fd/{folder}").readlink()
            if isinstance(path, str | bytes | os.PathLike) and self.outside(here / os.fsdecode(path)):
                self.seen.append(f"{event} {path!r}")

    def outside(self, path: Path) -> bool:
        assert self.inside is not None
        return not Path(os.path.normpath(path)).is_relative_to(self.inside)


WATCH = Watch()
sys.addaudithook(WATCH)


@contextmanager
def watched(folder: Path, most: int = MOST_MEMORY) -> Iterator[None]:
    """Assert that nothing is written but into `folder`, nothing is started, and memory stays below `most`."""
    before, WATCH.seen = resident("VmRSS"), []
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    WATCH.inside = folder
    try:
        yield
    finally:
        WATCH.inside = None
    assert WATCH.seen == []
    assert resident("VmHWM") - before < most


def resident(name: str) -> int:
    """Bytes, of VmRSS (now) or VmHWM (at the peak)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


# Mutations

EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1]


@st.composite
def edits(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """One change of a file, near its start or end (where headers are) or anywhere."""
    near, place = draw(st.sampled_from(["start", "end", "any"])), draw(st.integers(0, 2**16))
    what = draw(st.sampled_from(["flip", "cut", "drop", "insert", "repeat", "extreme"]))
    count, data = draw(st.integers(1, 40)), draw(st.binary(min_size=1, max_size=16))
    width, order = draw(st.sampled_from([1, 2, 4, 8])), draw(st.sampled_from(["little", "big"]))
    number = draw(st.sampled_from(EXTREMES)) % 256**width

    def edit(file: bytes) -> bytes:
        size = max(1, len(file))
        at = {"start": place % min(size, 200), "end": size - 1 - place % min(size, 200), "any": place % size}[near]
        changed = {
            "flip": file[at : at + 1].translate(bytes(255 - value for value in range(256))) + file[at + 1 :],
            "cut": b"",
            "drop": file[at + count :],
            "insert": data + file[at:],
            "repeat": file[at : at + count] * 3 + file[at + count :],
            "extreme": number.to_bytes(width, order) + file[at + width :],
        }
        return file[:at] + changed[what]

    return edit


MUTATIONS = st.lists(edits(), min_size=1, max_size=4)


def mutated(file: bytes, changes: list[Callable[[bytes], bytes]]) -> bytes:
    for change in changes:
        file = change(file)
    return file


def tries(count: int, *, fixed: bool) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=fixed,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
