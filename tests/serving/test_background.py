"""Slow work behind the routes."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from equipoise.errors import UsageError
from equipoise.serving import background as background_module
from equipoise.serving.background import Background
from equipoise.serving.refusal import Refusal

ENDLESS = """
import asyncio, threading
from equipoise.serving.background import Background

background = Background("x", seconds=0.1, waiting=4, kept=1, kept_bytes=1)
started = threading.Event()

def work():
    try:
        while True:
            started.set()
    finally:
        print("tidied up")

async def ask():
    for key in "ab":  # the second one waits for the first, in vain
        try:
            await background.result(key, work)
        except Exception as refusal:
            print(type(refusal).__name__)

asyncio.run(ask())
started.wait()
background.close()
"""


def test_a_process_ends_though_there_is_work() -> None:
    done = subprocess.run([sys.executable, "-c", ENDLESS], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n") == ["Refusal", "Refusal", "tidied up", ""]


def slow(answer: Callable[[], int]) -> Callable[[], int]:
    """Work that takes longer than its asker waits."""

    def work() -> int:
        time.sleep(0.05)
        return answer()

    return work


def fails() -> int:
    raise UsageError("there is no such thing")


async def asked(background: Background, key: str, work: Callable[[], int]) -> str:
    """What an asker is told, who does not come again; and then the work is done."""
    try:
        told = str(await background.result(key, work))
    except Refusal:
        told = "later"
    except UsageError:
        told = "failed"
    while background.unfinished:
        await asyncio.sleep(0.01)
    return told


def test_what_nobody_comes_back_for_is_bounded_too() -> None:
    async def asking() -> tuple[list[str], int, list[str]]:
        background = Background("x", seconds=0.001, waiting=4, kept=2, kept_bytes=2**30)
        told = [await asked(background, key, slow(lambda: 1)) for key in "abcde"]
        held = background.held
        again = [await asked(background, key, slow(lambda: 2)) for key in "de"]
        background.close()
        return told, held, again

    assert asyncio.run(asking()) == (["later"] * 5, 2, ["1", "1"])


def test_a_failure_is_heard_by_who_comes_back_and_not_kept_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_module, "HEARD_SECONDS", 0.1)

    async def asking() -> list[str]:
        background = Background("x", seconds=0.001, waiting=4, kept=2, kept_bytes=2**30)
        told = [await asked(background, "a", slow(fails)) for _ in range(2)]
        told.append(await asked(background, "b", slow(fails)))
        await asyncio.sleep(0.2)
        told += [await asked(background, "b", slow(lambda: 3)) for _ in range(2)]
        background.close()
        return told

    assert asyncio.run(asking()) == ["later", "failed", "later", "later", "3"]
