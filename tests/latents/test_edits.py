"""Latents by hand."""

import numpy as np
import pytest
import torch

from equipoise.errors import UsageError
from equipoise.latents.edits import checked_latents, edit, moved_along, parse_dimensions, parse_values

Z = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


def test_truncation_comes_before_values_that_are_set() -> None:
    edited = edit(Z, "normal", values={1: 0.7, 3: -2.0}, truncate=0.5)
    torch.testing.assert_close(edited[:, [0, 2]], Z[:, [0, 2]] / 2)
    assert edited[:, 1].tolist() == pytest.approx([0.7] * 5)
    assert edited[:, 3].tolist() == [-2.0] * 5
    assert torch.equal(edit(Z, "uniform", values={}), Z)
    assert edit(Z, "normal", values={}, truncate=0).abs().max() == 0


def test_only_the_part_along_a_direction_is_replaced() -> None:
    direction = torch.tensor([0.6, 0.0, 0.8, 0.0])
    steps = torch.tensor([-1.0, 0.0, 2.0])
    moved = moved_along(Z[0], direction, steps)
    torch.testing.assert_close(moved @ direction, steps)
    rest = Z[0] - (Z[0] @ direction) * direction
    torch.testing.assert_close(moved - (moved @ direction)[:, None] * direction, rest.expand(3, 4))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"values": {4: 1.0}}, "0 to 3"),
        ({"values": {-1: 1.0}}, "0 to 3"),
        ({"values": {0: float("nan")}}, "cannot be set"),
        ({"values": {0: 1e300}}, "cannot be set"),
        ({"values": {}, "truncate": 1.5}, "from 0"),
        ({"values": {}, "truncate": float("nan")}, "from 0"),
    ],
)
def test_what_cannot_be_edited_is_told(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        edit(Z, "normal", **settings)  # type: ignore[arg-type]


def test_uniform_latents_are_not_truncated() -> None:
    with pytest.raises(UsageError, match="uniform"):
        edit(Z, "uniform", values={}, truncate=0.7)


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((0, 4)), np.array([["a"]]), np.zeros((1, 2, 2)), "text"])
def test_other_arrays_are_no_latents(bad: object) -> None:
    with pytest.raises(UsageError, match="latents are numbers"):
        checked_latents(bad, "file")


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64, torch.int64])
def test_latents_of_every_type_and_in_lists(kind: torch.dtype) -> None:
    rows = torch.tensor([[1, -2, 3], [0, 1, 2]]).to(kind)
    wanted = rows.float()
    assert torch.equal(checked_latents(rows, "file"), wanted)
    if rows.is_floating_point():
        rows.requires_grad_()
    assert torch.equal(checked_latents([rows[0], rows[1]], "file"), wanted)
    assert torch.equal(checked_latents(wanted.numpy().astype(">f8")[::-1], "file"), wanted.flip(0))


def test_the_place_of_what_is_not_finite_is_told() -> None:
    values = np.zeros((3, 4))
    values[2, 1] = np.inf
    with pytest.raises(UsageError, match="value 1 of latent 2"):
        checked_latents(values, "file")


def test_words_of_the_command_line() -> None:
    assert parse_values(["3=0.7", "5=-1"]) == {3: 0.7, 5: -1.0}
    assert parse_dimensions("0, 2,1") == [0, 2, 1]
    for words in (["3"], ["=1"], ["a=1"], ["1=x"]):
        with pytest.raises(UsageError, match="3=0.7"):
            parse_values(words)
    for text in ("a", "-1", "1.5", "1;2"):
        with pytest.raises(UsageError, match="0,1,2"):
            parse_dimensions(text)
