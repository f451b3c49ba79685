"""The extractor `inception`: the Inception v3 of 2015-12-05 on which published FID and inception scores rest.

The architecture is that of Szegedy et al. (2015, arXiv:1512.00567), but for three things that this network does in its
own way: averages leave the padding out, the last block takes a maximum where the paper has an average, and there are
1008 classes. Modules have the names that the file of weights gives them.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.metrics.features.extractor import Extractor
from equipoise.metrics.features.resize import rgb, tensorflow_bilinear
from equipoise.metrics.features.weights import Published, fold_normalisation, load, sha256

WEIGHTS = Published(
    extractor="inception",
    url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    names=("weights-inception-2015-12-05-6726825d.pth", "pt_inception-2015-12-05-6726825d.pth"),
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    variable="EQUIPOISE_INCEPTION",
)
SIDE, FEATURES, CLASSES = 299, 2048, 1008

Pool = Callable[[Tensor], Tensor]
AVERAGE: Pool = partial(F.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
MAXIMUM: Pool = partial(F.max_pool2d, kernel_size=3, stride=1, padding=1)
HALVE: Pool = partial(F.max_pool2d, kernel_size=3, stride=2)


class Conv(NamedTuple):
    """A convolution by its output channels, kernel and stride; of stride 1 it is padded to keep the size.

    If `split`, it is two side by side, of one row and of one column, whose outputs are concatenated.
    """

    channels: int
    height: int = 1
    width: int = 1
    stride: int = 1
    split: bool = False


class _Convolution(nn.Module):
    """A convolution, batch normalisation and the rectifier."""

    def __init__(self, n_in: int, spec: Conv, *, padded: bool = True) -> None:
        super().__init__()
        channels, height, width, stride, _ = spec
        padding = (height // 2, width // 2) if padded and stride == 1 else (0, 0)
        self.conv = nn.Conv2d(n_in, channels, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(channels, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)), inplace=True)


class _Mixed(nn.Module):
    """Chains of convolutions over the same input, and one more behind a pool; their outputs are concatenated."""

    def __init__(self, n_in: int, chains: Mapping[str, Sequence[Conv]], pool: Pool, pooled: int | None = None) -> None:
        super().__init__()
        self.pool = pool
        self.chains: list[list[tuple[str, ...]]] = []  # names of modules
        for name, chain in chains.items():
            self.chains.append(self._add(name, n_in, chain))
        self.branch_pool = nn.Identity() if pooled is None else _Convolution(n_in, Conv(pooled))

    def _add(self, name: str, n_in: int, chain: Sequence[Conv]) -> list[tuple[str, ...]]:
        """Add a chain's modules, named as in the file: branch5x5_1, branch5x5_2; if split, branch3x3_2a and _2b."""
        names: list[tuple[str, ...]] = []
        for place, step in enumerate(chain, start=1):
            stem = name if len(chain) == 1 else f"{name}_{place}"
            parts = {stem: step}
            if step.split:
                parts = {f"{stem}a": step._replace(height=1), f"{stem}b": step._replace(width=1)}
            for module, spec in parts.items():
                self.add_module(module, _Convolution(n_in, spec))
            names.append(tuple(parts))
            n_in = step.channels * len(parts)
        return names

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for chain in self.chains:
            y = x
            for names in chain:
                y = torch.cat([self.get_submodule(name)(y) for name in names], dim=1)
            outputs.append(y)
        return torch.cat([*outputs, self.branch_pool(self.pool(x))], dim=1)


def _35x35(n_in: int, pooled: int) -> _Mixed:
    return _Mixed(
        n_in,
        {
            "branch1x1": [Conv(64)],
            "branch5x5": [Conv(48), Conv(64, 5, 5)],
            "branch3x3dbl": [Conv(64), Conv(96, 3, 3), Conv(96, 3, 3)],
        },
        AVERAGE,
        pooled,
    )


def _35x35_to_17x17() -> _Mixed:
    chains = {"branch3x3": [Conv(384, 3, 3, 2)], "branch3x3dbl": [Conv(64), Conv(96, 3, 3), Conv(96, 3, 3, 2)]}
    return _Mixed(288, chains, HALVE)


def _17x17(n: int) -> _Mixed:
    return _Mixed(
        768,
        {
            "branch1x1": [Conv(192)],
            "branch7x7": [Conv(n), Conv(n, 1, 7), Conv(192, 7, 1)],
            "branch7x7dbl": [Conv(n), Conv(n, 7, 1), Conv(n, 1, 7), Conv(n, 7, 1), Conv(192, 1, 7)],
        },
        AVERAGE,
        192,
    )


def _17x17_to_8x8() -> _Mixed:
    return _Mixed(
        768,
        {
            "branch3x3": [Conv(192), Conv(320, 3, 3, 2)],
            "branch7x7x3": [Conv(192), Conv(192, 1, 7), Conv(192, 7, 1), Conv(192, 3, 3, 2)],
        },
        HALVE,
    )


def _8x8(n_in: int, pool: Pool) -> _Mixed:
    cross = Conv(384, 3, 3, split=True)
    return _Mixed(
        n_in,
        {
            "branch1x1": [Conv(320)],
            "branch3x3": [Conv(384), cross],
            "branch3x3dbl": [Conv(448), Conv(384, 3, 3), cross],
        },
        pool,
        192,
    )


class Inception(nn.Module):
    """From (N, 3, 299, 299) to the features, (N, 2048), and the logits without the bias, (N, 1008).

    The published code of the inception score multiplied by the last layer's weights and left its bias out; so do all
    who reproduce its figures.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Convolution(3, Conv(32, 3, 3, 2))
        self.Conv2d_2a_3x3 = _Convolution(32, Conv(32, 3, 3), padded=False)
        self.Conv2d_2b_3x3 = _Convolution(32, Conv(64, 3, 3))
        self.Conv2d_3b_1x1 = _Convolution(64, Conv(80))
        self.Conv2d_4a_3x3 = _Convolution(80, Conv(192, 3, 3), padded=False)
        self.Mixed_5b = _35x35(192, 32)
        self.Mixed_5c = _35x35(256, 64)
        self.Mixed_5d = _35x35(288, 64)
        self.Mixed_6a = _35x35_to_17x17()
        self.Mixed_6b = _17x17(128)
        self.Mixed_6c = _17x17(160)
        self.Mixed_6d = _17x17(160)
        self.Mixed_6e = _17x17(192)
        self.Mixed_7a = _17x17_to_8x8()
        self.Mixed_7b = _8x8(1280, AVERAGE)
        self.Mixed_7c = _8x8(2048, MAXIMUM)
        self.fc = nn.Linear(FEATURES, CLASSES)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:  # noqa: D102
        x = pixels.contiguous(memory_format=torch.channels_last)
        x = HALVE(self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))))
        x = HALVE(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)))
        for block in (self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a, self.Mixed_6b, self.Mixed_6c):
            x = block(x)
        for block in (self.Mixed_6d, self.Mixed_6e, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c):
            x = block(x)
        features = x.mean(dim=(2, 3))
        return features, features @ self.fc.weight.T


def prepare(images: Tensor) -> Tensor:
    """From uint8 (N, 1 or 3, H, W) to float32 (N, 3, 299, 299) in [-1, 1)."""
    return (tensorflow_bilinear(rgb(images), SIDE) - 128) / 128


def inception(file: Path | None, device: torch.device, _: tuple[int, int, int]) -> Extractor:
    """The extractor, with the published weights.

    Args:
        file: of the weights; by default `Published.locate` says where they are.
        device: where to compute.

    Raises:
        UsageError: the weights cannot be had, or `file` holds others.
    """
    path = WEIGHTS.locate(file)
    network = fold_normalisation(load(Inception, path, "inception"))
    return Extractor(
        name="inception",
        size=FEATURES,
        classes=CLASSES,
        identity=sha256(path)[:16],
        preprocessing="gray to RGB, bilinear as in TensorFlow 1 (no antialias) to 299x299, (x - 128) / 128",
        prepare=prepare,
        network=network.to(device=device),
        device=device,
    )
