"""Networks, objectives and data that do not go together are refused in one sentence."""

from typing import Any

import pytest

from equipoise import BEGAN, UsageError
from equipoise.config.compatibility import check_batch, check_pairing, check_toy, name_of
from equipoise.networks import DCGAN, MLP, NETWORKS, Autoencoder, CompareGAN, DCGANAutoencoder, MLPAutoencoder
from equipoise.objectives import OBJECTIVES, Tasks
from equipoise.objectives.bgan import BGANDiscrete
from equipoise.objectives.boundary_constrained import BCGAN
from equipoise.objectives.gan import GAN
from equipoise.objectives.wgan import WGANGP


@pytest.mark.parametrize(
    ("objective", "network", "words"),
    [
        (GAN(), Autoencoder(), "logit.*--network dcgan or mlp"),
        (BEGAN(), DCGAN(), "energy.*--network autoencoder or dcgan-autoencoder or mlp-autoencoder"),
        (BEGAN(match=0.1), DCGANAutoencoder(), "codes of length 256 with latents of length 64: use --code 64"),
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
    ("settings", "words"),
    [
        ({"objective": BGANDiscrete()}, "--data digits"),
        ({"network": DCGAN()}, "--network mlp"),
        ({"objective": BEGAN(), "network": Autoencoder()}, "--network mlp-autoencoder"),
        ({"scored": True}, "--score-every"),
        ({"tasks": Tasks(rotate_d=1.0)}, "--rotate-d is for images, and ring8 has points: leave it out"),
        ({"tasks": Tasks(inpaint=1.0)}, "--inpaint is for images, and ring8 has points: leave it out"),
    ],
)
def test_points_need_perceptrons_and_have_no_kid_and_no_pixels(settings: dict[str, Any], words: str) -> None:
    usual: dict[str, Any] = {"objective": GAN(), "network": MLP(), "tasks": Tasks(classify_d=1.0), "scored": False}
    check_toy(**usual, data="ring8")
    with pytest.raises(UsageError, match=words):
        check_toy(**{**usual, **settings}, data="ring8")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (MLP(norm="batch"), "needs 2 images or more: use --batch 2 or --norm none --generator-norm none$"),
        (MLP(generator_norm="batch"), "needs 2 images or more: use --batch 2 or --norm none --generator-norm none$"),
        (CompareGAN(), "needs 2 images or more: use --batch 2$"),
    ],
)
def test_batch_normalisation_of_vectors_needs_two_images(network: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        check_batch(network, 1, 1)
    check_batch(network, 2, 2)  # whose processes normalise together


def test_convolutions_normalise_over_the_pixels_of_one_image() -> None:
    for network in (DCGAN(), DCGANAutoencoder(), MLP(norm="layer")):
        check_batch(network, 1, 1)


def test_names_are_those_of_the_registry() -> None:
    assert name_of(BEGAN(), OBJECTIVES) == "began"
    assert name_of(DCGAN(), NETWORKS) == "dcgan"
    with pytest.raises(UsageError, match="register"):
        name_of(object(), OBJECTIVES)
