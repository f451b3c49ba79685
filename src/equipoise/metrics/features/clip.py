"""The extractor `clip-vitl14-336`: the image tower of CLIP ViT-L/14@336px (Radford et al., 2021, arXiv:2103.00020).

CMMD is of its embeddings (Jayasumana et al., 2024, arXiv:2401.09603). Modules have the names of the file that
transformers reads, `model.safetensors` or `pytorch_model.bin` of openai/clip-vit-large-patch14-336; there is no usual
download, so the user names the file.
"""

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.errors import UsageError
from equipoise.metrics.features.extractor import Extractor
from equipoise.metrics.features.resize import bicubic, rgb
from equipoise.metrics.features.weights import load, sha256

NAME, VARIABLE = "clip-vitl14-336", "EQUIPOISE_CLIP"
SIDE, PATCH, FEATURES = 336, 14, 768
MEAN = (0.48145466, 0.4578275, 0.40821073)  # of R, G and B in [0, 1]
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
UNUSED = ("text_model.", "text_projection.", "logit_scale", "vision_model.embeddings.position_ids")


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:  # (N, tokens, width)
        query, key, value = (
            layer(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        mixed: Tensor = self.out_proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return mixed


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.fc1(x)
        y: Tensor = self.fc2(hidden * (1.702 * hidden).sigmoid())  # the authors' quick approximation of GELU
        return y


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.layer_norm1, self.self_attn = nn.LayerNorm(width), _Attention(width, heads)
        self.layer_norm2, self.mlp = nn.LayerNorm(width), _Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        y: Tensor = x + self.mlp(self.layer_norm2(x))
        return y


class _Embeddings(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.patch_embedding = nn.Conv2d(3, width, PATCH, PATCH, bias=False)
        self.position_embedding = nn.Embedding(1 + (SIDE // PATCH) ** 2, width)

    def forward(self, pixels: Tensor) -> Tensor:  # to (N, 577, width)
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_embedding.expand(len(patches), 1, -1), patches], dim=1)
        return tokens + self.position_embedding.weight


class _VisionModel(nn.Module):
    def __init__(self, width: int, heads: int, blocks: int) -> None:
        super().__init__()
        self.embeddings = _Embeddings(width)
        self.pre_layrnorm = nn.LayerNorm(width)  # so spelt in the file
        self.encoder = nn.ModuleDict({"layers": nn.Sequential(*(_Block(width, heads) for _ in range(blocks)))})
        self.post_layernorm = nn.LayerNorm(width)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.encoder["layers"](self.pre_layrnorm(self.embeddings(pixels)))
        token: Tensor = self.post_layernorm(tokens[:, 0])
        return token


class ClipVision(nn.Module):
    """From (N, 3, 336, 336) to the embeddings that CLIP compares with those of text, (N, 768)."""

    def __init__(self, width: int = 1024, heads: int = 16, blocks: int = 24) -> None:
        super().__init__()
        self.vision_model = _VisionModel(width, heads, blocks)
        self.visual_projection = nn.Linear(width, FEATURES, bias=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, None]:  # noqa: D102
        return self.visual_projection(self.vision_model(pixels)), None


def prepare(images: Tensor) -> Tensor:
    """From uint8 (N, 1 or 3, H, W) to float32 (N, 3, 336, 336) of CLIP's mean 0 and deviation 1."""
    mean, deviation = (255 * torch.tensor(values, device=images.device)[:, None, None] for values in (MEAN, DEVIATION))
    return (bicubic(rgb(images), SIDE) - mean) / deviation


def clip(file: Path | None, device: torch.device, _: tuple[int, int, int]) -> Extractor:
    """The extractor, with weights in `file`, or in the one that the variable EQUIPOISE_CLIP names.

    Raises:
        UsageError: no file is named, it cannot be read, or it holds other weights.
    """
    named = file or os.environ.get(VARIABLE)
    if not named:
        raise UsageError(
            f"{NAME} is not downloaded: name model.safetensors of openai/clip-vit-large-patch14-336 by --weights, "
            f"or in {VARIABLE}"
        )
    path = Path(named)
    network = load(ClipVision, path, NAME, unused=UNUSED)
    return Extractor(
        name=NAME,
        size=FEATURES,
        classes=None,
        identity=sha256(path)[:16],
        preprocessing="gray to RGB, bicubic with antialias to 336x336, CLIP's mean and deviation",
        prepare=prepare,
        network=network.to(device),
        device=device,
    )
