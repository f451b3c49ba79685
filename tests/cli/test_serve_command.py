"""equipoise serve: the command in a process of its own, its refusals, and its end."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from command import Command
from permissions import run_obeying_permissions


@contextmanager
def started(*words: object, folder: Path, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "equipoise", "serve", *map(str, words)],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def address(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    match = re.search(r"http://\S+?:\d+", line)
    assert match, line
    return match[0]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def test_a_folder_without_runs_is_waited_in(runs: Path) -> None:
    with started("--port", 0, folder=runs.parent) as process:
        url = address(process)
        assert process.stdout is not None
        assert "no runs in runs yet" in process.stdout.readline()
        assert requests.get(f"{url}/api/v1/runs", timeout=10).json()["runs"] == []
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_what_is_in_flight_is_finished_and_streams_are_closed(runs: Path, number: int) -> None:
    with started("--port", 0, folder=runs.parent) as process:
        url, got = address(process), list[int]()
        stream = requests.get(f"{url}/api/v1/live", stream=True, timeout=20)
        toy = requests.post(f"{url}/api/v1/toys", json={"objective": "ls-gan"}, timeout=20).json()["id"]

        def step() -> None:
            got.append(requests.post(f"{url}/api/v1/toys/{toy}/step", json={"steps": 200}, timeout=20).status_code)

        thread = threading.Thread(target=step)
        thread.start()
        while not got and "equipoise_answer" not in requests.get(f"{url}/metrics", timeout=10).text:
            pass
        process.send_signal(number)
        thread.join()
        assert got == [200]
        list(stream.iter_content())  # ends
        assert process.wait(30) == 0


def test_a_second_interrupt_ends_it_as_well(runs: Path) -> None:
    with started("--port", 0, folder=runs.parent) as process:
        assert requests.get(f"{address(process)}/healthz", timeout=20).status_code == 200
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.005)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_an_interrupt_before_it_serves_ends_it(runs: Path) -> None:
    with started("--port", 0, folder=runs.parent) as process:
        address(process)  # which is said before anything is served
        process.send_signal(signal.SIGINT)
        assert process.wait(20) in (0, 130)


def test_others_need_the_token_that_is_printed(runs: Path) -> None:
    with started("--host", "0.0.0.0", "--port", 0, folder=runs.parent) as process:
        url = address(process)
        assert process.stdout is not None
        token = process.stdout.readline().removeprefix("token: ").strip()
        assert len(token) >= 32
        assert requests.get(f"{url}/api/v1/runs", timeout=10).status_code == 401
        assert requests.get(f"{url}/api/v1/runs", headers={"Authorization": f"Bearer {token}"}, timeout=10).ok


def test_the_token_of_the_environment(runs: Path) -> None:
    token = "of-the-environment-1"
    with started("--port", 0, "--log", folder=runs.parent, EQUIPOISE_TOKEN=token) as process:
        url = address(process)
        assert requests.get(f"{url}/api/v1/runs", timeout=10).status_code == 401
        assert requests.get(f"{url}/api/v1/runs", headers={"Authorization": f"Bearer {token}"}, timeout=10).ok


def test_refusals(within: Command, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "file").write_text("")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for words, told in (
            (["--port", taken.getsockname()[1]], "--port"),
            (["--port", 70000], "65535"),
            (["--port", "http"], "port"),
            (["--host", "nowhere.invalid"], "--host"),
            (["--host", "192.0.2.1", "--port", 0], "--host"),
            (["missing", "--port", 0], "missing"),
            (["file", "--port", 0], "file"),
            (["--token", "short"], "16"),
            (["--token", "of spaces and more"], "letters"),
            (["--allow-train", "--train-data", "missing", "--port", 0], "missing"),
        ):
            result = within("serve", *words)
            assert result.returncode == 2, words
            assert told in result.stderr
            assert len(result.stderr.splitlines()) == 1


def test_without_the_usual_folder(within: Command) -> None:
    result = within("serve")
    assert result.returncode == 2
    assert "runs" in result.stderr


def test_a_folder_that_may_not_be_read(runs: Path) -> None:
    runs.chmod(0)
    try:
        done = run_obeying_permissions("-m", "equipoise", "serve", "--port", "0", cwd=runs.parent)
    finally:
        runs.chmod(0o700)
    assert done.returncode == 2, done.stderr
    assert "Permission denied" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_missing_extra_is_named(runs: Path) -> None:
    hide = "import sys; sys.modules['fastapi'] = None; from equipoise.cli.main import main; sys.exit(main(['serve']))"
    done = subprocess.run([sys.executable, "-c", hide], cwd=runs.parent, capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip install 'equipoise[serve]'" in done.stderr


def test_runs_alone_give_no_place_for_new_ones(within: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("data: digits")
    result = within("serve", run, "--allow-train", "--port", 0)
    assert result.returncode == 2
    assert "folder" in result.stderr
    shutil.rmtree(run)


def test_help_loads_no_server() -> None:
    code = "import sys; from equipoise.cli.main import main; main(['--help'])"
    code += "; print(sorted({'fastapi', 'uvicorn', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]"
