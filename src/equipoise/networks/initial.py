"""First weights."""

import math

from torch import nn

LAYERS = nn.Conv2d | nn.ConvTranspose2d | nn.Linear


def normal_init(module: nn.Module) -> None:
    """Draw the weights of one convolution or linear layer from N(0, 0.02), with no bias; leave any other module."""
    if isinstance(module, LAYERS):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def scaled_init(layer: nn.Conv2d | nn.Linear, gain: float) -> None:
    """Draw a layer's weights with standard deviation `gain` / sqrt(inputs), with no bias (He et al. 2015).

    With gain 1 the variance of the signal stays through the layer; an activation's own gain makes up for its loss.
    """
    nn.init.normal_(layer.weight, 0.0, gain / math.sqrt(layer.weight[0].numel()))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
