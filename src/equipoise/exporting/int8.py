"""Dynamic int8 quantisation of an ONNX generator, and what it costs in KID."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from equipoise.config.datasets import open_dataset
from equipoise.errors import UsageError
from equipoise.evaluation.periodic_kid import PeriodicKID
from equipoise.exporting.onnx_models import Session, open_session, quiet
from equipoise.players import Conditions, GeneratorOutput
from equipoise.runs.run import Run


class KIDLoss(NamedTuple):
    """KID of a model before and after quantisation, of the same latents, beside the run's held-out images.

    Attributes:
        fp32: KID of the model in fp32.
        int8: KID of the quantised one.
        samples: of each.
        features: the extractor's name.
    """

    fp32: float
    int8: float
    samples: int
    features: str

    def __str__(self) -> str:
        return (
            f"KID {self.fp32:.4f} in fp32 and {self.int8:.4f} in int8, a loss of {self.int8 - self.fp32:+.4f}, of "
            f"{self.samples:,} samples by {self.features}"
        )


def quantize(source: Path, target: Path) -> None:
    """Write the model at `source` with weights in 8 bits.

    Convolutions and products of matrices are computed in integers, their inputs quantised as they come. For transposed
    convolutions onnxruntime has no such kernel: their weights alone are stored in 8 bits.

    Raises:
        OSError: the disk refuses.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quiet():
        # Unsigned weights: onnxruntime's integer convolution on CPUs takes no others.
        quantize_dynamic(source, target, weight_type=QuantType.QUInt8)
    model = onnx.load(target)
    _store_transposed_weights(model)
    target.write_bytes(model.SerializeToString())


def _store_transposed_weights(model: Any) -> None:
    """Replace the weights of transposed convolutions by 8 bits and a scale for each output channel."""
    from onnx import helper, numpy_helper

    graph = model.graph
    weights = {each.name: each for each in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "ConvTranspose" and node.input[1] in weights]:
        name = node.input[1]
        values = numpy_helper.to_array(weights[name])  # (in, out, k, k)
        scale = np.maximum(np.abs(values).max((0, 2, 3)), np.finfo(np.float32).tiny) / 127
        stored = np.round(values / scale[:, None, None]).astype(np.int8)
        graph.initializer.remove(weights[name])
        parts = {f"{name}_int8": stored, f"{name}_scale": scale.astype(np.float32)}
        graph.initializer.extend(numpy_helper.from_array(each, part) for part, each in parts.items())
        graph.node.insert(0, helper.make_node("DequantizeLinear", list(parts), [f"{name}_used"], axis=1))
        node.input[1] = f"{name}_used"


def open_kid(run: Run) -> PeriodicKID:
    """KID beside the run's held-out images, as while it trained.

    Raises:
        UsageError: the run's data cannot be opened, or are too few.
    """
    try:
        return PeriodicKID(run.config, open_dataset(run.config, place=run.place), torch.device("cpu"))
    except UsageError as error:
        why = str(error).partition(": ")[0]  # what else it proposes is for a training
        raise UsageError(f"the loss of int8 is measured beside the run's data, but {why}: leave out --int8") from error


def kid_loss(kid: PeriodicKID, classes: int, fp32: Path, int8: Path) -> KIDLoss:
    """KID of both models' samples.

    Args:
        kid: of the run.
        classes: that the generator makes images of, or 0.
        fp32: file of the model.
        int8: file of the same, quantised.
    """
    before, after = (kid(OnnxGenerator(open_session(str(path)), classes))["value"] for path in (fp32, int8))
    assert before is not None and after is not None  # noqa: S101, PT018
    return KIDLoss(float(before), float(after), kid.config.score_count, kid.extractor.name)


class OnnxGenerator(nn.Module):
    """An ONNX generator in the place of the network that it was made of."""

    def __init__(self, session: Session, classes: int) -> None:
        super().__init__()
        self.session, self.classes = session, classes
        self.unused = nn.Parameter(torch.zeros(()))  # whose device and type say where the inputs go

    def forward(self, latents: Tensor, conditions: Conditions | None = None) -> GeneratorOutput:
        """Images (N, C, H, W) of latents (N, latent) and conditions."""
        given = {"latents": latents, **(conditions or Conditions())._asdict()}
        return GeneratorOutput(self.session({name: rows for name, rows in given.items() if rows is not None})[0])
