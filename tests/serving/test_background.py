"""Slow work behind the routes."""

import subprocess
import sys

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
