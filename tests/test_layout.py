"""The rooms and their order that docs/architecture.md states: each room imports only what stands above it."""

import ast
import re
from pathlib import Path

import equipoise

SOURCE = Path(equipoise.__file__).parent
PAGE = Path(__file__).parents[1] / "docs/architecture.md"
ORDER = re.findall(r"^\| `(\w+)/?` \|", PAGE.read_text(), flags=re.M)
APART = {"objectives", "networks", "data", "metrics"}  # these never import one another
LOOSE = 6  # modules beside the rooms


def imported(file: Path) -> set[str]:
    """The rooms and loose modules of equipoise that `file` imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [f"{node.module}.{alias.name}" for alias in node.names] if names == ["equipoise"] else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name.split(".")[1] for name in names if name.startswith("equipoise.")}
    return found


def rooms() -> set[str]:
    entries = {path.name.removesuffix(".py") for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    loose = {path.stem for path in SOURCE.glob("*.py")} - {"__init__", "__main__"}
    assert len(loose) <= LOOSE
    return entries | loose


def test_the_page_names_every_room_and_no_other() -> None:
    assert sorted(ORDER) == sorted(rooms())


def test_each_room_imports_only_what_stands_above_it() -> None:
    files = [file for file in SOURCE.rglob("*.py") if file.parent != SOURCE or not file.name.startswith("__")]
    assert len(files) > 20
    for file in files:
        home = file.relative_to(SOURCE).parts[0].removesuffix(".py")
        allowed = set(ORDER[: ORDER.index(home) + 1])
        if home in APART:
            allowed -= APART - {home}
        assert imported(file) <= allowed, file


def test_no_file_is_longer_than_300_lines() -> None:
    assert {
        file.name: length for file in SOURCE.rglob("*.py") if (length := len(file.read_text().splitlines())) > 300
    } == {}
