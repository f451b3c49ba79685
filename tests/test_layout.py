"""The order of imports that docs/architecture.md promises: each module imports only what stands before it."""

import ast
from pathlib import Path

import equipoise

SOURCE = Path(equipoise.__file__).parent
ORDER = [
    *[
        "errors",
        "measures",
        "players",
        "transfer",
        "allocator",
        "randomness",
        "objectives",
        "networks",
        "data",
        "metrics",
        "team",
        "step",
        "playback",
        "quantities",
        "pairing",
        "config",
        "presets",
        "checkpoint",
        "journal",
        "lock",
        "run",
    ],
    *[
        "dealing",
        "schedule",
        "window",
        "progress",
        "compiling",
        "symptoms",
        "health",
        "divergence",
        "pictures",
        "scatter",
        "report",
        "display",
        "latents",
        "inpainting",
        "scores",
    ],
    *[
        "image_sets",
        "passes",
        "judge",
        "toy_evaluation",
        "evaluation",
        "saver",
        "recorder",
        "signals",
        "loop",
        "training",
        "bench",
        "flags",
        "commands",
        "cli",
    ],
    "__main__",
]
APART = {"objectives", "networks", "data", "metrics"}  # these never import one another


def imported(file: Path) -> set[str]:
    """The top-level modules of equipoise that `file` imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [f"{node.module}.{alias.name}" for alias in node.names] if names == ["equipoise"] else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        found |= {name.split(".")[1] for name in names if name.startswith("equipoise.")}
    return found


def test_each_module_imports_only_what_stands_before_it() -> None:
    files = [file for file in SOURCE.rglob("*.py") if file != SOURCE / "__init__.py"]
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
