import pytest
import torch

from equipoise.data import channels_last, normalise, to_uint8


def test_every_byte_survives_the_round_trip() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    unit = normalise(values)
    assert unit.dtype == torch.float32
    assert (unit.min(), unit.max()) == (-1, 1)
    torch.testing.assert_close(unit.double(), values.double() / 127.5 - 1, atol=1e-7, rtol=0)
    assert torch.equal(to_uint8(unit), values)
    assert torch.equal(to_uint8(unit.double()), values)


def test_normalise_leaves_its_input_alone() -> None:
    values = torch.arange(256, dtype=torch.uint8)
    normalise(values)
    assert torch.equal(values, torch.arange(256, dtype=torch.uint8))


@pytest.mark.parametrize("shape", [(5, 3, 4, 6), (5, 1, 4, 6), (1, 3, 4, 6), (2, 2, 1, 1)])
def test_channels_last_changes_the_order_in_memory_alone(shape: tuple[int, ...]) -> None:
    images = torch.randint(0, 256, shape, dtype=torch.uint8)
    moved = channels_last(images)
    assert torch.equal(moved, images)
    assert moved.is_contiguous(memory_format=torch.channels_last)
    assert normalise(moved).is_contiguous(memory_format=torch.channels_last)


def test_to_uint8_rounds_and_clamps_and_bears_divergence() -> None:
    nan, inf = float("nan"), float("inf")
    given = torch.tensor([-7.0, 7.0, 0.0, 1 / 127.5 * 0.4, nan, inf, -inf], requires_grad=True)
    assert to_uint8(given).tolist() == [0, 255, 128, 128, 0, 255, 0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_to_uint8_takes_half_precision(dtype: torch.dtype) -> None:
    assert to_uint8(torch.tensor([-1, 0.5, 1], dtype=dtype)).tolist() == [0, 191, 255]
