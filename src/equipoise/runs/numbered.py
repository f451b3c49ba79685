"""Files named by the images seen by then, such as `000000012000.png`; all others in a folder are somebody else's."""

import re
from pathlib import Path


def numbered_name(images: int, suffix: str, prefix: str = "") -> str:
    """Name of the file that is written after `images` images."""
    return f"{prefix}{images:012d}{suffix}"


def images_of(file: Path) -> int:
    """Images seen by the time of a file that `numbered_files` has found, which are its name."""
    return int(file.stem.rpartition("-")[2])


def numbered_files(folder: Path, suffix: str, prefix: str = "") -> list[Path]:
    """Plain files in `folder` of exactly the names that `numbered_name` gives, by the images seen.

    Copies that a person has made (`000000012000 copy.png`), folders and pipes of such a name are left out.
    """
    name = re.compile(rf"{re.escape(prefix)}(\d{{12}}|[1-9]\d{{12,}}){re.escape(suffix)}", re.ASCII)
    try:
        found = [file for file in folder.glob(f"{prefix}*{suffix}") if name.fullmatch(file.name) and file.is_file()]
    except FileNotFoundError:  # a folder that is deleted while `glob` looks
        return []
    return sorted(found, key=images_of)


def free_folder(name: str, parent: Path = Path("runs")) -> Path:
    """The first of runs/NAME-001, runs/NAME-002 … that is free; what is unusual in a file's name becomes a dash."""
    name = re.sub(r"[^\w.-]+", "-", name)
    return next(path for number in range(1, 10**6) if not (path := parent / f"{name}-{number:03d}").exists())
