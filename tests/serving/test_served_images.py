"""Images over HTTP: those of `equipoise sample`, alone or batched with others'; and refusals instead of waiting."""

import base64
import io
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch
from PIL import Image

import equipoise
from equipoise import Run
from equipoise.latents.paths import slerp
from equipoise.runs.numbered import images_of
from equipoise.sampling.sample import draw_latents
from equipoise.serving.image_queue import ImageQueue
from equipoise.serving.models import Model
from equipoise.serving.settings import Limits
from serving.conftest import Client, Serve


def pixels(text: str | bytes) -> np.ndarray:
    data = base64.b64decode(text) if isinstance(text, str) else text
    return np.asarray(Image.open(io.BytesIO(data))).astype(int)


def generate(client: Client, name: str, **asked: Any) -> requests.Response:
    return client.until_done("POST", f"runs/{client.id(name)}/generate", json=asked)


@pytest.mark.parametrize("name", ["began", "nested/gan"])
def test_a_seed_gives_what_the_command_gives(served: Client, trained: Path, name: str) -> None:
    wanted = equipoise.sample(Run.open(trained / name), 5, seed=3)[:, 0].numpy().astype(int)
    answer = generate(served, name, count=5, seed=3, format="json").json()
    made = np.stack([pixels(each) for each in answer["images"]])
    assert abs(made - wanted).max() <= 1  # passes of another size round otherwise
    again = generate(served, name, latents=answer["latents"], labels=answer["labels"], format="json").json()
    assert abs(np.stack([pixels(each) for each in again["images"]]) - wanted).max() <= 1


def test_a_picture_is_a_pixel_a_pixel_and_a_grid_has_columns(served: Client) -> None:
    assert pixels(generate(served, "began", count=1).content).shape == (16, 16)
    assert pixels(generate(served, "began", count=6, columns=2).content).shape == (3 * 16 + 4, 2 * 16 + 2)


def test_classes_truncation_and_single_values(served: Client, trained: Path) -> None:
    run = Run.open(trained / "nested/gan")
    for asked, settings in (
        ({"labels": 3}, {"label": 3}),
        ({"labels": [1, 2]}, {"labels": torch.tensor([1, 2])}),
        ({"labels": 0, "truncate": 0.5}, {"label": 0, "truncate": 0.5}),
        ({"labels": 0, "values": {"2": 1.5}}, {"label": 0, "values": {2: 1.5}}),
    ):
        latents = draw_latents(run.config, 7, 2)
        wanted = equipoise.sample(run, latents=latents, **settings)[:, 0].numpy().astype(int)
        made = generate(served, "nested/gan", count=2, seed=7, format="json", **asked).json()["images"]
        assert abs(np.stack([pixels(each) for each in made]) - wanted).max() <= 1, asked


def test_weights_and_checkpoints(served: Client) -> None:
    asked = {"count": 1, "seed": 1, "format": "json"}
    newest, raw, early = (
        generate(served, "began", **asked, **which).json() for which in ({}, {"ema": False}, {"at": 64})
    )
    assert (newest["at"], early["at"]) == (128, 64)
    assert len({newest["images"][0], raw["images"][0], early["images"][0]}) == 3
    missing = generate(served, "began", **asked, at=65)
    assert missing.status_code == 404
    assert "64" in missing.json()["error"]
    assert generate(served, "began", **asked, best=True).status_code == 404
    both = generate(served, "began", **asked, best=True, at=64)
    assert (both.status_code, "either at or best" in both.json()["error"]) == (422, True)


def test_directions_move_latents(served: Client) -> None:
    run_id = served.id("nested/gan")
    found = served.until_done("GET", f"runs/{run_id}/directions").json()["directions"]
    vectors = np.array([each["vector"] for each in found])
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(len(found)), atol=1e-5)
    assert [each["strength"] for each in found] == sorted((each["strength"] for each in found), reverse=True)
    still = generate(served, "nested/gan", count=1, seed=2, format="json").json()["latents"][0]
    moved = generate(served, "nested/gan", count=1, seed=2, direction={"index": 1, "amount": 2.5}, format="json").json()
    np.testing.assert_allclose(moved["latents"][0], np.array(still) + 2.5 * vectors[1], atol=1e-5)


def test_the_way_between_two(served: Client) -> None:
    a, b = generate(served, "nested/gan", count=2, format="json").json()["latents"]
    answer = served.post(f"runs/{served.id('nested/gan')}/interpolate", {"a": a, "b": b, "steps": 5, "label": 4}).json()
    wanted = slerp(torch.tensor(a), torch.tensor(b), torch.linspace(0, 1, 5))
    np.testing.assert_allclose(answer["latents"], wanted.numpy(), atol=1e-5)
    assert answer["labels"] == [4] * 5
    assert len(answer["images"]) == 5
    asked = {"a": a, "b": b, "steps": 5, "label": 4, "first": 3}
    part = served.post(f"runs/{served.id('nested/gan')}/interpolate", {**asked, "count": 1}).json()
    assert part["latents"] == answer["latents"][3:4]
    refused = served.post(f"runs/{served.id('nested/gan')}/interpolate", {**asked, "first": 5})
    assert (refused.status_code, "5 steps" in refused.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("name", "asked", "status", "words"),
    [
        ("began", {"count": 65}, 422, "64"),
        ("began", {"count": 0}, 422, "count"),
        ("began", {"latents": [[0.5] * 7]}, 400, "7"),
        ("began", {"latents": [[0.5] * 8, [0.5] * 7]}, 400, "lengths"),
        ("began", {"latents": [[1e300] * 8]}, 422, "latents"),
        ("began", {"latents": []}, 422, "latents"),
        ("began", {"labels": 1}, 400, "no class"),
        ("began", {"values": {"8": 1.0}}, 400, "dimensions"),
        ("began", {"truncate": 0.5}, 400, "uniform"),
        ("began", {"direction": {"index": 8, "amount": 1}}, 422, "index"),
        ("began", {"cuont": 3}, 422, "cuont"),
        ("nested/gan", {"labels": 10}, 400, "0 to 9"),
        ("nested/gan", {"labels": [1, 2], "count": 3}, 400, "labels"),
        ("toy", {}, 400, "toy"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    served: Client, name: str, asked: dict[str, Any], status: int, words: str
) -> None:
    answer = generate(served, name, **asked)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


class Gate(torch.nn.Module):
    """A generator that waits until it is let through, in the place of one that is slow."""

    classes = 0

    def __init__(self, generator: torch.nn.Module) -> None:
        super().__init__()
        self.generator, self.open, self.sizes = generator, threading.Event(), list[int]()
        self.seconds = 20.0

    def forward(self, z: torch.Tensor, conditions: Any = None) -> Any:
        self.sizes.append(len(z))
        self.open.wait(self.seconds)
        return self.generator(z, conditions)


def gated(client: Client) -> Gate:
    """The server's generator of `began`, behind a gate."""
    generate(client, "began", count=1)
    service = client.server.service
    (key,) = service.loading._tasks
    model = service.loading._tasks[key].result()
    gate = Gate(model.generator)
    object.__setattr__(model, "generator", gate)
    return gate


def test_requests_share_a_pass_and_get_their_own_images(serve: Serve, trained: Path) -> None:
    client = serve(trained, Limits(answer_seconds=20))
    gate = gated(client)
    alone = {}
    gate.open.set()
    for seed in range(10):
        alone[seed] = generate(client, "began", count=1 + seed % 3, seed=seed, format="json").json()
    gate.open.clear()
    gate.sizes.clear()
    with ThreadPoolExecutor(11) as pool:
        first = pool.submit(generate, client, "began", count=1, seed=99)
        while not gate.sizes:
            pass
        rest = {
            seed: pool.submit(generate, client, "began", count=1 + seed % 3, seed=seed, format="json")
            for seed in range(10)
        }
        while len(client.server.service.images) < 10:
            pass
        gate.open.set()
        first.result()
        together = {seed: each.result().json() for seed, each in rest.items()}
    assert gate.sizes == [1, sum(1 + seed % 3 for seed in range(10))]
    for seed, answer in together.items():
        assert answer["latents"] == alone[seed]["latents"]
        pairs = zip(answer["images"], alone[seed]["images"], strict=True)
        assert all(abs(pixels(a) - pixels(b)).max() <= 1 for a, b in pairs)


def test_a_full_queue_and_a_late_answer_are_refused(serve: Serve, trained: Path) -> None:
    client = serve(trained, Limits(queued=2, answer_seconds=3))
    gate = gated(client)
    with ThreadPoolExecutor(3) as pool:
        path, json = f"runs/{client.id('began')}/generate", {"count": 1}
        first = pool.submit(client.post, path, json)
        while not gate.sizes:
            pass
        waiting = [pool.submit(client.post, path, json) for _ in range(2)]
        while len(client.server.service.images) < 2:
            pass
        full = client.post(path, json)
        assert full.status_code == 503
        assert int(full.headers["Retry-After"]) >= 1
        assert client.get("/healthz").status_code == 200  # the model holds nobody else up
        assert [each.result().status_code for each in (first, *waiting)] == [503, 503, 503]  # in three seconds
        gate.open.set()
    assert client.until_done("POST", path, json=json).status_code == 200
    assert len(gate.sizes) == 2  # who had given up was passed over


def test_more_than_is_made_in_a_second_is_refused_with_what_would_be(serve: Serve, trained: Path) -> None:
    client = serve(trained)
    generate(client, "began", count=1)
    queue: ImageQueue = client.server.service.images
    (checkpoint,) = queue._speeds
    queue._speeds[checkpoint] = 0.5, time.monotonic()  # seconds an image
    answer = client.post(f"runs/{client.id('began')}/generate", {"count": 64})
    assert answer.status_code == 413
    most = answer.json()["most"]
    assert 40 <= most < 64  # more as the measurement grows old
    assert f"{most} or fewer" in answer.json()["error"]


def test_a_slow_spell_is_not_for_ever(serve: Serve, trained: Path) -> None:
    """Neither where nothing more is asked for, nor where a few images show that it is over."""
    client = serve(trained)
    generate(client, "began", count=1)
    queue: ImageQueue = client.server.service.images
    (checkpoint,) = queue._speeds
    slow = 20 / 10  # seconds an image: ten in the time there is
    queue._speeds[checkpoint] = slow, time.monotonic() - 20
    assert generate(client, "began", count=64).status_code == 200
    queue._speeds[checkpoint] = slow, time.monotonic()
    assert generate(client, "began", count=1).status_code == 200
    assert generate(client, "began", count=64).status_code == 200


def test_one_image_does_not_bring_the_time_of_many_into_disrepute(serve: Serve, trained: Path) -> None:
    client = serve(trained)
    generate(client, "began", count=1)
    queue: ImageQueue = client.server.service.images
    (checkpoint,) = queue._speeds
    queue._speeds[checkpoint] = 0.01, time.monotonic()
    queue._learn_speed(checkpoint, 1, 0.65)  # nearly all of it is what any pass takes
    assert queue._speed(checkpoint) == pytest.approx(0.02, rel=0.1)
    queue._learn_speed(checkpoint, 64, 64 * 0.5)
    assert queue._speed(checkpoint) == pytest.approx(0.5, rel=0.1)


def test_an_image_that_takes_longer_than_an_answer_may_comes_in_the_end(serve: Serve, trained: Path) -> None:
    client = serve(trained, Limits(answer_seconds=0.2))
    gate = gated(client)
    gate.seconds = 0.5
    codes = []
    for _ in range(5):
        codes.append(client.post(f"runs/{client.id('began')}/generate", json={"count": 1}).status_code)
        time.sleep(0.5)  # until what was asked for is made
    assert codes[-1] == 200, codes


def test_a_checkpoint_that_is_cut_short_is_passed_over(serve: Serve, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained / "began", tmp_path / "runs" / "began")
    client = serve(tmp_path / "runs")
    *_, before, newest = Run.open(tmp_path / "runs" / "began").checkpoints()
    newest.write_bytes(newest.read_bytes()[:1000])
    answer = generate(client, "began", count=1, format="json")
    assert answer.status_code == 200
    assert answer.json()["at"] == images_of(before)


def test_models_are_let_go_beyond_a_few(serve: Serve, trained: Path) -> None:
    client = serve(trained, Limits(models=2, answer_seconds=20))
    for asked in ({}, {"ema": False}, {"at": 64}, {"at": 64, "ema": False}, {}):
        assert generate(client, "began", count=1, **asked).status_code == 200
    loading = client.server.service.loading
    assert loading.held == 2
    assert all(isinstance(task.result(), Model) for task in loading._tasks.values())


def test_one_failure_ends_nothing(serve: Serve, trained: Path) -> None:
    client = serve(trained)
    gate = gated(client)
    gate.open.set()
    working, gate.generator = gate.generator, torch.nn.Linear(3, 3)
    failed = client.post(f"runs/{client.id('began')}/generate", {"count": 1})
    assert failed.status_code == 500
    assert "Content-Security-Policy" in failed.headers
    assert failed.json()["error"].count(".") <= 1
    gate.generator = working
    assert generate(client, "began", count=1).status_code == 200
