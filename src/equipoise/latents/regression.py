"""Linear regression with a penalty on the weights (ridge; Hoerl and Kennard 1970)."""

from typing import NamedTuple

import torch
from torch import Tensor


class Regression(NamedTuple):
    """A linear map from inputs to outputs.

    Attributes:
        weight: (I, O) float64.
        bias: (O,) float64.
    """

    weight: Tensor
    bias: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs (n, O) for inputs (n, I), in the inputs' precision and on their device."""
        return inputs @ self.weight.to(inputs) + self.bias.to(inputs)


def ridge_regression(inputs: Tensor, outputs: Tensor, penalty: float) -> Regression:
    """The linear map from inputs (N, I) to outputs (N, O) of least squared error and weights.

    Computed in float64 on the CPU. The bias is not penalised.

    Args:
        inputs: (N, I).
        outputs: (N, O).
        penalty: of the weights' squares, relative to the mean scatter of an input, sum (x - mean x)²; above 0.
    """
    x, y = inputs.cpu().double(), outputs.cpu().double()  # some devices have no float64
    centre, mean = x.mean(dim=0), y.mean(dim=0)
    centred = x - centre
    scatter = centred.T @ centred
    scatter.diagonal().add_(penalty * scatter.diagonal().mean().clamp_min(1e-30))
    weight = torch.linalg.solve(scatter, centred.T @ (y - mean))
    return Regression(weight, mean - centre @ weight)
