"""Linear regression with a penalty (ridge; Hoerl and Kennard 1970), its strength chosen by rows that are left out."""

from typing import NamedTuple

import torch
from torch import Tensor

PENALTIES = (1e-6, 1e-4, 1e-2, 1e-1, 1.0)  # relative to the mean variance of the inputs
LEFT_OUT = 0.25  # share of the rows by which the penalty is chosen


class Regression(NamedTuple):
    """A linear map from inputs to outputs.

    Attributes:
        weight: (I, O).
        bias: (O,).
        explained: share of the outputs' variance that it explains where it was not fitted; at most 1.
    """

    weight: Tensor
    bias: Tensor
    explained: float

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs (n, O) for inputs (n, I), in the inputs' precision."""
        return inputs @ self.weight.to(inputs) + self.bias.to(inputs)


def ridge_regression(inputs: Tensor, outputs: Tensor) -> Regression:
    """The linear map from inputs (N, I) to outputs (N, O) of least squared error, with the penalty that serves it best.

    Computed in float64 on the CPU. The penalty is the one of PENALTIES with the least error on the last quarter of the
    rows; the map is then fitted anew to all rows.
    """
    x, y = inputs.cpu().double(), outputs.cpu().double()  # some devices have no float64
    fitted = len(x) - max(1, round(LEFT_OUT * len(x)))
    rest = y[fitted:]
    errors = []
    for penalty in PENALTIES:
        weight, bias = _solve(x[:fitted], y[:fitted], penalty)
        errors.append((x[fitted:] @ weight + bias - rest).square().sum().item())
    least = min(range(len(errors)), key=errors.__getitem__)
    spread = (rest - y[:fitted].mean(dim=0)).square().sum().item()
    return Regression(*_solve(x, y, PENALTIES[least]), 1 - errors[least] / max(spread, 1e-30))


def _solve(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Weight and bias; the bias is not penalised, as rows are centred first."""
    centre, mean = x.mean(dim=0), y.mean(dim=0)
    centred = x - centre
    scatter = centred.T @ centred
    scatter.diagonal().add_(penalty * scatter.diagonal().mean().clamp_min(1e-30))
    weight = torch.linalg.solve(scatter, centred.T @ (y - mean))
    return weight, mean - centre @ weight
