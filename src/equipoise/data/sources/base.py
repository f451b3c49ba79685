"""Interface of all kinds of data: images read one by one, from any thread, in an order that never changes."""

import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from equipoise.data.digests import Stored
from equipoise.errors import UsageError, quoted, reason

Labels = NDArray[np.int64]  # (N,)
LabelsAndClasses = tuple[Labels | None, tuple[str, ...] | None]  # labels, and the names of 0, 1, .. where there are any
Column = Callable[[], LabelsAndClasses]  # reads labels that can be chosen instead of a source's own

ARCHIVE_DAMAGE = (BadZipFile, tarfile.TarError, EOFError, zlib.error, struct.error)
DAMAGE = (OSError, ValueError, OverflowError, RuntimeError, *ARCHIVE_DAMAGE)


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """What is known of N images beside their pixels.

    Attributes:
        labels: those that are taken where no others are chosen, if they are known already.
        classes: names of the labels 0, 1, ..
        columns: labels to choose from, by name.
        label: which of the columns is taken where no other is chosen, if any; it is read only then, as it may be unfit.
        held_out: (N,) the images that the data itself holds out from training, if it says so.
        notes: what is there and not used, and what a user should know of the labels, in sentences.
    """

    labels: Labels | None = None
    classes: tuple[str, ...] | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)
    label: str | None = None
    held_out: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Contents(Annotations):
    """Images of an opened source.

    Attributes:
        names: of each image.
        read: gives image i as it is stored; raises UnreadableError, OSError or anything where it cannot be used.
    """

    names: Sequence[str]
    read: Callable[[int], Stored]


@dataclass(frozen=True)
class Source:
    """Data that exists, but was not read yet.

    Attributes:
        name: as the user gave it.
        identity: strings and files that change when the content does; of a path, the bytes of its file count.
        contents: opens the data; raises UsageError where it is damaged as a whole.
        notes: what lies there and is not used, in sentences, as far as that is known without opening the data.
        border: the plain colour that surrounds every image, where it is known.
    """

    name: str
    identity: tuple[str | Path, ...]
    contents: Callable[[], AbstractContextManager[Contents]]
    notes: tuple[str, ...] = ()
    border: str | None = None


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
        if isinstance(error, OSError) and error.errno:  # of the system, where a library's own have no number
            place = quoted(str(error.filename or path))
            raise UsageError(f"cannot read {place}: {reason(error)}; check the path and the disk") from error
        raise UsageError(
            f"{path} is damaged or not what its name says: {reason(error)}; get or write it again"
        ) from error
