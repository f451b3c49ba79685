"""Directions and traversals of runs, of every network."""

import pytest
import torch
from latent_players import KINDS, players_of

from equipoise.errors import UsageError
from equipoise.sampling.directions import class_direction, data_latents, directions_of, parse_directions


@pytest.mark.parametrize("name", KINDS)
def test_the_first_direction_changes_images_more_than_the_last(name: str) -> None:
    players = players_of(name)
    found = directions_of(players, "jacobian")
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(6), rtol=0, atol=1e-4)
    z = players.draw(32, "jacobian", 0)  # at which they were taken
    labels = torch.arange(32) % 3 if players.classes else None
    before = players.generate(z, labels)
    changes = [
        (players.generate(z + 1e-3 * vector, labels) - before).square().mean().sqrt() / 1e-3 for vector in found.vectors
    ]
    torch.testing.assert_close(torch.stack(changes), found.strengths, rtol=0.05, atol=1e-4)


@pytest.mark.parametrize("name", ["autoencoder", "mlp"])
def test_directions_of_the_data_are_those_of_all_classes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the bundled digits, which lie class by class, by an encoder or by a search."""
    monkeypatch.setattr("equipoise.sampling.directions.STEPS", 1)
    _, labels = data_latents(players_of(name), seed=0)
    assert labels.unique().tolist() == list(range(10))


def test_names_of_directions() -> None:
    assert parse_directions("0, 2,3:7") == [0, 2, (3, 7)]
    for text in ("", "a", "-1", "1:", "1:2:3", "1.5"):
        with pytest.raises(UsageError, match="3:7"):
            parse_directions(text)


def test_from_a_class_to_itself_there_is_no_direction() -> None:
    with pytest.raises(UsageError, match="from class 3 to itself"):
        class_direction(players_of("autoencoder"), 3, 3)
