"""The extractor `digits`: a small classifier of our own, trained on the bundled digits, its weights in the package."""

from pathlib import Path

import torch
from torch import Tensor, nn

from equipoise.metrics.features.extractor import Extractor
from equipoise.metrics.features.resize import bicubic, gray
from equipoise.metrics.features.weights import fold_normalisation, load, sha256

WEIGHTS = Path(__file__).parents[1] / "weights" / "digits.safetensors"
SIDE, FEATURES, CLASSES = 32, 64, 10


class DigitsNetwork(nn.Module):
    """Classifier of digits: four convolutions, a linear layer to 64 normalised features, and one to ten logits."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in, n_out, stride in ((1, 16, 1), (16, 32, 2), (32, 64, 2), (64, 80, 2)):
            layers += [nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(16 * 80, FEATURES), nn.LayerNorm(FEATURES))
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """From (N, 1, 32, 32) in [-1, 1] to the features, (N, 64), and the logits, (N, 10)."""
        features = self.body(pixels)
        return features, self.head(features)


def prepare(images: Tensor) -> Tensor:
    """From uint8 (N, 1 or 3, H, W) to the network's input: float32 (N, 1, 32, 32) in [-1, 1]."""
    return bicubic(gray(images), SIDE) / 127.5 - 1


def digits(file: Path | None, device: torch.device, _: tuple[int, int, int]) -> Extractor:
    """The extractor, with the package's weights, or those of another training in `file`.

    Raises:
        UsageError: `file` cannot be read, or holds other weights.
    """
    path = file or WEIGHTS
    network = fold_normalisation(load(DigitsNetwork, path, "digits"))
    return Extractor(
        name="digits",
        size=FEATURES,
        classes=CLASSES,
        identity=sha256(path)[:16],
        preprocessing="colour to luma (BT.601), bicubic with antialias to 32x32, x / 127.5 - 1",
        prepare=prepare,
        network=network.to(device),
        device=device,
    )
