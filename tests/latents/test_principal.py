"""Directions: principal components against numpy, the Jacobian's against reverse mode."""

import numpy as np
import torch
from torch import Tensor, nn

from equipoise.latents.principal import jacobian_directions, principal_directions

RNG = torch.Generator().manual_seed(0)


def test_principal_directions_are_those_of_numpys_decomposition() -> None:
    z = torch.randn(50, 6, generator=RNG, dtype=torch.float64) @ torch.randn(6, 6, generator=RNG, dtype=torch.float64)
    found = principal_directions(z)
    _, singular, vectors = np.linalg.svd((z - z.mean(0)).numpy(), full_matrices=False)
    np.testing.assert_allclose(found.strengths.numpy(), singular / 7, rtol=1e-12)
    for ours, theirs in zip(found.vectors.numpy(), vectors, strict=True):
        np.testing.assert_allclose(ours, theirs * np.sign(theirs[np.abs(theirs).argmax()]), atol=1e-10)
    torch.testing.assert_close(((z - z.mean(0)) @ found.vectors.T).std(dim=0), found.strengths)


def test_the_jacobians_directions_are_those_of_reverse_mode() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(5, 16), nn.ELU(), nn.Linear(16, 12), nn.Unflatten(1, (3, 2, 2))).double()
    z = torch.randn(7, 5, generator=RNG, dtype=torch.float64)
    found = jacobian_directions(layers, z)
    jacobians = torch.stack([torch.func.jacrev(lambda one: layers(one[None])[0].flatten())(row) for row in z])
    mean = (jacobians.transpose(1, 2) @ jacobians).sum(0) / (7 * 12)
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(mean @ found.vectors.T, found.vectors.T * found.strengths.square())
    assert found.strengths.tolist() == sorted(found.strengths.tolist(), reverse=True)


def test_of_a_linear_generator_they_are_its_singular_vectors() -> None:
    matrix = torch.randn(12, 4, generator=RNG, dtype=torch.float64)

    def generate(z: Tensor) -> Tensor:
        return (z @ matrix.T).view(-1, 3, 2, 2)

    found = jacobian_directions(generate, torch.zeros(3, 4, dtype=torch.float64))
    _, singular, vectors = torch.linalg.svd(matrix, full_matrices=False)
    torch.testing.assert_close(found.strengths, singular / 12**0.5)
    torch.testing.assert_close((found.vectors * vectors).sum(1).abs(), torch.ones(4, dtype=torch.float64))
    assert (found.vectors.gather(1, found.vectors.abs().argmax(1, keepdim=True)) > 0).all()
