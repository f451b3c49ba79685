"""Class-conditional, inpainting and discrete generators."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.errors import UsageError
from equipoise.networks import DCGAN, MLP, build_players
from equipoise.networks.conditional import CONTEXT, Conditional, ContextEncoder, Discrete
from equipoise.players import Conditions, GeneratorOutput


class Identity(nn.Module):
    """A generator that gives back its latent, (N, C * H * W), as images or logits."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, latent: Tensor, conditions: Conditions | None = None) -> GeneratorOutput:
        return GeneratorOutput(latent.unflatten(1, self.shape))


def test_a_class_joins_the_latent_as_one_hot() -> None:
    generator = Conditional(Identity((5, 1, 1)), 3, None)
    latent, labels = torch.randn(4, 2), torch.tensor([2, 0, 1, 2])
    joined = generator(latent, Conditions(labels=labels)).images[:, :, 0, 0]
    assert torch.equal(joined, torch.cat([latent, torch.eye(3)[labels]], 1))


def test_without_a_task_a_generator_is_as_it_is_built() -> None:
    torch.manual_seed(0)
    plain = MLP(width=4).build((2, 1, 1))
    torch.manual_seed(0)
    players = build_players(MLP(width=4), (2, 1, 1))
    assert type(players.generator) is type(plain.generator)
    for one, other in zip(plain, players, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    latent = torch.randn(3, 2)
    assert torch.equal(players.generator(latent, None).images, players.generator(latent).images)


def test_what_is_not_hidden_stays_and_what_is_hidden_does_not_matter() -> None:
    shape = (3, 16, 16)
    generator = build_players(DCGAN(width=2, latent=5), shape, inpainting=True).generator.eval()
    latent, masked = torch.randn(2, 5), torch.rand(2, *shape) * 2 - 1
    mask = (torch.rand(2, 1, 16, 16) < 0.3).float()
    images = generator(latent, Conditions(masked=masked, mask=mask)).images
    hidden = mask.bool().expand_as(images)
    assert torch.equal(images[~hidden], masked[~hidden])
    assert (images[hidden] != masked[hidden]).all()
    other = torch.where(hidden, torch.rand_like(masked), masked)
    assert torch.equal(generator(latent, Conditions(masked=other, mask=mask)).images, images)
    changed = torch.where(hidden, masked, -masked)
    assert (generator(latent, Conditions(masked=changed, mask=mask)).images[hidden] != images[hidden]).any()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 48, 64), (2, 1, 1), (4, 5, 9)])
def test_the_context_of_any_size_has_one_length(shape: tuple[int, int, int]) -> None:
    encoder = ContextEncoder(shape, width=2)
    assert encoder(torch.randn(3, *shape), torch.zeros(3, 1, *shape[1:])).shape == (3, CONTEXT)


def test_two_levels_are_drawn_by_comparing_the_noise_with_the_sigmoid() -> None:
    generator = Discrete(Identity((2, 3, 3)), levels=2, samples=4)
    logits, noise = torch.randn(5, 18, dtype=torch.float64), torch.rand(5, 4, 2, 3, 3, dtype=torch.float64)
    output = generator(logits, Conditions(noise=noise))
    upper = noise < torch.sigmoid(logits).view(5, 1, 2, 3, 3)
    assert torch.equal(output.images, torch.where(upper, 1.0, -1.0).double().flatten(0, 1))
    x = upper.double()
    expanded = logits.view(5, 1, 2, 3, 3)
    by_hand = -((1 - x) * expanded + F.softplus(-expanded)).flatten(2).sum(2).flatten()
    torch.testing.assert_close(output.log_prob, by_hand)


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_the_probabilities_of_all_images_sum_to_one(levels: int) -> None:
    """Every image of two pixels is drawn by the middle of its own stretch of noise."""
    logits = torch.randn(1, 2 if levels == 2 else 2 * levels, dtype=torch.float64)
    generator = Discrete(Identity((2 if levels == 2 else 2 * levels, 1, 1)), levels, levels**2)
    if levels == 2:
        probability = torch.stack([torch.sigmoid(-logits[0]), torch.sigmoid(logits[0])], 1)
    else:
        probability = logits.view(2, levels).softmax(1)
    above = probability.flip(1).cumsum(1).flip(1) - probability / 2  # the noise counts from the uppermost down
    wanted = torch.tensor(list(itertools.product(range(levels), repeat=2)))
    noise = torch.stack([above[pixel, wanted[:, pixel]] for pixel in range(2)], 1).view(1, levels**2, 2, 1, 1)
    output = generator(logits, Conditions(noise=noise))
    values = torch.linspace(-1, 1, levels, dtype=torch.float64)
    assert torch.equal(output.images[:, :, 0, 0], values[wanted])
    torch.testing.assert_close(output.log_prob.exp().sum(), torch.ones((), dtype=torch.float64))
    chosen = probability[0, wanted[:, 0]] * probability[1, wanted[:, 1]]
    torch.testing.assert_close(output.log_prob.exp(), chosen)


def test_values_are_drawn_as_often_as_they_are_likely() -> None:
    torch.manual_seed(0)
    logits, draws = torch.tensor([[0.5, -1.0, 1.5]]), 100_000
    generator = Discrete(Identity((3, 1, 1)), 3, draws)
    images = generator(logits, Conditions(noise=torch.rand(1, draws, 1, 1, 1))).images.flatten()
    share = torch.stack([(images == value).float().mean() for value in (-1, 0, 1)])
    torch.testing.assert_close(share, logits[0].softmax(0), rtol=0, atol=5 * 0.5 / draws**0.5)


def test_the_extremes_of_the_noise_draw_the_extremes_of_the_levels() -> None:
    generator = Discrete(Identity((3, 1, 1)), 3, 2)
    images = generator(torch.zeros(1, 3), Conditions(noise=torch.tensor([0.0, 1 - 2**-24]).view(1, 2, 1, 1, 1))).images
    assert images.flatten().tolist() == [1, -1]
    bernoulli = Discrete(Identity((1, 1, 1)), 2, 1)  # noise that equals the probability is not below it
    half = Conditions(noise=torch.full((1, 1, 1, 1, 1), 0.5, dtype=torch.float64))
    assert bernoulli(torch.zeros(1, 1, dtype=torch.float64), half).images.item() == -1


@pytest.mark.parametrize("levels", [2, 5])
def test_in_evaluation_every_pixel_has_its_most_likely_value(levels: int) -> None:
    generator = build_players(MLP(width=8, latent=5), (2, 3, 3), levels=levels, samples=3).generator.eval()
    latent = torch.randn(4, 5)
    output = generator(latent)
    logits = generator.generator(latent).images
    if levels == 2:
        expected = torch.where(logits > 0, 1.0, -1.0)
    else:
        expected = torch.linspace(-1, 1, levels)[logits.unflatten(1, (2, levels)).argmax(2)]
    assert torch.equal(output.images, expected)
    assert output.log_prob.shape == (4,)


def test_the_images_of_a_latent_stand_together_and_move_the_weights_by_their_probability_alone() -> None:
    generator = build_players(MLP(width=8, latent=5), (1, 2, 2), levels=2, samples=3).generator
    latent, noise = torch.randn(2, 5), torch.rand(2, 3, 1, 2, 2)
    output = generator(latent, Conditions(noise=noise))
    second = generator(latent[1:], Conditions(noise=noise[1:]))
    assert torch.equal(output.images[3:], second.images)
    torch.testing.assert_close(output.log_prob[3:], second.log_prob)
    assert not output.images.requires_grad
    assert all(weight.abs().max() > 0 for weight in torch.autograd.grad(output.log_prob.sum(), generator.parameters()))


def test_log_probabilities_are_in_full_precision_under_autocast() -> None:
    generator = build_players(DCGAN(width=2, latent=5), (1, 16, 16), levels=2).generator
    with torch.autocast("cpu", torch.bfloat16):
        output = generator(torch.randn(2, 5), Conditions(noise=torch.rand(2, 1, 1, 16, 16)))
    assert output.log_prob.dtype == output.images.dtype == torch.float32


def test_what_is_missing_or_cannot_be_is_said_in_one_sentence() -> None:
    network, latent, shape = MLP(width=4), torch.randn(2, 2), (1, 4, 4)
    masked = torch.zeros(2, *shape)
    for settings, conditions, says in [
        ({"classes": 3}, None, "give it labels"),
        ({"inpainting": True}, Conditions(), "give it masked ones"),
        ({"inpainting": True}, Conditions(masked=masked), "give it a mask"),
        ({"levels": 2}, None, "give it noise"),
        ({"levels": 2, "samples": 2}, Conditions(noise=masked[:, None]), "draws 2 images a latent"),
    ]:
        with pytest.raises(UsageError, match=says):
            build_players(network, shape, **settings).generator(latent, conditions)
    with pytest.raises(UsageError, match="leave one of them out"):
        build_players(network, shape, inpainting=True, levels=2)
