"""Tar archives read once from front to back, trusting nothing: every length is bounded, nothing is ever unpacked.

The formats are those of POSIX (ustar and pax) and GNU tar. `tarfile` of the standard library parses the header
blocks; the walk from block to block is here, since `tarfile` reads extended headers of any length into memory and
takes an archive that was cut off between two members for a whole one.
"""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, cast

BLOCK = 512
LARGEST_HEADER = 2**20  # bytes of an extended header, which may hold a long name
MOST_HEADERS = 64  # extended headers in a row
CHUNK = 2**20  # bytes read at a time while passing over a member
GZIP = b"\x1f\x8b"
WITHOUT_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
PAX = re.compile(rb"(\d{1,7}) ([^=]+)=")


class DamagedTarError(ValueError):
    """The archive is cut off or holds what no tar holds; the message says where."""


class Member(NamedTuple):
    """A plain file in an archive, `size` bytes from `offset` on."""

    name: str
    offset: int
    size: int


class Tar:
    """Walks over the members of an archive; `read` gives the bytes of the one just reached.

    Args:
        raw: the archive, maybe compressed by gzip. What can seek is not read where it need not be.

    Raises:
        DamagedTarError: from `members` and `read`, where the archive is cut off or damaged.
    """

    def __init__(self, raw: BinaryIO) -> None:
        buffered = io.BufferedReader(cast(io.RawIOBase, raw), CHUNK) if isinstance(raw, io.RawIOBase) else raw
        self.compressed = buffered.peek(2)[:2] == GZIP if isinstance(buffered, io.BufferedReader) else False
        self.file = cast(BinaryIO, gzip.GzipFile(fileobj=buffered) if self.compressed else buffered)
        self.length = None if self.compressed or not raw.seekable() else raw.seek(0, io.SEEK_END)
        if self.length is not None:
            self.file.seek(0)
        self.position = 0

    def members(self) -> Iterator[Member]:
        """Give each plain file; folders, links and devices are passed over, whatever their names."""
        name: str | None = None
        headers = 0
        while (header := self._header()) is not None:
            if header.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, *tarfile.GNU_TYPES[:2]):
                headers += 1
                found = self._extended(header, headers)
                name = found if found is not None else name
                continue
            size = 0 if header.type in WITHOUT_DATA else header.size
            start = self.position
            if header.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
                yield Member(header.name if name is None else name, start, size)
            name, headers = None, 0
            self._skip(start + -(-size // BLOCK) * BLOCK - self.position)

    def read(self, member: Member) -> bytes:
        """Read the member that was reached last."""
        assert self.position == member.offset  # noqa: S101
        return self._take(member.size)

    def _header(self) -> tarfile.TarInfo | None:
        """Read one header block, or None where the archive ends as it should."""
        block = self._take(BLOCK)
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            return None
        except (tarfile.HeaderError, ValueError) as error:
            raise DamagedTarError(f"is damaged at byte {self.position - BLOCK:,} ({error})") from error
        if header.size < 0:
            raise DamagedTarError(f"is damaged at byte {self.position - BLOCK:,} (a member of negative size)")
        return header

    def _extended(self, header: tarfile.TarInfo, headers: int) -> str | None:
        """Read an extended header, and give the name that it holds for the next member."""
        if header.size > LARGEST_HEADER or headers > MOST_HEADERS:
            raise DamagedTarError(f"has headers beyond all measure at byte {self.position - BLOCK:,}")
        data = self._take(header.size)
        self._skip(-header.size % BLOCK)
        if header.type == tarfile.GNUTYPE_LONGNAME:
            return data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
        return _pax_path(data) if header.type == tarfile.XHDTYPE else None

    def _take(self, size: int) -> bytes:
        """Read exactly so many bytes."""
        pieces, left = [], size
        while left:
            piece = self._read(min(left, CHUNK))
            pieces.append(piece)
            left -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _skip(self, size: int) -> None:
        if self.length is None:
            while size > 0:
                size -= len(self._read(min(size, CHUNK)))
        elif size > 0:
            if self.position + size > self.length:
                raise DamagedTarError(f"is cut off at byte {self.length:,}")
            self.file.seek(size, io.SEEK_CUR)
            self.position += size

    def _read(self, size: int) -> bytes:
        try:
            piece = self.file.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DamagedTarError(f"is cut off or damaged at byte {self.position:,} (unpacked: {error})") from error
        if not piece:
            raise DamagedTarError(f"is cut off at byte {self.position:,}")
        self.position += len(piece)
        return piece


def _pax_path(data: bytes) -> str | None:
    """The value of `path` among records `length key=value`."""
    path, start = None, 0
    while match := PAX.match(data, start):
        end = start + int(match[1])
        if end <= match.end():
            break
        if match[2] == b"path":
            path = data[match.end() : end - 1].decode("utf-8", "surrogateescape")
        start = end
    return path
