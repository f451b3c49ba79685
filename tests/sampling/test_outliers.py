"""Outliers, by an autoencoder whose energies are known, and by classifiers of any kind."""

from pathlib import Path

import numpy as np
import pytest
import torch
from latent_players import KINDS, players_of
from torch import Tensor, nn

from equipoise.sampling import outliers as module
from equipoise.sampling.outliers import Scale, Scores, Spread, score_pictures


class Halves(nn.Module):
    """Reconstructs the left half of an image, and of the right half a plain one that is a little bright."""

    def forward(self, images: Tensor) -> Tensor:
        made = images.clone()
        made[..., 8:] = -0.9
        return made


def planted() -> tuple[Tensor, Tensor]:
    """Pictures with something in the left half, and odd ones: black, the same in the right half, and noise."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.zeros(40, 1, 16, 16, dtype=torch.uint8)
    pictures[..., :8] = torch.randint(0, 256, (40, 1, 16, 8), generator=generator, dtype=torch.uint8)
    black = torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    mirrored = pictures[:1].flip(-1)
    noise = torch.randint(0, 256, (1, 1, 16, 16), generator=generator, dtype=torch.uint8)
    return pictures, torch.cat([black, mirrored, noise])


def test_energies_are_ranked_and_a_black_frame_by_its_relative_one() -> None:
    players = players_of("mlp-autoencoder")
    players.discriminator.encoder, players.discriminator.decoder = nn.Identity(), Halves()
    pictures, odd = planted()
    usual, unusual = score_pictures(players, pictures), score_pictures(players, odd)
    eta = players.discriminator.eta
    np.testing.assert_allclose(usual.scores, 0.1**eta / 2, rtol=1e-4)
    np.testing.assert_allclose(unusual.scores[0], 0.1**eta / 2, rtol=1e-4)  # no more than of the others
    scale = Scale.of(usual, energies=True)
    assert scale.oddness(usual).max() < 6
    assert (scale.oddness(unusual) > 20).all(), scale.oddness(unusual)
    assert scale.relative is not None
    assert abs(scale.plain.deviations(unusual.scores)[0]) < 1
    contrast = (pictures.double() / 127.5 - 1).sub((pictures.double() / 127.5 - 1).mean((2, 3), keepdim=True)).abs()
    np.testing.assert_allclose(usual.contrasts, contrast.pow(eta).mean(dim=(1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_every_discriminator_scores_and_what_looks_real_is_less_odd(name: str) -> None:
    players = players_of(name)
    pictures = torch.randint(0, 256, (5, *players.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    scores = score_pictures(players, pictures).scores
    theirs = players.discriminator(players.on_device(pictures)).score.double().numpy()
    lower_is_real = players.run.config.objective_name in {"began", "ebgan"}
    np.testing.assert_allclose(scores, theirs if lower_is_real else -theirs, rtol=1e-5)
    scale = Scale.of(Scores(scores, np.ones(5)), energies=players.encodes)
    assert np.isfinite(scale.oddness(Scores(scores, np.ones(5)))).all()


def test_a_spread_is_the_standard_deviation_of_normal_numbers_and_not_moved_by_outliers() -> None:
    numbers = np.random.default_rng(0).normal(3, 2, 20_000)
    spread = Spread.of(np.concatenate([numbers, np.full(500, 1e6)]))
    assert spread.median == pytest.approx(3, abs=0.1)
    assert spread.deviation == pytest.approx(2, rel=0.05)
    assert np.isfinite(Spread.of(np.full(5, 2.0)).deviations(np.array([2.0, 3.0]))).all()


def test_where_most_numbers_are_alike_but_for_roundings_the_others_say_how_far_is_far() -> None:
    others = np.random.default_rng(0).normal(3, 2, 400)
    spread = Spread.of(np.concatenate([np.full(600, 3.0) + 1e-9 * np.arange(600), others]))
    assert spread.median == pytest.approx(3)
    assert spread.deviation == pytest.approx(1.2533 * 0.4 * np.abs(others - 3).mean(), rel=1e-6)


def test_the_highest_values_are_kept_in_order_and_of_equal_ones_the_first() -> None:
    extreme = module._Extreme(3)
    for number, value in enumerate([1.0, 5.0, 2.0, 5.0, 3.0, 5.0, 5.0]):
        extreme.offer(value, number, torch.tensor([number]))
    assert extreme.pictures().flatten().tolist() == [1, 3, 5]


def test_names_and_pictures_belong_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    players = players_of("mlp-autoencoder")
    players.discriminator.encoder, players.discriminator.decoder = nn.Identity(), Halves()
    monkeypatch.setattr(module, "open_players", lambda *_, **__: players)
    players.run.place = str(tmp_path / "gone")  # so that the pictures themselves are what is usual
    pictures, odd = planted()
    given = torch.cat([pictures[:20], odd, pictures[20:], pictures[:1]])
    found = module.outliers(players.run, given, shown=5)
    assert set(found.names[:3]) == {"20", "21", "22"}
    for shown, names in ((found.oddest, found.names[:5]), (found.typical, found.names[-5:])):
        assert torch.equal(shown, given[[int(name) for name in names]])
    copies = dict(zip(found.names, found.copies.tolist(), strict=True))
    assert (copies["0"], copies["43"], copies["1"]) == (2, 2, 1)
    assert found.copied_names == [("0", 2)]
    assert torch.equal(found.copied, given[:1])
    assert dict(zip(found.names, found.reasons, strict=True))["20"] == "relative energy"
