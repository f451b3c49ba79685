"""Inversion by every network and condition: what the generator made is found again."""

import pytest
import torch
from latent_players import KINDS, players_of

from equipoise.errors import UsageError
from equipoise.metrics.features import load_extractor
from equipoise.sampling.encode import latent_encoder
from equipoise.sampling.invert import Inverter, Search

QUICK = {"steps": 80, "starts": 2, "lr": 0.1}


@pytest.mark.parametrize("name", KINDS)
def test_what_a_generator_made_is_found_again(name: str) -> None:
    players = players_of(name)
    wanted = players.draw(3, "wanted", 1)
    labels = torch.tensor([0, 2, 1]) if players.classes else None
    pictures = players.pictures(wanted, labels)
    assert pictures.shape == (3, *players.shape)
    found = Inverter(players, Search(**QUICK))(["a", "b", "c"], pictures)
    plain = (players.pictures(players.draw(3, "others", 2), labels).double() - pictures.double()).abs().mean() / 127.5
    assert found.residues.mean() < 0.6 * plain, (found.residues, plain)
    assert found.reconstructions.shape == pictures.shape
    assert (found.one_step is not None) == players.encodes
    residues = (players.pictures(found.latents, found.labels).double() - pictures.double()).abs().flatten(1).mean(1)
    torch.testing.assert_close(torch.from_numpy(found.residues), residues / 127.5)
    if players.prior == "uniform":
        assert found.latents.abs().max() <= 1
    assert all(
        weight.grad is None for part in (players.generator, players.discriminator) for weight in part.parameters()
    )


def test_the_class_is_found_and_one_that_is_given_stays() -> None:
    players = players_of("classes")
    labels = torch.tensor([0, 1, 2, 2, 1])
    pictures = players.pictures(players.draw(5, "wanted", 1), labels)
    found = Inverter(players, Search(steps=150, starts=9))([""] * 5, pictures)
    assert found.labels is not None
    assert (found.labels == labels).float().mean() >= 0.8, found.labels
    told = Inverter(players, Search(label=1, **QUICK))([""] * 5, pictures)
    assert told.labels is not None
    assert told.labels.tolist() == [1] * 5
    with pytest.raises(UsageError, match="classes 0 to 2"):
        Inverter(players, Search(label=3))
    with pytest.raises(UsageError, match="no class"):
        Inverter(players_of("dcgan"), Search(label=0))


@pytest.mark.parametrize("loss", ["l1", "l2", "features"])
@pytest.mark.parametrize("name", ["dcgan-autoencoder", "dcgan", "mlp"])
def test_every_distance_serves(name: str, loss: str) -> None:
    players = players_of(name)
    pictures = players.pictures(players.draw(2, "wanted", 1))
    before = Inverter(players, Search(steps=1, starts=1, loss=loss))(["a", "b"], pictures)
    after = Inverter(players, Search(steps=60, starts=1, loss=loss))(["a", "b"], pictures)
    assert after.residues.mean() < before.residues.mean()


@pytest.mark.parametrize("loss", ["l1", "l2", "features"])
def test_a_latent_does_not_depend_on_the_pictures_beside_its_own(loss: str) -> None:
    players = players_of("dcgan-autoencoder")
    pictures = players.pictures(players.draw(2, "wanted", 1))
    pictures[1] = 128  # of other features altogether
    both, alone = (
        Inverter(players, Search(steps=10, starts=2, loss=loss))([""] * len(part), part).latents
        for part in (pictures, pictures[:1])
    )
    torch.testing.assert_close(both[:1], alone, rtol=0, atol=1e-4)


def test_features_of_a_fixed_network_are_nearer_than_by_pixels_alone() -> None:
    """EfficientNet's own error of what is found, by an extractor that the search did not build."""
    pytest.importorskip("efficientnet_lite_pytorch")
    players = players_of("autoencoder")
    shade = torch.linspace(0, 120, 16).byte().expand(1, *players.shape)  # which the generator cannot make
    extract = load_extractor("effnet-lite0", shape=players.shape)

    def error(loss: str) -> float:
        found = Inverter(players, Search(steps=8, lr=0.5, starts=1, loss=loss))(["a"], shade)
        wanted = extract(shade).vectors
        return float((extract(found.reconstructions).vectors - wanted).abs().mean() / wanted.abs().mean())

    assert error("effnet-lite0") < error("l1")


def test_one_step_needs_an_encoder() -> None:
    with pytest.raises(UsageError, match="no autoencoder"):
        Inverter(players_of("dcgan"), Search(fast=True))
    players = players_of("dcgan-autoencoder")
    pictures = players.pictures(players.draw(4, "wanted", 1))
    fast = Inverter(players, Search(fast=True))([""] * 4, pictures)
    assert fast.one_step is not None
    assert not fast.searched
    assert fast.one_step.residues == pytest.approx(fast.residues)
    slow = Inverter(players, Search(**QUICK))([""] * 4, pictures)
    assert slow.residues.mean() < fast.residues.mean()
    assert slow.searched
    assert slow.one_step is not None
    assert slow.one_step.residues == pytest.approx(fast.residues)
    torch.testing.assert_close(slow.one_step.latents, fast.latents)


def test_codes_that_are_the_latents_are_taken_as_they_are() -> None:
    """An autoencoder that encodes G(z) as an affine function of z, as BEGAN-CS wants it, is inverted exactly."""
    players = players_of("mlp-autoencoder")

    class Remember(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.flatten(1)[:, : players.latent] * 2 - 1

    class Show(torch.nn.Module):
        def forward(self, latent: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.pad(latent, (0, 256 - players.latent)).view(-1, 1, 16, 16)

    players.discriminator.encoder, players.generator.decoder = Remember(), Show()
    encoder = latent_encoder(players)
    z = players.draw(5, "wanted", 1) / 2
    torch.testing.assert_close(encoder(players.generate(z)), z, rtol=0, atol=1e-3)


def test_results_do_not_depend_on_the_batch() -> None:
    players = players_of("dcgan-autoencoder")
    pictures = players.pictures(players.draw(5, "wanted", 1))
    whole = Inverter(players, Search(batch=5, **QUICK))([""] * 5, pictures)
    parts = Inverter(players, Search(batch=2, **QUICK))([""] * 5, pictures)
    torch.testing.assert_close(whole.latents, parts.latents, rtol=0, atol=1e-3)
