"""The extractor `dinov2`: the vision transformer ViT-S/14 of DINOv2 (Oquab et al., 2023, arXiv:2304.07193).

FID over its features agrees better with people than over Inception's (Stein et al., 2023, arXiv:2306.04675). Modules
have the names that the file of weights gives them.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.metrics.features.extractor import Extractor
from equipoise.metrics.features.resize import bicubic, rgb
from equipoise.metrics.features.weights import Published, load, sha256

WEIGHTS = Published(
    extractor="dinov2",
    url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
    names=("dinov2_vits14_pretrain.pth",),
    sha256="b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9",
    variable="EQUIPOISE_DINOV2",
)
SIDE, PATCH, FEATURES, HEADS, BLOCKS = 224, 14, 384, 6, 12
TRAINED_SIDE = 518 // PATCH  # in patches: the file has position embeddings for the side of its training images
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's R, G and B in [0, 1]


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(FEATURES, 3 * FEATURES)
        self.proj = nn.Linear(FEATURES, FEATURES)

    def forward(self, x: Tensor) -> Tensor:  # (N, tokens, 384)
        triples: Tensor = self.qkv(x)
        query, key, value = triples.reshape(*x.shape[:2], 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        mixed: Tensor = self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return mixed


class _Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(FEATURES, 4 * FEATURES)
        self.fc2 = nn.Linear(4 * FEATURES, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


class _LayerScale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(FEATURES))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attn, self.ls1 = nn.LayerNorm(FEATURES, eps=1e-6), _Attention(), _LayerScale()
        self.norm2, self.mlp, self.ls2 = nn.LayerNorm(FEATURES, eps=1e-6), _Mlp(), _LayerScale()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        y: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return y


class DinoV2(nn.Module):
    """From (N, 3, 224, 224) to the class token behind the last normalisation, (N, 384)."""

    def __init__(self) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, FEATURES))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + TRAINED_SIDE**2, FEATURES))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, FEATURES, PATCH, PATCH)})
        self.blocks = nn.Sequential(*(_Block() for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(FEATURES, eps=1e-6)

    def forward(self, pixels: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        patches = self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2)  # (N, 256, 384)
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], dim=1)
        tokens = self.blocks(tokens + resized_positions(self.pos_embed, SIDE // PATCH))
        return self.norm(tokens[:, 0]), None


def resized_positions(embedding: Tensor, side: int) -> Tensor:
    """Bring (1, 1 + n², K) position embeddings to side² patches: bicubic, without antialias.

    The scale is (side + 0.1) / n and not side / n: the authors' code added 0.1 against a rounding error. That moves the
    samples a little, and published features come from it.
    """
    class_token, rest = embedding[:, :1], embedding[:, 1:]
    n = round(rest.shape[1] ** 0.5)
    grid = rest.reshape(1, n, n, -1).permute(0, 3, 1, 2)
    scale = (side + 0.1) / n
    grid = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic", align_corners=False)
    return torch.cat([class_token, grid.flatten(2).transpose(1, 2)], dim=1)


def prepare(images: Tensor) -> Tensor:
    """From uint8 (N, 1 or 3, H, W) to float32 (N, 3, 224, 224) of ImageNet's mean 0 and deviation 1."""
    mean, deviation = (255 * torch.tensor(values, device=images.device)[:, None, None] for values in (MEAN, DEVIATION))
    return (bicubic(rgb(images), SIDE) - mean) / deviation


def dinov2(file: Path | None, device: torch.device, _: tuple[int, int, int]) -> Extractor:
    """The extractor, with the published weights.

    Args:
        file: of the weights; by default `Published.locate` says where they are.
        device: where to compute.

    Raises:
        UsageError: the weights cannot be had, or `file` holds others.
    """
    path = WEIGHTS.locate(file)
    network = load(DinoV2, path, "dinov2", unused=frozenset({"mask_token"}))
    return Extractor(
        name="dinov2",
        size=FEATURES,
        classes=None,
        identity=sha256(path)[:16],
        preprocessing="gray to RGB, bicubic with antialias to 224x224, ImageNet's mean and deviation",
        prepare=prepare,
        network=network.to(device),
        device=device,
    )
