"""The size of what an export writes."""

from pathlib import Path


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def size_text(count: int) -> str:
    """Bytes in words: 1.2 MB, 340 kB."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{max(1, round(count / 1e3))} kB"
