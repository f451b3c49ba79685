"""Directions along which images change most: of a linear generator, the singular vectors of its matrix."""

import torch
from torch import Tensor, nn

from equipoise.exporting.directions import principal_directions
from equipoise.exporting.ports import Ports


class Linear(nn.Module):
    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, latents: Tensor) -> Tensor:
        return (latents.double() @ self.matrix.T).unflatten(1, (1, 5, -1)) + 3


def test_a_linear_generator_has_its_singular_vectors() -> None:
    torch.manual_seed(0)
    matrix, latents = torch.randn(20, 6, dtype=torch.float64), torch.randn(3, 6)
    ports = Ports(Linear(matrix), {"latents": latents}, ["images"])
    directions, strengths = principal_directions(ports, ports.inputs, 4)
    _, values, vectors = torch.linalg.svd(matrix)
    assert torch.allclose(strengths.double(), values[:4] / 20**0.5, rtol=1e-4)
    assert torch.allclose(
        (directions.double() * vectors[:4]).sum(1).abs(), torch.ones(4, dtype=torch.float64), atol=1e-4
    )
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()


def test_long_latents_are_probed_along_random_axes() -> None:
    torch.manual_seed(0)
    strong = nn.functional.normalize(torch.randn(400, dtype=torch.float64), dim=0)
    matrix = torch.zeros(20, 400, dtype=torch.float64)
    matrix[0] = strong
    ports = Ports(Linear(matrix), {"latents": torch.randn(2, 400)}, ["images"])
    directions, _ = principal_directions(ports, ports.inputs, 1)
    assert torch.allclose(directions.norm(dim=1), torch.ones(1), atol=1e-5)
    assert abs(float(directions[0].double() @ strong)) > 0.7, "the part of it that 256 of 400 axes see"
