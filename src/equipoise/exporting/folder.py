"""The folder that an export fills: it appears whole, or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from equipoise.data.cache import atomic_folder, remove_leftovers
from equipoise.errors import UsageError, reason
from equipoise.reading import check_name


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder to fill, which takes the name `out` when it is whole, or vanishes.

    Raises:
        UsageError: `out` is there and not empty, or cannot be written.
    """
    check_name(out)
    final = out.absolute()
    try:
        if final.exists() and (not final.is_dir() or any(final.iterdir())):
            raise UsageError(f"{out} is not an empty folder: choose another --out")
        final.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(final.parent, final.name)
        with atomic_folder(final) as partial:
            yield partial
    except OSError as error:
        raise UsageError(f"cannot write {out}: {reason(error)}; make room there, or choose another --out") from error


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def size_text(count: int) -> str:
    """Bytes in words: 1.2 MB, 340 kB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} kB"
