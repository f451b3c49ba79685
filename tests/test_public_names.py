"""What `import equipoise` offers, in processes that have imported nothing else."""

import ast
import subprocess
import sys
from pathlib import Path

import equipoise

PUBLIC = {
    *(
        "BEGAN",
        "PRESETS",
        "Autoencoder",
        "Diverged",
        "Interrupted",
        "Run",
        "Scores",
        "Suggestion",
        "TrainConfig",
        "UsageError",
    ),
    *(
        "directions",
        "evaluate",
        "export",
        "import_weights",
        "interpolate",
        "invert",
        "load",
        "list_runs",
        "load_generator",
    ),
    *("outliers", "reconstruct", "resume", "sample", "serve", "study", "suggest", "train", "traverse"),
}


def printed(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_dir_shows_the_public_names_without_importing_them() -> None:
    code = "import sys, equipoise; print(*(n for n in dir(equipoise) if n[:2] != '__')); print('torch' in sys.modules)"
    names, torch_imported = printed(code).split("\n")
    assert set(names.split()) == PUBLIC
    assert torch_imported == "False"


def test_public_names_are_what_they_say() -> None:
    """Also after the module that holds `train`, itself named so, and by a star."""
    code = """
import equipoise.training.train
from equipoise import *
assert equipoise.train is train and callable(train), equipoise.train
assert {name: getattr(equipoise, name).__name__ for name in dir(equipoise) if name[0] != "_" and name != "PRESETS"}
print(*(name for name in dir() if name[0] != "_" and name != "equipoise"))
"""
    assert set(printed(code).split()) == PUBLIC


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(equipoise.__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "equipoise" in str(node.module)]
    seen = {alias.asname: str(node.module).removeprefix("equipoise.") for node in imports for alias in node.names}
    assert seen == equipoise._MODULES
