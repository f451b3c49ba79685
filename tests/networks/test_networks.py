"""Properties of every network: shapes, gradients, independence, state, precision, tasks and conditions."""

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn

from equipoise.networks import (
    DCGAN,
    MLP,
    NETWORKS,
    Autoencoder,
    CompareGAN,
    DCGANAutoencoder,
    MLPAutoencoder,
    Network,
    build_players,
)
from equipoise.networks.base import BuildOptions
from equipoise.players import Conditions, Players

SHAPE = (3, 16, 16)
NOTHING = BuildOptions()
ALL: dict[str, Network] = {
    "autoencoder": Autoencoder(width=4, latent=5),
    "autoencoder-residual": Autoencoder(width=4, latent=5, skips=True, residual=100),
    "dcgan": DCGAN(width=4, latent=5),
    "dcgan-layer": DCGAN(width=4, latent=5, norm="layer", generator_norm="layer"),
    "dcgan-spectral": DCGAN(width=4, latent=5, norm="none", spectral=True),
    "dcgan-autoencoder": DCGANAutoencoder(width=4, latent=5, code=6),
    "dcgan-autoencoder-layer": DCGANAutoencoder(width=4, latent=5, norm="layer", generator_norm="layer"),
    "compare-gan": CompareGAN(latent=5),
    "mlp": MLP(width=8, latent=5),
    "mlp-batch": MLP(width=8, latent=5, norm="batch", generator_norm="batch", activation="leaky"),
    "mlp-layer-spectral": MLP(width=8, latent=5, norm="layer", spectral=True),
    "mlp-autoencoder": MLPAutoencoder(width=8, latent=5),
}
INDEPENDENT = [name for name, network in ALL.items() if network.independent]
each = pytest.mark.parametrize("name", ALL)


def built(name: str, shape: tuple[int, int, int] = SHAPE, options: BuildOptions = NOTHING) -> Players:
    torch.manual_seed(0)
    return ALL[name].build(shape, options)


def both(players: Players) -> nn.ModuleDict:
    return nn.ModuleDict(players._asdict())


def scores(players: Players, latent: Tensor) -> Tensor:
    score: Tensor = players.discriminator(players.generator(latent).images).score
    return score


def test_the_names_are_those_of_the_registry() -> None:
    assert {type(network) for network in ALL.values()} == set(NETWORKS.values())
    assert all(issubclass(kind, Network) and kind().latent for kind in NETWORKS.values())


@each
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_number_of_channels_goes_through(name: str, channels: int) -> None:
    """Three were hard-coded, so that grayscale failed (a bug of others)."""
    players = built(name, (channels, 16, 16))
    images = players.generator(torch.randn(2, 5)).images
    assert images.shape == (2, channels, 16, 16)
    answer = players.discriminator(images)
    assert answer.score.shape == (2,)
    assert (0 if answer.code is None else answer.code.shape[1]) == ALL[name].codes
    assert answer.logits is None


@each
def test_every_weight_has_a_gradient_of_its_own_players_loss(name: str) -> None:
    players = built(name)
    for player in players:
        ALL[name].anneal(player, 50)  # at the start a layer that is the identity has none
    score = scores(players, torch.randn(4, 5))
    for player in players:
        for gradient in torch.autograd.grad(score.square().mean(), list(player.parameters()), retain_graph=True):
            assert gradient.isfinite().all()
            assert gradient.abs().max() > 0 or gradient.numel() == 1


@each
def test_a_score_depends_on_its_own_image_alone_exactly_where_the_network_says_so(name: str) -> None:
    discriminator = built(name).discriminator.double()
    images = torch.randn(4, *SHAPE, dtype=torch.float64)
    copy.deepcopy(discriminator)(images)  # the power method moves on with each pass
    together, alone = (copy.deepcopy(discriminator)(some).score for some in (images, torch.cat([images[:1]] * 4)))
    assert torch.allclose(together[0], alone[0], rtol=1e-10) == ALL[name].independent


@each
def test_generated_images_depend_on_other_latents_as_the_network_says(name: str) -> None:
    generator, latent = built(name).generator.double(), torch.randn(4, 5, dtype=torch.float64)
    together, alone = (generator(some).images for some in (latent, torch.cat([latent[:1]] * 4)))
    assert torch.allclose(together[0], alone[0], rtol=1e-10) == ALL[name].independent_g


@each
def test_the_state_goes_out_and_in_again_bit_for_bit(name: str) -> None:
    players, latent = built(name), torch.randn(4, 5)
    scores(players, latent)
    other = ALL[name].build(SHAPE)
    both(other).load_state_dict({key: value.clone() for key, value in both(players).state_dict().items()})
    for _ in range(2):
        assert torch.equal(scores(players, latent), scores(other, latent))
    assert all(
        torch.equal(mine, his)
        for mine, his in zip(both(players).state_dict().values(), both(other).state_dict().values(), strict=True)
    )


@each
def test_a_copy_of_the_generator_can_average_its_weights(name: str) -> None:
    generator, latent = built(name).generator, torch.randn(4, 5)
    average = copy.deepcopy(generator).requires_grad_(requires_grad=False)
    assert torch.equal(average(latent).images, generator(latent).images)
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), [2 * weight for weight in generator.parameters()], 0.5)
    for mine, his in zip(average.parameters(), generator.parameters(), strict=True):
        torch.testing.assert_close(mine, 1.5 * his)


@each
def test_channels_last_changes_the_layout_only(name: str) -> None:
    players, latent = built(name), torch.randn(4, 5, dtype=torch.float64)
    plain = both(players).double()
    converted = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    images = plain["generator"](latent).images
    torch.testing.assert_close(converted["generator"](latent).images, images)
    torch.testing.assert_close(
        converted["discriminator"](images.to(memory_format=torch.channels_last)).score,
        plain["discriminator"](images).score,
    )


@each
def test_scores_and_logits_are_in_full_precision_under_autocast(name: str) -> None:
    players = built(name, options=BuildOptions(logits=3))
    with torch.autocast("cpu", torch.bfloat16):
        answer = players.discriminator(players.generator(torch.randn(4, 5)).images)
    assert (answer.score.dtype, answer.logits.dtype) == (torch.float32, torch.float32)
    assert (answer.score != answer.score.bfloat16().float()).any()  # not rounded before it was widened


@pytest.mark.parametrize("name", INDEPENDENT)
def test_a_penalty_on_the_gradient_moves_the_weights_as_finite_differences_say(name: str) -> None:
    discriminator = built(name).discriminator.double().eval()
    images = torch.randn(2, *SHAPE, dtype=torch.float64, requires_grad=True)
    weight = next(weight for weight in discriminator.parameters() if weight.dim() > 1)

    def penalty() -> Tensor:
        (gradient,) = torch.autograd.grad(discriminator(images).score.sum(), images, create_graph=True)
        return (gradient.flatten(1).norm(dim=1) - 1).square().mean()

    (got,) = torch.autograd.grad(penalty(), weight)
    nudge = 1e-6 * got / got.norm()
    ends = []
    for sign in (1, -2):
        with torch.no_grad():
            weight += sign * nudge
        ends.append(penalty().detach())
    assert got.norm() > 0
    torch.testing.assert_close(got.norm(), (ends[0] - ends[1]) / 2e-6, rtol=1e-3, atol=1e-9)


@each
def test_a_condition_lengthens_the_generators_latent_only(name: str) -> None:
    players = built(name, options=BuildOptions(condition=3))
    images = players.generator(torch.randn(4, 8)).images
    answer = players.discriminator(images)
    assert (0 if answer.code is None else answer.code.shape[1]) == ALL[name].codes
    plain = built(name)
    assert [w.shape for w in plain.discriminator.parameters()] == [w.shape for w in players.discriminator.parameters()]


@each
def test_a_head_for_tasks_leaves_every_other_first_weight_as_it_was(name: str) -> None:
    """So that a task of weight 0 changes nothing."""
    plain, with_head = both(built(name)).state_dict(), both(built(name, options=BuildOptions(logits=4))).state_dict()
    assert set(with_head) - set(plain) == {"discriminator.tasks.weight", "discriminator.tasks.bias"}
    assert all(torch.equal(value, with_head[key]) for key, value in plain.items())


@each
@pytest.mark.parametrize(("levels", "channels"), [(2, 3), (3, 9), (5, 15)])
def test_levels_ask_for_logits_of_any_size(name: str, levels: int, channels: int) -> None:
    generator = built(name, options=BuildOptions(levels=levels)).generator
    logits = generator(torch.randn(2, 5)).images
    assert logits.shape == (2, channels, 16, 16)
    for weight in list(generator.parameters())[-2:]:
        weight.data *= 1e6
    assert generator(torch.randn(2, 5)).images.abs().max() > 1


@each
def test_the_carry_follows_the_images_seen_where_there_is_one(name: str) -> None:
    players = built(name)
    for images_seen, carry in ((0, 1.0), (25, 0.75), (100, 0.0), (10**6, 0.0)):
        for player in players:
            ALL[name].anneal(player, images_seen)
            residual = [layer.carry.item() for layer in player.modules() if getattr(layer, "residual", False)]
            assert set(residual) == ({carry} if name == "autoencoder-residual" else set())


@pytest.mark.parametrize(("name", "classes", "inpainting"), list(itertools.product(ALL, (0, 4), (False, True))))
def test_every_network_builds_for_every_task(name: str, classes: int, inpainting: bool) -> None:
    generator, discriminator = build_players(
        ALL[name], SHAPE, classes=classes, inpainting=inpainting, logits=classes + 4
    )
    ALL[name].anneal(generator, 50)
    conditions = Conditions(
        labels=torch.tensor([1, 3]), masked=torch.rand(2, *SHAPE), mask=(torch.rand(2, 1, 16, 16) < 0.5).float()
    )
    images = generator(torch.randn(2, 5), conditions).images
    assert images.shape == (2, *SHAPE)
    assert discriminator(images).logits.shape == (2, classes + 4)
    losses = discriminator(images).score.square().mean()
    for gradient in torch.autograd.grad(losses, list(generator.parameters())):
        assert gradient.abs().max() > 0


@each
def test_torchs_transforms_of_functions_see_through(name: str) -> None:
    """Derivatives of images in the latent, forward and backward, and of many latents at once."""
    generator = built(name).generator.double().eval()
    z, direction = torch.randn(2, 3, 5, dtype=torch.float64)

    def image(latent: Tensor) -> Tensor:
        images: Tensor = generator(latent[None]).images
        return images.flatten()

    jacobians = torch.func.vmap(torch.func.jacrev(image))(z)
    torch.testing.assert_close(jacobians[1], torch.autograd.functional.jacobian(image, z[1]))
    if "layer" not in name:  # of channels-last images torch's own group norm has no forward derivative
        _, slopes = torch.func.jvp(image, (z[0],), (direction[0],))
        torch.testing.assert_close(jacobians[0] @ direction[0], slopes)
