"""Tar archives read once from front to back. Nothing in them is trusted: lengths are bounded, nothing is unpacked.

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
MAX_HEADER_BYTES = 2**20  # of an extended header, which may hold a long name
MAX_HEADERS = 64  # extended headers in a row
CHUNK = 2**20  # bytes read at a time
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
    """An archive, walked member by member; `read` gives the bytes of the member just reached.

    Args:
        raw: the archive, maybe compressed by gzip. A file that can seek is not read where it need not be.

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
        """Plain files; folders, links and devices are skipped, whatever their names."""
        name: str | None = None
        headers = 0
        while (header := self._header()) is not None:
            if header.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, *tarfile.GNU_TYPES[:2]):
                headers += 1
                long_name = self._extended_name(header, headers)
                name = long_name if long_name is not None else name
                continue
            size = 0 if header.type in WITHOUT_DATA else header.size
            start = self.position
            if header.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE):
                yield Member(header.name if name is None else name, start, size)
            name, headers = None, 0
            # Members are padded to whole blocks; the reader may have read this one, or not.
            self._skip(start + -(-size // BLOCK) * BLOCK - self.position)

    def read(self, member: Member) -> bytes:
        """Bytes of the member that was reached last."""
        assert self.position == member.offset  # noqa: S101
        return self._take(member.size)

    def _header(self) -> tarfile.TarInfo | None:
        """The next header block, or None where the archive ends as it should."""
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

    def _extended_name(self, header: tarfile.TarInfo, headers: int) -> str | None:
        """Name that an extended header holds for the next member, if it holds one."""
        if header.size > MAX_HEADER_BYTES or headers > MAX_HEADERS:
            raise DamagedTarError(f"has headers beyond all measure at byte {self.position - BLOCK:,}")
        data = self._take(header.size)
        self._skip(-header.size % BLOCK)
        if header.type == tarfile.GNUTYPE_LONGNAME:
            return data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
        return _pax_path(data) if header.type == tarfile.XHDTYPE else None

    def _take(self, size: int) -> bytes:
        """Read exactly `size` bytes, in pieces: a header may lie about a size, and memory is taken as bytes arrive."""
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
    """Value of `path` among records `length key=value`, or None."""
    path, start = None, 0
    while match := PAX.match(data, start):
        end = start + int(match[1])
        if end <= match.end():  # damaged, and would go round for ever
            break
        if match[2] == b"path":
            path = data[match.end() : end - 1].decode("utf-8", "surrogateescape")
        start = end
    return path
