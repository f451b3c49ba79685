"""Networks, objectives and data that do not go together are refused in one sentence."""

from typing import Any

import pytest

from equipoise import BEGAN, UsageError
from equipoise.config.compatibility import check_pairing, check_toy, name_of
from equipoise.networks import DCGAN, MLP, NETWORKS, Autoencoder, MLPAutoencoder
from equipoise.objectives import OBJECTIVES
from equipoise.objectives.bgan import BGANDiscrete
from equipoise.objectives.boundary_constrained import BCGAN
from equipoise.objectives.gan import GAN
from equipoise.objectives.wgan import WGANGP


@pytest.mark.parametrize(
    ("objective", "network", "words"),
    [
        (GAN(), Autoencoder(), "logit.*--network dcgan or mlp"),
        (BEGAN(), DCGAN(), "energy.*--network autoencoder or mlp-autoencoder"),
        (WGANGP(), DCGAN(), "BatchNorm.*--norm layer or --norm none"),
        (BCGAN(), DCGAN(norm="layer"), "BatchNorm in the generator.*--generator-norm layer or --generator-norm none"),
        (BCGAN(constraint=0), DCGAN(generator_norm="layer"), "BatchNorm in the discriminator"),
    ],
)
def test_networks_that_an_objective_cannot_use(objective: Any, network: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_pairing(objective, network)


@pytest.mark.parametrize(
    ("objective", "network"),
    [
        (GAN(), MLP()),
        (BEGAN(), MLPAutoencoder()),
        (WGANGP(), DCGAN(norm="none")),
        (BCGAN(constraint_g=0), DCGAN(norm="layer")),
        (BCGAN(constraint=0, constraint_g=0), DCGAN()),
    ],
)
def test_networks_that_it_can(objective: Any, network: Any) -> None:
    check_pairing(objective, network)


@pytest.mark.parametrize(
    ("objective", "network", "scored", "words"),
    [
        (BGANDiscrete(), MLP(), False, "--data digits"),
        (GAN(), DCGAN(), False, "--network mlp"),
        (BEGAN(), Autoencoder(), False, "--network mlp-autoencoder"),
        (GAN(), MLP(), True, "--score-every"),
    ],
)
def test_points_need_perceptrons_and_have_no_kid(objective: Any, network: Any, scored: bool, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_toy(objective, network, "ring8", scored=scored)


def test_names_are_those_of_the_registry() -> None:
    assert name_of(BEGAN(), OBJECTIVES) == "began"
    assert name_of(DCGAN(), NETWORKS) == "dcgan"
    with pytest.raises(UsageError, match="register"):
        name_of(object(), OBJECTIVES)
