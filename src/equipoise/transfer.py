"""From main memory to where it is computed."""

import torch
from torch import Tensor


def onto(device: torch.device, tensor: Tensor) -> Tensor:
    """`tensor` on `device`; a GPU fetches it when it comes to it, and nobody waits until then."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
