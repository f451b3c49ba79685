"""Parquet and Arrow files: one column of many files, read row by row in bounded memory."""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

from equipoise.data.sources.arrays import MAX_LOADED_BYTES
from equipoise.data.sources.base import source_errors
from equipoise.errors import UsageError, reason

PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".arrows", ".feather", ".ipc")

BATCH_ROWS, BATCH_BYTES = 64, 2**22  # rows decoded together: no more than either
CACHE_BYTES = 2**27  # of decoded rows, kept for threads that lag behind
OPEN_GROUPS = 32  # row groups that are decoded in part, and can be decoded on

Column = Callable[[int], Any]  # gives the pyarrow scalar of a row
ArrowSchema = Any  # pyarrow comes without types


@dataclass(frozen=True)
class Tables:
    """Rows of several files, one file after the other.

    Attributes:
        schemas: of each file, in order.
        counts: the rows of each file.
        column: opens the column of that name, to be read row by row, from any thread, in nearly increasing order.
        whole: reads a whole column, of small values.
    """

    schemas: Sequence[ArrowSchema]
    counts: Sequence[int]
    column: Callable[[str], Column]
    whole: Callable[[str], Any]


def open_tables(paths: Sequence[Path]) -> Tables:
    """Open files that are all Parquet or all Arrow, as their suffix says.

    Raises:
        UsageError: one of them is damaged.
    """
    return _open_parquet(paths) if paths[0].suffix.lower() in PARQUET else _open_arrow(paths)


def _open_parquet(paths: Sequence[Path]) -> Tables:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schemas, counts, groups = [], [], []
    for path in paths:
        with source_errors(path), pq.ParquetFile(path) as file:
            schemas.append(file.schema_arrow)
            counts.append(file.metadata.num_rows)
            for index in range(file.num_row_groups):
                group = file.metadata.row_group(index)
                groups.append(_Group(path, index, group.num_rows, group.total_byte_size))

    def whole(name: str) -> Any:
        parts = []
        for path, schema, count in zip(paths, schemas, counts, strict=True):
            with source_errors(path), pq.ParquetFile(path) as file:
                known = schema.names.count(name) == 1
                parts.append(file.read(columns=[name]).column(name) if known else pa.nulls(count))
                parts[-1].validate(full=True)  # text that is not UTF-8 would show only where it is read
        return _joined(parts, name)

    return Tables(schemas, counts, lambda name: _SequentialColumn(groups, name).value, whole)


def _open_arrow(paths: Sequence[Path]) -> Tables:
    """Map the record batches of all files; those compressed are unpacked into memory, up to MAX_LOADED_BYTES."""
    import pyarrow as pa

    unpacked = pa.total_allocated_bytes()
    schemas, counts, batches = [], [], []
    for path in paths:
        with source_errors(path):
            schema, file_batches = _record_batches(path)
            if pa.total_allocated_bytes() - unpacked > MAX_LOADED_BYTES:
                raise ValueError(f"unpacked it takes more than {MAX_LOADED_BYTES} bytes, so save it uncompressed")
        schemas.append(schema)
        counts.append(sum(batch.num_rows for batch in file_batches))
        batches += file_batches
    starts = list(accumulate((batch.num_rows for batch in batches), initial=0))

    def column(name: str) -> Column:
        columns = [batch.column(name) for batch in batches]

        def value(row: int) -> Any:
            index = bisect_right(starts, row) - 1
            return columns[index][row - starts[index]]

        return value

    def whole(name: str) -> Any:
        there = [batch.schema.names.count(name) == 1 for batch in batches]
        parts = zip(batches, there, strict=True)
        return _joined([batch.column(name) if known else pa.nulls(batch.num_rows) for batch, known in parts], name)

    return Tables(schemas, counts, column, whole)


def _joined(parts: Sequence[Any], name: str) -> Any:
    """A column from its part in each file, of the widest of their types; null where a file does not have it."""
    import pyarrow as pa

    try:
        tables = [pa.table({name: part}) for part in parts]
        return pa.concat_tables(tables, promote_options="permissive").column(name)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UsageError(
            f"the column {name!r} is of different kinds in some files ({reason(error)}): give one set of data at a time"
        ) from error


def _record_batches(path: Path) -> tuple[ArrowSchema, list[Any]]:
    """Map the record batches of a file, whether it is of the file format or the stream format."""
    opened, is_stream = _open_ipc(path)
    batches = list(opened) if is_stream else [opened.get_batch(index) for index in range(opened.num_record_batches)]
    for batch in batches:
        batch.validate(full=True)
    return opened.schema, [batch for batch in batches if batch.num_rows]


def _open_ipc(path: Path) -> tuple[Any, bool]:
    """Reader of an Arrow file, and whether it is of the stream format."""
    import pyarrow as pa

    with path.open("rb") as file:
        is_stream = file.read(6) != b"ARROW1"
    source = pa.memory_map(str(path))
    return (pa.ipc.open_stream if is_stream else pa.ipc.open_file)(source), is_stream


def read_schema(path: Path) -> ArrowSchema:
    """Schema of a file, of which no rows are read.

    Raises:
        UsageError: it is damaged.
    """
    import pyarrow.parquet as pq

    with source_errors(path):
        return pq.read_schema(path) if path.suffix.lower() in PARQUET else _open_ipc(path)[0].schema


@dataclass(frozen=True)
class _Group:
    path: Path
    index: int  # of the row group in its file
    rows: int
    size: int  # bytes, decoded

    @property
    def batch_rows(self) -> int:
        return max(1, min(BATCH_ROWS, BATCH_BYTES * self.rows // max(1, self.size)))


class _SequentialColumn:
    """Column of row groups, each of which can only be decoded from its start.

    Every group has a decoder that goes on where it was, so that reading in order decodes each row once; and the rows
    decoded last are cached, as threads that read in order are a little apart.
    """

    def __init__(self, groups: Sequence[_Group], column: str, max_cached_bytes: int = CACHE_BYTES) -> None:
        self.groups, self.column, self.max_cached_bytes = groups, column, max_cached_bytes
        self.starts = list(accumulate((group.rows for group in groups), initial=0))
        self.cached: OrderedDict[tuple[int, int], Any] = OrderedDict()  # by group and batch, the oldest first
        self.cached_bytes = 0
        self.decoders: OrderedDict[int, _Decoder] = OrderedDict()  # by group, the longest unused first
        self.lock = Lock()

    def value(self, row: int) -> Any:
        index = bisect_right(self.starts, row) - 1
        batch, offset = divmod(row - self.starts[index], self.groups[index].batch_rows)
        with self.lock:
            while (index, batch) not in self.cached:
                self._decode(index, batch)
            return self.cached[index, batch][offset]

    def _decode(self, index: int, batch: int) -> None:
        """Decode and cache the next batch of a group, from its start again if that is past the batch needed."""
        decoder = self.decoders.pop(index, None)
        if decoder is None or decoder.next > batch:
            decoder = _Decoder(self.groups[index], self.column)
        values = decoder.decode()
        if not decoder.done:
            self.decoders[index] = decoder
        self._cache((index, decoder.next - 1), values)
        while len(self.decoders) > OPEN_GROUPS:
            self.decoders.popitem(last=False)

    def _cache(self, key: tuple[int, int], values: Any) -> None:
        dropped = self.cached.pop(key, None)
        self.cached_bytes += values.nbytes - (0 if dropped is None else dropped.nbytes)
        self.cached[key] = values
        while self.cached_bytes > self.max_cached_bytes and len(self.cached) > 1:
            self.cached_bytes -= self.cached.popitem(last=False)[1].nbytes


class _Decoder:
    """Decoder of a row group from start to end; `next` is the number of the batch that comes next."""

    def __init__(self, group: _Group, column: str) -> None:
        self.group, self.next, self.batches = group, 0, _batches(group, column)

    @property
    def done(self) -> bool:
        return self.next * self.group.batch_rows >= self.group.rows

    def decode(self) -> Any:
        """The next batch; raises UsageError if the file is damaged."""
        with source_errors(self.group.path):
            values = next(self.batches, ())
            if len(values) != min(self.group.batch_rows, self.group.rows - self.next * self.group.batch_rows):
                raise ValueError("it has fewer rows than it says")
        self.next += 1
        return values


def _batches(group: _Group, column: str) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with closing(pq.ParquetFile(group.path, buffer_size=BATCH_BYTES, pre_buffer=False)) as file:
        for batch in file.iter_batches(group.batch_rows, row_groups=[group.index], columns=[column]):
            yield batch.column(column)
