"""Trainings in the plane: the steps of a run, on request, a few at once and not for ever."""

from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise.config.presets import PRESETS
from equipoise.data import TOYS
from equipoise.serving import toys
from equipoise.serving.settings import Limits
from equipoise.training.batch import make_batch
from equipoise.training.distributed import Distributed
from equipoise.training.state import DataSpec, TrainState
from equipoise.training.step import train_step
from equipoise.views.toy_scatter import realness_score
from serving.conftest import Client, Serve


def test_steps_are_those_of_a_run(served: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toys, "STEPPING_SECONDS", 60.0)
    begun = served.post("toys", {"objective": "wgan-gp", "data": "grid25", "seed": 4}).json()
    assert begun["images"] == 0
    answer = served.post(f"toys/{begun['id']}/step", {"steps": 7}).json()

    config = PRESETS["wgan-gp"]["toy"].with_changes(data="grid25", seed=4, device="cpu", compile="never")
    state = TrainState(config, DataSpec.of(TOYS["grid25"]), torch.device("cpu"))
    for _ in range(7):
        inputs = make_batch(config, TOYS["grid25"], state.images, Distributed(), state.device)
        state.prepare_step()
        moved = train_step(
            state.players,
            state.optimizers,
            state.objective,
            state.objective_state,
            inputs,
            Distributed(),
            order=config.update,
            generator_moves=state.generator_moves,
        )
        state.finish_step(*moved)
    assert answer["images"] == state.images == 7 * config.batch
    extent = TOYS["grid25"].extent
    assert answer["landscape"]["extent"] == pytest.approx([-extent, extent, -extent, extent])
    corners = torch.tensor([[-extent, -extent], [extent, -extent], [-extent, extent]])
    wanted = realness_score(state.players.discriminator, config.objective)(corners)
    grid = np.array(answer["landscape"]["grid"])
    np.testing.assert_allclose([grid[0, 0], grid[0, -1], grid[-1, 0]], wanted, atol=2e-4)
    means = state.accumulator.close()
    assert answer["metrics"]["gap"] == pytest.approx(means["gap"], rel=1e-3)
    np.testing.assert_allclose(answer["real"], TOYS["grid25"].held_out(400), atol=1e-4)


@pytest.mark.parametrize("objective", toys.OBJECTIVES)
def test_every_objective_takes_a_step(served: Client, objective: str) -> None:
    begun = served.post("toys", {"objective": objective, "data": "ring8"}).json()
    answer = served.post(f"toys/{begun['id']}/step", {"steps": 1})
    assert answer.status_code == 200
    assert np.isfinite(answer.json()["samples"]).all()
    assert served.request("DELETE", f"toys/{begun['id']}").status_code == 204
    assert served.post(f"toys/{begun['id']}/step", {"steps": 1}).status_code == 404
    assert served.request("DELETE", f"toys/{begun['id']}").status_code == 404


def test_a_request_ends_in_a_second(served: Client) -> None:
    begun = served.post("toys", {"objective": "ls-gan", "data": "ring8"}).json()
    answer = served.post(f"toys/{begun['id']}/step", {"steps": 200}).json()
    assert 0 < answer["images"] <= 200 * answer["batch"]


def test_a_few_at_once_and_not_for_ever(serve: Serve, trained: Path) -> None:
    client = serve(trained, Limits(toys=2, answer_seconds=20))
    first = client.post("toys", {"objective": "gan"}).json()["id"]
    second = client.post("toys", {"objective": "gan"}).json()["id"]
    full = client.post("toys", {"objective": "gan"})
    assert full.status_code == 503
    assert "Retry-After" in full.headers
    assert int(full.headers["Retry-After"]) <= 30
    client.server.service.toys._sessions[first].used -= 31  # seconds ago
    assert client.post(f"toys/{second}/step", {"steps": 1}).status_code == 200
    assert client.post("toys", {"objective": "gan"}).status_code == 200
    assert client.post(f"toys/{first}/step", {"steps": 1}).status_code == 404


def test_what_goes_wrong_is_a_sentence(served: Client) -> None:
    for asked, status, words in (
        ({"objective": "gna"}, 400, "gan"),
        ({"objective": "bgan-discrete"}, 400, "points"),
        ({"data": "digits"}, 400, "ring8"),
        ({"lr": 7}, 422, "lr"),
        ({"seed": -1}, 422, "seed"),
        ({"objective": "x" * 1000}, 422, "objective"),
    ):
        answer = served.post("toys", asked)
        assert answer.status_code == status, asked
        assert words in answer.json()["error"]
    begun = served.post("toys", {"objective": "gan", "data": "ring8"}).json()
    assert served.post(f"toys/{begun['id']}/step", {"steps": 201}).status_code == 422


def test_a_training_that_diverges_says_so(serve: Serve, trained: Path) -> None:
    client = serve(trained)
    begun = client.post("toys", {"objective": "least-squares", "data": "ring8"}).json()
    session = client.server.service.toys._sessions[begun["id"]]
    with torch.no_grad():
        next(session.train_state.players.generator.parameters()).fill_(torch.nan)
    answer = client.post(f"toys/{begun['id']}/step", {"steps": 1})
    assert answer.status_code == 409
    assert "finite" in answer.json()["error"]
