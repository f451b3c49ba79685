"""Whatever `make` installs has one version, that of constraints.txt: what was audited is what is run."""

import ast
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def needed(extra: str) -> set[str]:
    """The packages that this project with `extra` needs here, each by way of another or not."""
    extras = PROJECT["optional-dependencies"]
    waiting = [Requirement(text) for text in [*PROJECT["dependencies"], *extras[extra]]]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for wanted in {"", *requirement.extras}:
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            texts = extras.get(wanted, []) if name == PROJECT["name"] else _requirements(name)
            found = [Requirement(text) for text in texts]
            waiting += [each for each in found if each.marker is None or each.marker.evaluate({"extra": wanted})]
    return {name for name, _ in seen} - {PROJECT["name"]}


def _requirements(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:  # optional, and not installed here
        return []


def pinned() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    names = [match[1] for line in lines if (match := re.fullmatch(r"([\w.-]+)==[\w.!+]+", line))]
    assert len(names) == len([line for line in lines if line and not line.startswith("#")])
    return [canonicalize_name(name) for name in names]


def test_every_package_that_make_installs_is_pinned_once() -> None:
    names = pinned()
    assert len(names) == len(set(names))
    assert needed("dev") - set(names) == set()
    assert {"torch", "numpy", "tensorboard", "protobuf", "scipy"} <= needed("dev"), "the walk goes beyond what is named"


def test_every_package_that_is_imported_is_named_as_a_dependency() -> None:
    """Else a plain `pip install` lacks it, while `make` has it by way of what only tests need."""
    texts = [*PROJECT["dependencies"], *(text for texts in PROJECT["optional-dependencies"].values() for text in texts)]
    tools = {"hypothesis", "pytest", "webdataset"}  # of tests alone
    declared = {canonicalize_name(Requirement(text).name) for text in texts} - tools
    imported: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    by_module = packages_distributions()
    missing = {
        name
        for name in imported
        - set(sys.stdlib_module_names)
        - {"equipoise", "pydantic_core"}  # the latter is a part of pydantic
        if not declared & {canonicalize_name(each) for each in by_module.get(name, [name])}
    }
    assert missing == set()
