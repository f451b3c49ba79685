"""The extractors `dinov2-…`: the vision transformers of DINOv2 (Oquab et al., 2023, arXiv:2304.07193).

FID over their features agrees better with people than over Inception's (Stein et al., 2023, arXiv:2306.04675, who take
ViT-L/14 for what they call FD-DINOv2). Modules have the names that the files of weights give them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.metrics.features.extractor import Extractor
from equipoise.metrics.features.resize import bicubic, rgb
from equipoise.metrics.features.weights import Published, load, sha256


@dataclass(frozen=True)
class Size:
    """One of the published sizes of the network.

    Attributes:
        width: of each token, which is the number of features.
        heads: of attention, 64 wide each.
        blocks: one after the other.
        sha256: of the published file of weights.
    """

    width: int
    heads: int
    blocks: int
    sha256: str


SIZES = {
    "vits14": Size(384, 6, 12, "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"),
    "vitb14": Size(768, 12, 12, "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73"),
    "vitl14": Size(1024, 16, 24, "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"),
}
"""By the name that the authors' files give them."""
SIDE, PATCH = 224, 14
TRAINED_SIDE = 518 // PATCH  # in patches: the file has position embeddings for the side of its training images
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's R, G and B in [0, 1]


class _Attention(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.qkv = nn.Linear(size.width, 3 * size.width)
        self.proj = nn.Linear(size.width, size.width)

    def forward(self, x: Tensor) -> Tensor:  # (N, tokens, width)
        triples: Tensor = self.qkv(x)
        query, key, value = triples.reshape(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed: Tensor = self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return mixed


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


class _LayerScale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Block(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self.norm1, self.attn, self.ls1 = nn.LayerNorm(width, eps=1e-6), _Attention(size), _LayerScale(width)
        self.norm2, self.mlp, self.ls2 = nn.LayerNorm(width, eps=1e-6), _Mlp(width), _LayerScale(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        y: Tensor = x + self.ls2(self.mlp(self.norm2(x)))
        return y


class DinoV2(nn.Module):
    """From (N, 3, 224, 224) to the class token behind the last normalisation, (N, width)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + TRAINED_SIDE**2, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, PATCH)})
        self.blocks = nn.Sequential(*(_Block(size) for _ in range(size.blocks)))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, pixels: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        patches = self.patch_embed["proj"](pixels).flatten(2).transpose(1, 2)  # (N, 256, width)
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


def dinov2(variant: str) -> Callable[[Path | None, torch.device, tuple[int, int, int]], Extractor]:
    """The extractor of one of SIZES, as EXTRACTORS has it: from a file of weights, a device and a shape.

    What it returns raises UsageError where the weights cannot be had, or the file holds others.
    """
    size, name, file_name = SIZES[variant], f"dinov2-{variant}", f"dinov2_{variant}_pretrain.pth"
    published = Published(
        extractor=name,
        url=f"https://dl.fbaipublicfiles.com/dinov2/dinov2_{variant}/{file_name}",
        names=(file_name,),
        sha256=size.sha256,
        variable=f"EQUIPOISE_DINOV2_{variant.upper()}",
    )

    def extractor(file: Path | None, device: torch.device, _: tuple[int, int, int]) -> Extractor:
        path = published.locate(file)
        network = load(lambda: DinoV2(size), path, name, unused=("mask_token",))
        return Extractor(
            name=name,
            size=size.width,
            classes=None,
            identity=sha256(path)[:16],
            preprocessing="gray to RGB, bicubic with antialias to 224x224, ImageNet's mean and deviation",
            prepare=prepare,
            network=network.to(device),
            device=device,
        )

    return extractor
