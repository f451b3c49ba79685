"""Interface of all kinds of data: images read one by one, from any thread, in an order that never changes."""

import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from equipoise.data.digests import Stored
from equipoise.errors import UsageError, reason

Labels = NDArray[np.int64]  # (N,)

ARCHIVE_DAMAGE = (BadZipFile, tarfile.TarError, EOFError, zlib.error, struct.error)
DAMAGE = (OSError, ValueError, OverflowError, RuntimeError, *ARCHIVE_DAMAGE)


@dataclass(frozen=True)
class Contents:
    """Images of an opened source; image i is stored as `read(i)`, named names[i], of class labels[i]."""

    names: Sequence[str]
    read: Callable[[int], Stored]  # raises UnreadableError, OSError or anything for an image that cannot be used
    labels: Labels | None = None
    classes: tuple[str, ...] | None = None  # names of the labels 0, 1, ..
    border: str | None = None  # the plain colour that surrounds every image, where there is one


@dataclass(frozen=True)
class Source:
    """Data that exists, but was not read yet.

    Attributes:
        name: as the user gave it.
        identity: strings and files that change when the content does; of a path, the bytes of its file count.
        contents: opens the data; raises UsageError where it is damaged as a whole.
    """

    name: str
    identity: tuple[str | Path, ...]
    contents: Callable[[], AbstractContextManager[Contents]]


@contextmanager
def source_errors(path: Path) -> Iterator[None]:
    """Report what goes wrong while a whole file or folder is opened in one sentence.

    Raises:
        UsageError: always in place of OSError, ValueError and the errors of damaged archives.
    """
    try:
        yield
    except UsageError:
        raise
    except PermissionError as error:
        raise UsageError(f"no permission to read {error.filename or path}: change its mode or owner") from error
    except FileNotFoundError as error:
        raise UsageError(f"there is no {error.filename or path}: check the path") from error
    except MemoryError as error:
        raise UsageError(f"{path} does not fit into memory: save its images with np.save, as an .npy file") from error
    except DAMAGE as error:
        raise UsageError(
            f"{path} is damaged or not what its name says: {reason(error)}; get or write it again"
        ) from error
