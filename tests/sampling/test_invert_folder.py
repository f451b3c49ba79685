"""A folder of latents goes on with the weights of which it was made, and with no others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from equipoise import Run, UsageError
from equipoise.sampling.invert import Search
from equipoise.sampling.invert_folder import invert_into
from sampling.latent_players import players_of

QUICK = Search(steps=2, starts=1)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    shades = {tmp_path / f"{shade}.png": shade for shade in (40, 200)}
    for path, shade in shades.items():
        Image.fromarray(np.full((16, 16), shade, np.uint8)).save(path)
    return list(shades)


@pytest.mark.parametrize("part", ["generator", "discriminator"])
def test_a_run_that_was_trained_anew_is_another(tmp_path: Path, pictures: list[Path], part: str) -> None:
    """In the same folder, for as many images: nothing else tells the two apart."""
    players = players_of("autoencoder")
    invert_into(tmp_path / "out", players, pictures[:1], QUICK)
    with torch.no_grad():
        next(getattr(players, part).parameters()).add_(0.1)
    with pytest.raises(UsageError, match="by another checkpoint: choose another --out"):
        invert_into(tmp_path / "out", players, pictures, QUICK)


def test_a_run_by_another_path_is_the_same(tmp_path: Path, pictures: list[Path]) -> None:
    players = players_of("autoencoder")
    first, _ = invert_into(tmp_path / "out", players, pictures[:1], QUICK)
    found = first.rows["latents"][0]
    moved = replace(players, run=Run(tmp_path / "elsewhere", players.run.config))
    done, _ = invert_into(tmp_path / "out", moved, pictures, QUICK)
    assert len(done) == 2
    assert np.array_equal(done.rows["latents"][0], found)


def test_its_pages_are_no_pictures(tmp_path: Path, pictures: list[Path]) -> None:
    """Else the same call, a second time, would invert the pages of the first."""
    players = players_of("autoencoder")
    for out in (tmp_path / "out", tmp_path / "deep" / "out"):
        with pytest.raises(UsageError, match="its pages would be among the pictures: choose another --out"):
            invert_into(out, players, [tmp_path], QUICK)
        assert not out.exists()
    assert len(invert_into(tmp_path / "out", players, pictures, QUICK)[0]) == 2, "named one by one, pages are none"
