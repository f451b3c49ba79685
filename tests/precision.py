"""Every test as if bf16 were not native to this machine; then once more, those that care, as if it were.

Results must not depend on which machine ran them. What `--precision auto` means is therefore decided here and not by
the machine: fp32, or what EQUIPOISE_AUTO_PRECISION says. The first run notes which tests asked for it, by themselves,
in a command that they started, or through a fixture; `pytest --asked-auto` runs those alone: `make test` does, in bf16.
"""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("EQUIPOISE_AUTO_PRECISION", "fp32")

from equipoise import devices
from equipoise.bench import benchmark
from equipoise.config import train_config

NOTE_FILE = "EQUIPOISE_TESTS_ASKED_AUTO"  # names a file that a forked command makes when it asks
NOTE = "equipoise/asked-auto"  # in pytest's cache, for the next run
asked: list[str] = []  # one entry each time
fixtures: set[tuple[str, str]] = set()  # where those are known that outlive a test and have asked, and their names
tests: set[str] = set()


def resolve(precision: devices.Precision, device: str) -> devices.Precision:
    """`devices.resolve_precision`, which notes that `auto` was asked for, in a fork for the process that started it."""
    if precision == "auto":
        asked.append(device)
        if file := os.environ.get(NOTE_FILE):
            Path(file).touch()
    return devices.resolve_precision(precision, device)


train_config.resolve_precision = benchmark.resolve_precision = resolve  # type: ignore[attr-defined]


def note_command(*words: object) -> None:
    """Take in that a command is started in a process of its own, where nothing can be noted."""
    if words and words[0] not in {"--help", "--version", "data"} and "--precision" not in words:
        asked.append("cpu")


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, Any, Any]:
    """Note fixtures whose later users would find everything made already."""
    before = len(asked)
    result = yield
    if len(asked) > before and fixturedef.scope != "function":
        fixtures.add((fixturedef.baseid, fixturedef.argname))
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Note a test that has asked; a report carries the note to the process that starts the workers."""
    asked.clear()
    return (yield)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    names = getattr(item, "fixturenames", ())
    if asked or any(name in names and item.nodeid.startswith(known) for known, name in fixtures):
        item.user_properties.append(("asked auto", True))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if ("asked auto", True) in report.user_properties:
        tests.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    cache = getattr(session.config, "cache", None)  # which `-p no:cacheprovider` leaves out
    if not hasattr(session.config, "workerinput") and cache and not session.config.getoption("--asked-auto"):
        cache.set(NOTE, sorted(tests))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--asked-auto", action="store_true", help="only tests that asked what precision auto means")


def known_tests(config: pytest.Config) -> set[str] | None:
    """The tests to run where only those are wanted that have asked before; else None."""
    return set(config.cache.get(NOTE, [])) if config.getoption("--asked-auto") and config.cache else None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do without importing files of which no test is wanted."""
    known = known_tests(config)
    if known is None or collection_path.is_dir():
        return None
    file = collection_path.relative_to(config.rootpath).as_posix()
    return True if all(test.partition("::")[0] != file for test in known) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    known = known_tests(config)
    if known is not None:
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in known])
        items[:] = [item for item in items if item.nodeid in known]
