"""Defaults: neutral ones of TrainConfig, and those that the objective and the data decide."""

from dataclasses import fields

import pytest

from equipoise import BEGAN, TrainConfig
from equipoise.config.defaults import TOY_RECIPE, default_settings
from equipoise.config.train_config import read_yaml
from equipoise.networks import DCGAN, MLP, Autoencoder, DCGANAutoencoder, MLPAutoencoder
from equipoise.objectives import OBJECTIVES, Needs, Objective
from equipoise.objectives.gan import GAN

NEUTRAL = {
    "batch": 64,
    "update": "alternating",
    "n_critic": 1,
    "separate_latents": False,
    "optimizer": "adam",
    "lr": 2e-4,
    "lr_ratio": 1.0,
    "beta1": 0.5,
    "beta2": 0.999,
    "warmup": 0,
    "lr_patience": 0,
    "prior": "normal",
}


class NewObjective(GAN):
    """An objective that says nothing of how it is trained."""

    recipe = {}  # noqa: RUF012


def test_an_objective_without_a_recipe_is_trained_as_any_gan_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OBJECTIVES, "new", NewObjective)
    config = TrainConfig(objective=NewObjective())
    assert {name: getattr(config, name) for name in NEUTRAL} == NEUTRAL
    assert config.network == DCGAN()


def test_without_an_objective_it_is_began_by_its_recipe() -> None:
    assert TrainConfig() == TrainConfig(objective=BEGAN()) == read_yaml("data: digits", "it")
    settings = {**BEGAN.recipe, "network": DCGANAutoencoder(width_ratio=2.0)}
    assert {name: getattr(TrainConfig(), name) for name in settings} == settings
    assert TrainConfig(data="grid25") == TrainConfig(objective=BEGAN(), data="grid25")


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("data", ["digits", "grid25"])
def test_recipes_are_settings_that_differ_from_the_neutral_ones(name: str, data: str) -> None:
    settings = default_settings(OBJECTIVES[name](), data)
    defaults = {field.name: field.default for field in fields(TrainConfig)}
    assert settings.keys() <= defaults.keys()
    assert all(defaults[setting] != value for setting, value in OBJECTIVES[name].recipe.items())
    assert all(TOY_RECIPE.get(setting) != value for setting, value in OBJECTIVES[name].toy_recipe.items())


def test_what_is_given_wins_over_every_recipe() -> None:
    objective: Objective = OBJECTIVES["wgan"]()
    given = TrainConfig(objective=objective, data="grid25", lr=0.1, n_critic=7, batch=10)
    assert (given.lr, given.n_critic, given.batch) == (0.1, 7, 10)
    assert TrainConfig(objective=objective, data="grid25").lr == 1e-3  # its own, and not TOY_RECIPE's
    assert TrainConfig(objective=objective).lr == 5e-4
    assert given.with_changes(objective=GAN()).optimizer == "rmsprop"  # a change leaves all the rest


@pytest.mark.parametrize(
    ("objective", "images", "points"),
    [
        ("began", DCGANAutoencoder(width_ratio=2.0), MLPAutoencoder()),
        ("ebgan", DCGANAutoencoder(), MLPAutoencoder()),
        ("gan", DCGAN(), MLP()),
        ("ls-gan", DCGAN(), MLP()),
        ("wgan-gp", DCGAN(norm="layer"), MLP()),
    ],
)
def test_networks_follow_from_the_score_and_the_data(objective: str, images: DCGAN, points: MLP) -> None:
    kind = OBJECTIVES[objective]
    if kind().needs == Needs("loss"):
        assert TrainConfig(objective=kind(), network="autoencoder").network == Autoencoder()
    assert TrainConfig(objective=kind()).network == images
    assert TrainConfig(objective=kind(), data="ring8").network == points


def test_a_recipe_of_networks_is_for_the_default_ones() -> None:
    wider = DCGANAutoencoder(width_ratio=2.0)
    assert TrainConfig(objective=BEGAN(), network="dcgan-autoencoder").network == wider
    assert TrainConfig(objective=BEGAN(), network="autoencoder").network == Autoencoder()
    assert TrainConfig(objective=OBJECTIVES["ebgan"](), network="dcgan-autoencoder").network == DCGANAutoencoder()
    written = {"objective": "began", "network": {"name": "dcgan-autoencoder", "width": 16}}
    assert TrainConfig.from_dict(written).network == DCGANAutoencoder(width=16), "as before there was a ratio"
