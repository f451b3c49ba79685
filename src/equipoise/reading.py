"""Files that may be anything, read without waiting and within bounds; and JSON in them, of a declared form."""

import errno
import io
import os
import stat
import warnings
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from equipoise.errors import UsageError, quoted, reason

MOST_TEXT = 2**20  # bytes of a configuration, a file of scores, a note
MOST_VALUES = 10_000  # that YAML stands for, once its aliases are replaced
MOST_NESTED = 100  # levels of YAML
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, if PyYAML has it, is ten times as fast

T = TypeVar("T")


def expand_home(path: str | os.PathLike[str]) -> Path:
    """`path` with a leading ~ replaced by a home folder, where there is such a one."""
    return Path(os.path.expanduser(path))  # noqa: PTH111  # Path's own raises RuntimeError where there is none


def open_plain(path: Path) -> BinaryIO:
    """Open a plain file for reading; a pipe would be waited for, and a device may have no end.

    Raises:
        OSError: it is not there, may not be read, or is no plain file.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
        return io.open(descriptor, "rb")  # noqa: UP020  # of a descriptor, which Path.open does not take
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path, most: int = MOST_TEXT) -> bytes:
    """All of a plain file of at most `most` bytes.

    Raises:
        OSError: as `open_plain`, or it is larger.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size  # reading takes memory for as many bytes as are asked for
        if size > most:
            raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
        return file.read(size)


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """All of a plain UTF-8 file of at most `most` bytes, with or without a byte order mark.

    Raises:
        OSError: as `read_bytes`, or it is not UTF-8.
    """
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise OSError(errno.EILSEQ, "it is not text in UTF-8", str(path)) from error


def load_torch(path: Path) -> Any:
    """What torch.save has written, on the CPU: tensors and plain values alone, as nothing else is unpickled.

    Raises:
        OSError: as `open_plain`.
        Exception: nearly any, where the file is damaged or holds something else.
    """
    import torch

    with open_plain(path) as file, warnings.catch_warnings(action="ignore"):  # of pickles that it may not read
        return torch.load(file, "cpu", weights_only=True)


def parse_json(kind: TypeAdapter[T], text: bytes | str) -> T:
    """JSON of the form that `kind` declares.

    Raises:
        ValueError: it is not JSON, nested too deep, or of another form; the message says where and what.
    """
    try:
        return kind.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{quoted(place)[1:-1]}: {first['msg']}" if place else first["msg"]) from error


def parse_yaml(text: str) -> object:
    """Plain values in YAML.

    Aliases can make a few lines stand for more values than there is memory, and merging keys would build them all.

    Raises:
        ValueError: it is not YAML, is nested too deep, stands for more than MOST_VALUES values, or has a key twice.
    """
    try:
        try:
            return _plain_values(text, LOADER)
        except (yaml.YAMLError, UnicodeEncodeError):
            # libyaml knows no lone surrogates, which stand for those bytes of a file's name that are no text.
            return _plain_values(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"it is not valid YAML: {reason(error)}") from error


def _plain_values(text: str, kind: Any) -> object:
    """The values by a loader of this kind; it raises as `parse_yaml`, or a YAMLError."""
    depth = 0
    for event in yaml.parse(text, kind):  # a flat loop; what follows recurses, in C without a limit of its own
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_NESTED:
            raise ValueError("it is no YAML to be read: it is nested too deep")
    loader = kind(text)
    node = loader.get_single_node()
    if node is None:
        return None
    counts: dict[yaml.Node, int] = {}
    if _count_values(node, counts) > MOST_VALUES:
        raise ValueError(f"its aliases stand for more than {MOST_VALUES:,} values")
    for mapping in (each for each in counts if isinstance(each, yaml.MappingNode)):
        _refuse_repeated_keys(mapping)
    return loader.construct_document(node)


def _refuse_repeated_keys(mapping: yaml.MappingNode) -> None:
    """Raise ValueError where a key stands twice, of which YAML loaders would take the last in silence."""
    keys: set[tuple[str, str]] = set()
    for key in (key for key, _ in mapping.value if isinstance(key, yaml.ScalarNode)):
        if (key.tag, key.value) in keys:
            line = key.start_mark.line + 1
            raise ValueError(f"{quoted(key.value)[1:-1]} is there twice, again in line {line}: leave one of them out")
        keys.add((key.tag, key.value))


def _count_values(node: yaml.Node, counts: dict[yaml.Node, int]) -> int:
    """Number of values that a node stands for, itself counted; one within itself has no end."""
    if node not in counts:
        counts[node] = MOST_VALUES + 1
        inner = chain.from_iterable(node.value) if isinstance(node, yaml.MappingNode) else node.value
        below = inner if isinstance(node, yaml.CollectionNode) else ()
        counts[node] = 1 + sum(_count_values(each, counts) for each in below)
    return counts[node]


def is_text(path: str | os.PathLike[str]) -> bool:
    """Whether a name is text, or holds bytes of another encoding than UTF-8, which some libraries cannot open."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def check_name(path: str | os.PathLike[str]) -> None:
    """Refuse what no file can be called, before anything is done with it.

    Raises:
        UsageError: it holds a NUL, or a lone surrogate that stands for no byte.
    """
    try:
        usable = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise UsageError(f"{quoted(os.fspath(path))} holds characters that no file's name can have: correct it")
