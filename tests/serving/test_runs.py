"""What is said of runs: the list, a run, its metrics and samples, what is different between two."""

import io
import json
import math
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import equipoise
from equipoise import Run, TrainConfig
from serving.conftest import Client, Serve


def test_the_list_says_how_each_run_is(served: Client) -> None:
    listed = served.get("runs").json()
    runs = {run["name"]: run for run in listed["runs"]}
    assert runs.keys() == {"began", "nested/gan", "toy"}
    assert listed["newest"] == served.id("toy")
    assert not listed["can_train"]
    assert runs["began"]["state"] == "finished"
    assert runs["began"]["title"] == "began on digits"
    assert runs["began"]["can"] == {"generate": True, "encode": True, "reconstruct": True, "nearest": True}
    assert runs["nested/gan"]["can"]["reconstruct"] is False
    assert runs["nested/gan"]["classes"] == 10
    assert runs["toy"]["toy"] is True
    assert runs["toy"]["can"]["generate"] is False


def test_a_run_in_full(served: Client, trained: Path) -> None:
    run = served.get(f"runs/{served.id('nested/gan')}").json()
    assert run["images_shape"] == [1, 16, 16]
    assert (run["latent"], run["prior"]) == (8, "normal")
    assert run["checkpoints"][-1] == 128
    assert run["samples"] == [0, 64, 128]
    assert run["label_names"] == [str(number) for number in range(10)]
    assert run["config"]["data"] == "digits"
    assert run["latest"]["images"] == 128
    assert run["scores"]["closing"] == Run.open(trained / "nested/gan").closing_score()


def test_health_tells_evidence_from_remedy(serve: Serve, empty_run: Run) -> None:
    parts = {
        "evidence": "k stays at 0: so; it is",
        "meaning": "nothing holds: the generator",
        "remedy": "raise --gamma",
    }
    event = {"images": 3, "level": "warning", "kind": "k-at-0", "message": "all of it", **parts}
    empty_run.append("events.jsonl", event)
    empty_run.append("events.jsonl", {"images": 3, "level": "warning", "kind": "blur", "message": "blurred"})
    empty_run.append("events.jsonl", {"images": 4, "level": "info", "kind": "blur", "message": "blur: no longer"})
    (finding,) = serve(empty_run.path.parent).get("runs").json()["runs"][0]["health"]
    assert finding == event


def test_health_of_an_older_run_is_its_sentence(serve: Serve, empty_run: Run) -> None:
    event = {"images": 3, "level": "warning", "kind": "k-at-0", "message": "k is 0: so; raise --gamma"}
    empty_run.append("events.jsonl", event)
    (finding,) = serve(empty_run.path.parent).get("runs").json()["runs"][0]["health"]
    assert finding == {**event, "evidence": event["message"], "meaning": "", "remedy": ""}


def test_ten_thousand_rows_are_thinned_to_means(serve: Serve, empty_run: Run) -> None:
    rows = [{"images": 10 * (row + 1), "k": float(row)} for row in range(10_000)]
    with (empty_run.path / "metrics.jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    client = serve(empty_run.path.parent)
    answer = client.get("runs/{}/metrics".format(client.id("live")), params={"points": 100}).json()
    assert answer["total_rows"] == 10_000
    assert len(answer["columns"]["images"]) == 100
    np.testing.assert_allclose(answer["columns"]["k"], np.arange(10_000).reshape(100, 100).mean(axis=1))
    assert answer["columns"]["images"] == [1000 * (group + 1) for group in range(100)]
    late = client.get("runs/{}/metrics".format(client.id("live")), params={"since": 99_000}).json()
    assert late["columns"]["images"] == list(range(99_000, 100_001, 10))


def test_what_is_no_number_is_null(serve: Serve, empty_run: Run) -> None:
    empty_run.append("metrics.jsonl", {"images": 5, "k": math.nan, "lr": 1.0})
    columns = serve(empty_run.path.parent).get(f"runs/{_only(empty_run)}/metrics").json()["columns"]
    assert columns["images"] == [0, 5]
    assert columns["k"] == [0.0, None]
    assert columns["lr"] == [None, 1.0]


def test_samples_are_the_runs_own(served: Client, trained: Path) -> None:
    run_id = served.id("began")
    answer = served.get(f"runs/{run_id}/samples/64.png")
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.content == (trained / "began/samples/000000000064.png").read_bytes()
    assert served.get(f"runs/{run_id}/samples/65.png").status_code == 404


def test_real_images_in_a_grid(served: Client) -> None:
    answer = served.until_done("GET", f"runs/{served.id('began')}/real.png", params={"count": 6, "columns": 3})
    assert Image.open(io.BytesIO(answer.content)).size == (3 * 16 + 4, 2 * 16 + 2)
    assert served.get(f"runs/{served.id('toy')}/real.png").status_code == 400


def test_what_is_different_between_two(served: Client) -> None:
    a, b = served.id("began"), served.id("nested/gan")
    answer = served.get(f"runs/{a}/difference/{b}").json()
    names = {row["name"]: (row["a"], row["b"]) for row in answer["config"]}
    assert names["tasks.classify_g"] == [0, 1] or names["tasks.classify_g"] == (0, 1)
    assert "resolution" not in names
    assert {row["name"] for row in answer["scores"]} >= {"images"}
    assert served.get(f"runs/{a}/difference/{a}").status_code == 400


def test_two_hundred_runs(serve: Serve, small: TrainConfig, tmp_path: Path) -> None:
    first = Run.create(tmp_path / "runs" / "000", small)
    first.append("metrics.jsonl", {"images": 1, "k": 0.5})
    text, metrics = ((first.path / name).read_bytes() for name in ("config.yaml", "metrics.jsonl"))
    for number in range(1, 200):
        folder = tmp_path / "runs" / f"{number:03d}"
        folder.mkdir()
        (folder / "config.yaml").write_bytes(text)
        (folder / "metrics.jsonl").write_bytes(metrics)
    listed = serve(tmp_path / "runs").get("runs").json()["runs"]
    assert [run["name"] for run in listed] == [f"{number:03d}" for number in range(200)]
    assert {run["state"] for run in listed} == {"empty"}


def test_a_damaged_run_is_listed_with_the_reason(serve: Serve, empty_run: Run) -> None:
    (empty_run.path / "config.yaml").write_text("gama: 1")
    client = serve(empty_run.path.parent)
    (run,) = client.get("runs").json()["runs"]
    assert run["state"] == "unreadable"
    assert "gama" in run["note"]
    answer = client.get(f"runs/{run['id']}")
    assert answer.status_code == 400
    assert "gama" in answer.json()["error"]


def test_a_run_that_is_deleted_is_gone(serve: Serve, empty_run: Run) -> None:
    client = serve(empty_run.path.parent)
    assert client.get(f"runs/{client.id('live')}").status_code == 200
    for path in empty_run.path.rglob("*.*"):
        path.unlink()
    assert client.get(f"runs/{client.id('live')}").status_code == 404


def test_a_run_that_is_deleted_as_it_is_opened_is_gone(
    serve: Serve, empty_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, opened = serve(empty_run.path.parent), Run.open
    os.utime(empty_run.path / "config.yaml", (1, 1))  # so that it is read anew

    def open_late(path: Path) -> Run:
        shutil.rmtree(path)
        return opened(path)

    monkeypatch.setattr(Run, "open", open_late)
    assert client.get(f"runs/{client.id('live')}/metrics").status_code == 404


def test_measures_are_named_without_markup(served: Client) -> None:
    panels = served.get("measures").json()["panels"]
    text = json.dumps(panels)
    assert "<" not in text
    assert "$" not in text
    assert {"name": "k", "symbol": "k"}.items() <= next(p for p in panels if p["title"] == "Equilibrium term")["lines"][
        0
    ].items()


def _only(run: equipoise.Run) -> str:
    from equipoise.serving.catalogue import id_of

    return id_of(run.path)


def test_a_picture_is_sent_again_only_once_it_has_changed(serve: Serve, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "began", tmp_path / "began")
    client = serve(tmp_path)
    path = f"runs/{client.id('began')}/samples/64.png"
    tag = client.get(path).headers["ETag"]
    assert client.get(path).headers["Cache-Control"] == "private, no-cache"
    answer = client.get(path, headers={"If-None-Match": tag})
    assert (answer.status_code, answer.content) == (304, b"")
    (tmp_path / "began/samples/000000000064.png").write_bytes(b"another")
    assert client.get(path, headers={"If-None-Match": tag}).content == b"another"
