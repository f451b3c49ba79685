"""The published networks without their weights: names and shapes of the tensors, shapes of the features."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.metrics.features import load_extractor
from equipoise.metrics.features.clip import UNUSED, ClipVision
from equipoise.metrics.features.dinov2 import SIZES, DinoV2, Size, resized_positions
from equipoise.metrics.features.inception import AVERAGE, Inception
from equipoise.metrics.features.weights import load


def test_inception_has_the_tensors_of_the_published_file() -> None:
    with torch.device("meta"):
        state = Inception().state_dict()
    weights = {key: tuple(tensor.shape) for key, tensor in state.items() if "num_batches" not in key}
    assert len(weights) == 5 * 94 + 2
    assert sum(np.prod(shape) for shape in weights.values()) == 23_885_392  # a file of 95,628,359 bytes
    assert weights["Mixed_5c.branch5x5_2.conv.weight"] == (64, 48, 5, 5)
    assert weights["Mixed_6d.branch7x7dbl_3.conv.weight"] == (160, 160, 1, 7)
    assert weights["Mixed_7c.branch3x3dbl_3b.bn.running_var"] == (384,)
    assert weights["fc.weight"] == (1008, 2048)


def test_averages_leave_the_padding_out() -> None:
    assert torch.equal(AVERAGE(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 4, 4))


@pytest.mark.parametrize(
    ("name", "network", "size"),
    [("inception", Inception, 2048), ("dinov2-vits14", lambda: DinoV2(SIZES["vits14"]), 384)],
)
def test_published_networks_extract(
    name: str, network: Callable[[], torch.nn.Module], size: int, tmp_path: Path
) -> None:
    path = tmp_path / "random.pth"
    state = network().state_dict()
    torch.save({key: tensor for key, tensor in state.items() if "num_batches" not in key}, path)
    extractor = load_extractor(name, file=path, shape=(1, 28, 28))
    images = torch.randint(0, 256, (2, 1, 28, 28), dtype=torch.uint8)
    vectors, probabilities = extractor(images)
    assert vectors.shape == (2, size)
    assert torch.isfinite(vectors).all()
    assert torch.allclose(vectors[:1], extractor(images[:1]).vectors, rtol=1e-4, atol=1e-6)
    if name == "inception":
        assert probabilities is not None
        unbiased = torch.nn.functional.linear(vectors, state["fc.weight"]).softmax(dim=1)
        assert torch.allclose(probabilities, unbiased, rtol=1e-4)


@pytest.mark.parametrize(
    ("variant", "width", "blocks", "parameters"),
    # as transformers 5.24 counts them in its Dinov2Model of these sizes, mask_token included
    [("vits14", 384, 12, 22_056_576), ("vitb14", 768, 12, 86_580_480), ("vitl14", 1024, 24, 304_368_640)],
)
def test_dinov2_has_the_tensors_of_the_published_file(variant: str, width: int, blocks: int, parameters: int) -> None:
    with torch.device("meta"):
        state = DinoV2(SIZES[variant]).state_dict()
    assert len(state) == 3 + 1 + blocks * 14 + 2
    assert sum(tensor.numel() for tensor in state.values()) == parameters - width  # mask_token is left out
    assert state["pos_embed"].shape == (1, 1370, width)
    assert state[f"blocks.{blocks - 1}.ls2.gamma"].shape == (width,)
    assert SIZES[variant].heads * 64 == width


def test_clip_has_the_tensors_of_the_published_file() -> None:
    with torch.device("meta"):
        state = ClipVision().state_dict()
    # as transformers 5.24 counts them in its CLIPVisionModelWithProjection of these sizes
    assert (len(state), sum(tensor.numel() for tensor in state.values())) == (392, 304_293_888)
    assert state["vision_model.embeddings.position_embedding.weight"].shape == (577, 1024)
    assert state["visual_projection.weight"].shape == (768, 1024)


def normalised(x: Tensor, norm: torch.nn.Module) -> Tensor:
    """Layer normalisation, written out."""
    assert isinstance(norm, torch.nn.LayerNorm)
    centred = x - x.mean(dim=2, keepdim=True)
    return centred / (centred.square().mean(dim=2, keepdim=True) + norm.eps).sqrt() * norm.weight + norm.bias


def attended(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Attention, written out a head at a time: (N, tokens, width) each."""
    parts = []
    for q, k, v in zip(*(x.chunk(heads, dim=2) for x in (query, key, value)), strict=True):
        scores = torch.einsum("nik,njk->nij", q, k) / q.shape[2] ** 0.5
        weights = scores.exp() / scores.exp().sum(dim=2, keepdim=True)
        parts.append(torch.einsum("nij,njk->nik", weights, v))
    return torch.cat(parts, dim=2)


def patches(pixels: Tensor, convolution: torch.nn.Module, side: int) -> Tensor:
    """Linear embedding of squares of 14 pixels, cut by hand: (N, patches, width)."""
    assert isinstance(convolution, torch.nn.Conv2d)
    cut = pixels.reshape(len(pixels), 3, side, 14, side, 14).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    embedded = cut @ convolution.weight.flatten(1).T
    return embedded if convolution.bias is None else embedded + convolution.bias


def randomised(network: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.3, generator=generator)
    return network.double().eval()


def test_dinov2_computes_the_transformer_written_out() -> None:
    network: Any = randomised(DinoV2(Size(width=24, heads=3, blocks=2, sha256="")))
    pixels = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        x = torch.cat([network.cls_token.expand(2, 1, -1), patches(pixels, network.patch_embed["proj"], 16)], dim=1)
        x = x + resized_positions(network.pos_embed, 16)
        for block in network.blocks:
            qkv = normalised(x, block.norm1) @ block.attn.qkv.weight.T + block.attn.qkv.bias
            mixed = attended(*qkv.chunk(3, dim=2), heads=3) @ block.attn.proj.weight.T + block.attn.proj.bias
            x = x + block.ls1.gamma * mixed
            hidden = normalised(x, block.norm2) @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
            hidden = hidden * (1 + torch.special.erf(hidden / 2**0.5)) / 2
            x = x + block.ls2.gamma * (hidden @ block.mlp.fc2.weight.T + block.mlp.fc2.bias)
        expected = normalised(x, network.norm)[:, 0]
        torch.testing.assert_close(network(pixels)[0], expected, rtol=1e-9, atol=1e-10)


def test_clip_computes_the_transformer_written_out() -> None:
    network: Any = randomised(ClipVision(width=24, heads=3, blocks=2))
    vision = network.vision_model
    pixels = torch.randn(1, 3, 336, 336, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        embeddings = vision.embeddings
        squares = patches(pixels, embeddings.patch_embedding, 24)
        x = torch.cat([embeddings.class_embedding.expand(1, 1, -1), squares], dim=1)
        x = normalised(x + embeddings.position_embedding.weight, vision.pre_layrnorm)
        for block in vision.encoder["layers"]:
            y, attn = normalised(x, block.layer_norm1), block.self_attn
            triple = [y @ layer.weight.T + layer.bias for layer in (attn.q_proj, attn.k_proj, attn.v_proj)]
            x = x + attended(*triple, heads=3) @ attn.out_proj.weight.T + attn.out_proj.bias
            hidden = normalised(x, block.layer_norm2) @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
            hidden = hidden / (1 + (-1.702 * hidden).exp())
            x = x + hidden @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
        expected = normalised(x, vision.post_layernorm)[:, 0] @ network.visual_projection.weight.T
        torch.testing.assert_close(network(pixels)[0], expected, rtol=1e-9, atol=1e-10)


def test_clip_reads_its_tower_from_the_whole_models_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the text's tower, and refused where the file is of another size."""
    monkeypatch.delenv("EQUIPOISE_CLIP", raising=False)
    with pytest.raises(UsageError, match="clip-vitl14-336 is not downloaded: name model.safetensors"):
        load_extractor("clip-vitl14-336", shape=(3, 32, 32))
    state = ClipVision(width=24, heads=3, blocks=2).state_dict()
    file = tmp_path / "model.safetensors"
    save_file({**state, "text_model.final_layer_norm.bias": torch.zeros(3), "logit_scale": torch.zeros(())}, file)
    monkeypatch.setenv("EQUIPOISE_CLIP", str(file))
    with pytest.raises(UsageError, match="does not hold the weights of clip-vitl14-336"):
        load_extractor("clip-vitl14-336", shape=(3, 32, 32))
    small = load(lambda: ClipVision(width=24, heads=3, blocks=2), file, "clip", unused=UNUSED)
    assert small(torch.zeros(1, 3, 336, 336))[0].shape == (1, 768)


def test_the_size_of_dinov2_must_be_named() -> None:
    with pytest.raises(UsageError, match="did you mean dinov2-vit.14 or dinov2-vit.14 or dinov2-vit.14"):
        load_extractor("dinov2", shape=(3, 32, 32))


def cubic(distance: float) -> float:
    """Keys' kernel with a = -0.75."""
    d, a = abs(distance), -0.75
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0


def test_positions_are_resized_with_the_authors_tenth() -> None:
    n, side = 37, 16
    embedding = torch.randn(1, 1 + n * n, 2, dtype=torch.float64)
    matrix = np.zeros((side, n))
    for i in range(side):
        centre = (i + 0.5) * n / (side + 0.1) - 0.5
        for tap in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            matrix[i, min(max(tap, 0), n - 1)] += cubic(centre - tap)
    grid = embedding[0, 1:].reshape(n, n, 2).numpy()
    expected = np.einsum("ip,jq,pqk->ijk", matrix, matrix, grid).reshape(side * side, 2)
    resized = resized_positions(embedding, side)
    assert torch.equal(resized[:, :1], embedding[:, :1])
    assert resized[0, 1:].numpy() == pytest.approx(expected, abs=1e-6)
