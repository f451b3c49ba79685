"""Ridge regression: exact where there is no noise, and least squares with further rows for the penalty."""

import numpy as np
import torch

from equipoise.latents.regression import ridge_regression

RNG = torch.Generator().manual_seed(0)


def test_a_linear_map_is_found_exactly() -> None:
    x = torch.randn(200, 6, generator=RNG, dtype=torch.float64) + 3
    weight, bias = torch.randn(6, 4, generator=RNG, dtype=torch.float64), torch.arange(4.0, dtype=torch.float64)
    found = ridge_regression(x, x @ weight + bias, 1e-12)
    torch.testing.assert_close(found(x), x @ weight + bias)
    torch.testing.assert_close(found.weight, weight)
    assert found(x.float()).dtype == torch.float32


def test_the_solution_is_that_of_augmented_least_squares() -> None:
    """Rows sqrt(lambda) I below the centred inputs, with outputs of 0 there, are the penalty (Hoerl and Kennard)."""
    x = torch.randn(30, 5, generator=RNG, dtype=torch.float64)
    y = torch.randn(30, 2, generator=RNG, dtype=torch.float64)
    found = ridge_regression(x, y, 0.1)
    centred = (x - x.mean(0)).numpy()
    strength = 0.1 * np.diag(centred.T @ centred).mean()
    rows = np.concatenate([centred, np.sqrt(strength) * np.eye(5)])
    outputs = np.concatenate([(y - y.mean(0)).numpy(), np.zeros((5, 2))])
    expected = np.linalg.lstsq(rows, outputs, rcond=None)[0]
    np.testing.assert_allclose(found.weight.numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(found(x).mean(0).numpy(), y.mean(0).numpy(), atol=1e-12)


def test_constant_inputs_give_the_mean() -> None:
    y = torch.randn(40, 3, generator=RNG)
    found = ridge_regression(torch.ones(40, 4), y, 1e-6)
    torch.testing.assert_close(found(torch.ones(2, 4)), y.mean(0).expand(2, 3))
