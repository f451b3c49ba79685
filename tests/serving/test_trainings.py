"""Runs that are started over HTTP: only where that is allowed, one at a time, and ended with the server."""

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from equipoise import Run
from equipoise.runs.listing import read_status
from equipoise.serving.settings import Limits
from serving.conftest import Client, Serve

LIMITS = Limits(train_images=1_234_567, train_minutes=2, answer_seconds=20)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    return tmp_path / "runs"


def wait_for(client: Client, run_id: str) -> None:
    for _ in range(600):
        if client.get(f"runs/{run_id}").status_code == 200:
            return
        assert client.get("train").json()["failed"] is None
        time.sleep(0.1)
    raise AssertionError("the run never began")


def test_it_is_forbidden_unless_allowed(served: Client) -> None:
    asked = {"data": "ring8", "images": 100}
    for answer in (served.get("train"), served.post("train", asked), served.request("DELETE", "train")):
        assert answer.status_code == 403
        assert "--allow-train" in answer.json()["error"]


def test_a_folder_called_as_bundled_data_is_trained_on_as_it_is(
    serve: Serve, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("digits", "faces", "own"):
        (folder.parent / "data" / name).mkdir(parents=True)
    monkeypatch.chdir(folder.parent / "data")
    client = serve(folder, LIMITS, allow_train=True, train_data=Path())
    names = client.get("train").json()["data"]
    assert {"digits", "./digits", "faces", "own"} <= set(names)
    for name in ("./digits", "faces"):
        assert client.post("train", {"data": name, "objective": "gan", "images": 100}).status_code == 202
        process = client.server.service.trainings.process
        assert process is not None
        words = list(map(str, process.args))
        assert words[words.index("--data") + 1] == str(folder.parent / "data" / Path(name).name)
        assert Path(words[words.index("--out") + 1]).parent == folder
        process.wait(60)


def test_one_run_at_a_time_which_ends_with_the_server(serve: Serve, folder: Path) -> None:
    client = serve(folder, LIMITS, allow_train=True)
    assert client.get("runs").json()["can_train"]
    choices = client.get("train").json()
    assert {"digits", "ring8"} <= set(choices["data"])
    assert choices["limits"] == {"minutes": 2, "images": 1_234_567, "resolution": 256, "runs": 1}
    started = client.post("train", {"data": "ring8", "objective": "gan", "images": 1_234_567})
    assert started.status_code == 202
    again = client.post("train", {"data": "ring8", "objective": "gan", "images": 100})
    assert again.status_code == 409
    assert client.get("train").json()["running"]
    assert client.get("train").json()["run"] == started.json()["id"]
    wait_for(client, started.json()["id"])
    process = client.server.service.trainings.process
    assert process is not None
    client.server.should_exit = True
    process.wait(60)
    status = read_status(folder / "gan-ring8-001")
    assert status.state in ("interrupted", "empty")  # resumable: whatever it had is kept


def test_what_the_training_refuses_is_told(serve: Serve, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "one").mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "data" / "one" / "a.png")
    (tmp_path / "data" / "notes.txt").write_text("no data")
    client = serve(folder, LIMITS, allow_train=True, train_data=tmp_path / "data")
    names = client.get("train").json()["data"]
    assert "one" in names
    assert "notes.txt" not in names
    assert client.post("train", {"data": "one", "images": 100, "resolution": 16}).status_code == 202
    for _ in range(600):
        if not client.get("train").json()["running"]:
            break
        time.sleep(0.1)
    assert "1 image" in client.get("train").json()["failed"]
    assert client.get("runs").json()["runs"] == []


def test_beyond_the_limits(serve: Serve, folder: Path, tmp_path: Path) -> None:
    client = serve(folder, LIMITS, allow_train=True, train_data=tmp_path)
    for asked, status, words in (
        ({"data": "ring8", "images": 1_234_568}, 422, "1,234,567"),
        ({"data": "ring8", "minutes": 3}, 422, "2 minutes"),
        ({"data": "ring8", "minutes": 1}, 422, "give images"),
        ({"data": "ring8"}, 422, "minutes or images"),
        ({"data": "ring8", "images": 5, "minutes": 1}, 422, "minutes or images"),
        ({"data": "ring8", "images": 5, "resolution": 4096}, 422, "256"),
        ({"data": "../runs", "images": 5}, 404, "data"),
        ({"data": str(tmp_path), "images": 5}, 404, "data"),
        ({"data": "--config", "images": 5}, 404, "data"),
        ({"data": "faces:1000", "images": 5}, 404, "data"),
        ({"data": "hf://somebody/something", "images": 5}, 404, "data"),
        ({"data": "http://localhost/", "images": 5}, 404, "data"),
        ({"data": "ring8", "images": 5, "objective": "--help"}, 404, "objective"),
        ({"data": "ring8", "images": 5, "out": "/tmp/x"}, 422, "out"),
    ):
        answer = client.post("train", asked)
        assert answer.status_code == status, asked
        assert words in answer.json()["error"]
    assert client.server.service.trainings.process is None
    assert list(folder.iterdir()) == []


@pytest.mark.long
def test_a_run_that_was_started_here_finishes(serve: Serve, folder: Path) -> None:
    client = serve(folder, LIMITS, allow_train=True)
    started = client.post("train", {"data": "ring8", "objective": "gan", "images": 512}).json()
    process = client.server.service.trainings.process
    assert process is not None
    assert process.wait(120) == 0
    assert client.get(f"runs/{started['id']}").json()["state"] == "finished"
    assert Run.open(folder / "gan-ring8-001").config.data == "ring8"
