"""The two published networks without their weights: names and shapes of the tensors, shapes of the features."""

from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise.metrics.features import load_extractor
from equipoise.metrics.features.dinov2 import DinoV2, resized_positions
from equipoise.metrics.features.inception import AVERAGE, Inception


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


@pytest.mark.parametrize(("name", "network", "size"), [("inception", Inception, 2048), ("dinov2", DinoV2, 384)])
def test_published_networks_extract(name: str, network: type[torch.nn.Module], size: int, tmp_path: Path) -> None:
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


def test_dinov2_has_the_tensors_of_the_published_file() -> None:
    with torch.device("meta"):
        state = DinoV2().state_dict()
    assert len(state) == 3 + 1 + 12 * 14 + 2
    assert sum(tensor.numel() for tensor in state.values()) == 22_056_576 - 384  # mask_token is left out
    assert state["pos_embed"].shape == (1, 1370, 384)
    assert state["blocks.11.ls2.gamma"].shape == (384,)


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
