"""Differentiable augmentation: against plain indexing and arithmetic, its gradient, and the steps that use it."""

import pytest
import torch
import torch.nn.functional as F

from equipoise import TrainConfig
from equipoise.bench.steps import take_step
from equipoise.data import Dataset, open_dataset
from equipoise.data.augmentation import RATIO, SCALED, SHIFT, SIZE, augment, change_colour, scale, translate
from equipoise.devices import SingleProcess
from equipoise.errors import UsageError
from equipoise.randomness import Draws
from equipoise.training.batch import make_batch
from equipoise.training.distributed import make_distributed
from equipoise.training.state import DataSpec, TrainState


def images(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1


def test_translation_against_indexing() -> None:
    """Every shift of 16 rows and 24 columns, an eighth of each at the most, with the edge repeated."""
    x = images(25, 3, 16, 24)
    reach = (16 // SHIFT, 24 // SHIFT)
    assert reach == (2, 3)
    shifts = [(down, right) for down in range(-2, 3) for right in range(-2, 3)]
    # The middle of the part of [0, 1) that is this shift's.
    uniform = torch.tensor([[(down + 2.5) / 5, (right + 3.5) / 7] for down, right in shifts], dtype=torch.float64)
    moved = translate(x, uniform)
    for image, result, (down, right) in zip(x, moved, shifts, strict=True):
        rows = [min(max(row + down, 0), 15) for row in range(16)]
        columns = [min(max(column + right, 0), 23) for column in range(24)]
        assert torch.equal(result, image[:, rows][:, :, columns])
    assert moved.is_contiguous(memory_format=torch.channels_last)  # else a discriminator's layers are slow


def test_translations_are_all_as_likely_and_none_is_further() -> None:
    ramp = torch.arange(32.0).expand(20_000, 1, 32, 32)
    uniform = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(1))
    shifts = (translate(ramp, uniform)[:, 0, 16, 16] - 16).int()
    counts = torch.bincount(shifts + 4)
    assert len(counts) == 9
    assert (counts / 20_000 - 1 / 9).abs().max() < 0.01


def test_scale_against_sampling_from_a_grid() -> None:
    """By torch's own bilinear interpolation, which mirrors at the edge too; the size by 2^±SIZE, the sides by RATIO."""
    x = images(7, 3, 16, 24)
    uniform = torch.rand(7, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * SCALED
    uniform[:2, :2] = torch.tensor([[0.0, 0.0], [1.0, 0.0]])  # the extremes
    size, ratio = (2 ** (extent * (2 * uniform[:, axis] - 1)) for axis, extent in enumerate((SIZE, RATIO)))
    theta = torch.zeros(7, 2, 3, dtype=torch.float64)
    theta[:, 0, 0], theta[:, 1, 1] = ratio / size, 1 / (size * ratio)  # from columns and rows of the result
    grid = F.affine_grid(theta, [7, 3, 16, 24], align_corners=False)
    expected = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    scaled = scale(x, uniform)
    torch.testing.assert_close(scaled, expected, rtol=0, atol=1e-12)
    assert scaled.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(scaled[0], x[0])


def test_half_of_the_images_are_not_scaled_at_all() -> None:
    x = images(2_000, 1, 5, 8).float()
    uniform = torch.rand(2_000, 3, generator=torch.Generator().manual_seed(3))
    unchanged = (scale(x, uniform) == x).flatten(1).all(1)
    assert torch.equal(unchanged, uniform[:, 2] >= SCALED)
    assert abs(unchanged.double().mean() - 0.5) < 0.05


def test_colour_by_hand() -> None:
    """Red and black beside each other: brightness, then saturation about the gray, then contrast about the mean."""
    x = torch.tensor([[[[1.0, -1.0]], [[-1.0, -1.0]], [[-1.0, -1.0]]]], dtype=torch.float64)
    same = change_colour(x, torch.tensor([[0.5, 0.5, 0.5]], dtype=torch.float64))
    torch.testing.assert_close(same, x, rtol=0, atol=1e-15)
    brighter = change_colour(x, torch.tensor([[1.0, 0.5, 0.5]], dtype=torch.float64))
    torch.testing.assert_close(brighter, x + 0.5, rtol=0, atol=1e-15)
    gray = change_colour(x, torch.tensor([[0.5, 0.0, 0.5]], dtype=torch.float64))
    torch.testing.assert_close(gray, x.mean(1, keepdim=True).expand_as(x), rtol=0, atol=1e-15)
    flat = change_colour(x, torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(flat, x.mean() + 0.5 * (x - x.mean()), rtol=0, atol=1e-15)
    assert torch.equal(change_colour(x[:, :1], torch.tensor([[0.5, 0.0, 0.5]]).double()), x[:, :1])  # gray stays


def test_gradients_pass_through() -> None:
    x, uniform = images(2, 3, 8, 8).requires_grad_(), torch.rand(2, 3, dtype=torch.float64)
    uniform[0, 2] = 0.1  # scaled
    changed = lambda x: translate(scale(change_colour(x, uniform), uniform), uniform)  # noqa: E731
    assert torch.autograd.gradcheck(changed, x)
    assert torch.autograd.gradgradcheck(changed, x), "as penalties of slopes in the latent need it"


def test_real_and_generated_images_are_changed_independently_and_by_their_place() -> None:
    """And a process that has half of the batch changes it as one that has all of it does."""
    x = images(8, 3, 16, 16)
    whole, half = (Draws(0, 64, 8, share, dtype=torch.float64) for share in (slice(0, 8), slice(4, 8)))
    changed = augment(x, ("colour", "translation"), whole, "real")
    assert torch.equal(augment(x[4:], ("colour", "translation"), half, "real"), changed[4:])
    assert not torch.equal(augment(x, ("colour", "translation"), whole, "fake"), changed)
    assert torch.equal(augment(x, (), whole, "real"), x)
    assert (
        len(
            {
                tuple(each.flatten().tolist())
                for each in augment(x[:1].expand(8, -1, -1, -1), ("colour",), whole, "real")
            }
        )
        == 8
    )


def test_autocast_does_not_round_images() -> None:
    x, draws = images(4, 3, 16, 16).float(), Draws(0, 0, 4, slice(0, 4))
    plain = augment(x, ("translation",), draws, "real")
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(augment(x, ("translation",), draws, "real"), plain)


@pytest.fixture
def dataset() -> Dataset:
    return open_dataset("digits", 16, held_out=0.1)


@pytest.mark.parametrize("update", ["simultaneous", "alternating"])
@pytest.mark.parametrize("objective", ["began", "gan", "wgan-gp"])
def test_every_objective_is_trained_with_it(objective: str, update: str, dataset: Dataset) -> None:
    """The step is another than without, and both players move."""
    from equipoise import PRESETS

    device = torch.device("cpu")
    gradients = []
    for kinds in ((), ("colour", "scale", "translation")):
        config = PRESETS[objective]["default"].with_changes(
            resolution=16, batch=8, update=update, augment=kinds, precision="fp32"
        )
        state = TrainState(config, DataSpec.of(dataset.feed), device)
        distributed = make_distributed(SingleProcess(device), "fp32")
        take_step(state, make_batch(config, dataset.feed, 0, distributed, device), distributed)
        gradients.append([weight.grad.clone() for player in state.players for weight in player.parameters()])
    assert all(grad.abs().sum() > 0 for grad in gradients[1][:3])
    assert not any(torch.equal(a, b) for a, b in zip(gradients[0][:3], gradients[1][:3], strict=True))


@pytest.mark.parametrize("settings", [{"data": "grid25"}, {"objective": "bgan-discrete"}])
def test_what_cannot_bear_it_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="--augment"):
        TrainConfig.from_dict({**settings, "augment": ["translation"]})


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="colour"):
        TrainConfig.from_dict({"augment": ["rotation"]})
