"""ONNX models of a trained generator or discriminator, each compared with PyTorch before it is written."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from equipoise.data.sources.extras import extra
from equipoise.errors import UsageError
from equipoise.exporting.ports import Inputs, Ports, run_ports

OPSET = 18  # in which torch's exporter writes, without conversion
LARGEST_DIFFERENCE = {"fp32": 1e-4, "fp16": 8 / 255}  # of values in [-1, 1]; the latter is four of 256 shades
MOST_FOLDED = 2**34  # bytes of a constant
BATCHES = (1, 7, 64)  # of which a model of any batch is tried

Session = Callable[[Inputs], list[Tensor]]


def require_onnx() -> None:
    """Import what writes and runs ONNX.

    Raises:
        UsageError: it is not installed.
    """
    with extra("onnx", "ONNX"):
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to itself what the libraries say of their own insides, as that torchvision is missing."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def to_onnx(ports: Ports, metadata: Mapping[str, str], *, batch: int | None = None) -> bytes:
    """A network as an ONNX model, weights included.

    Args:
        ports: the network, with an example of its inputs.
        metadata: for the model's metadata_props.
        batch: rows of every input; by default any number, which is an input's dimension `batch`.
    """
    from onnxscript.optimizer import fold_constants, remove_unused_nodes

    inputs = {name: rows[:batch] for name, rows in ports.inputs.items()} if batch else ports.inputs
    dimension = torch.export.Dim("batch")
    with quiet():
        program: Any = torch.onnx.export(
            ports.network,
            (),
            kwargs=inputs,
            input_names=list(inputs),
            output_names=list(ports.outputs),
            dynamic_shapes=None if batch else {name: {0: dimension} for name in inputs},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        # Whatever depends on weights alone is computed now, whatever its size: int8 takes weights, and not formulas.
        fold_constants(program.model, input_size_limit=MOST_FOLDED, output_size_limit=MOST_FOLDED)
        remove_unused_nodes(program.model)
    model = program.model_proto
    for name, text in metadata.items():
        model.metadata_props.add(key=name, value=text)
    model.producer_name, model.producer_version = "equipoise", metadata["equipoise"]
    data: bytes = model.SerializeToString()
    return data


def open_session(model: bytes | str, threads: int = 0) -> Session:
    """An ONNX model, ready to be run by onnxruntime on the CPU.

    Args:
        model: its bytes, or its file's path.
        threads: to compute with; by default as many as there are cores.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def call(inputs: Inputs) -> list[Tensor]:
        arrays = {name: rows.numpy() for name, rows in inputs.items()}
        return [torch.from_numpy(each) for each in session.run(None, arrays)]

    return call


def largest_difference(model: bytes, ports: Ports, *, batch: int | None = None) -> float:
    """The largest difference between onnxruntime's outputs and PyTorch's, over the examples of the inputs.

    Outputs whose values exceed 1, as a critic's scores do, are divided by their largest first. Of discrete images,
    whose values jump where two logits are as good as equal, it is the share of values that differ.

    Args:
        model: as `to_onnx` made it.
        ports: the network that it must equal.
        batch: for which it was made.
    """
    session, differences = open_session(model), []
    for rows in [batch] if batch else BATCHES:
        inputs = {name: each[:rows] for name, each in ports.inputs.items()}
        for found, wanted in zip(session(inputs), run_ports(ports, inputs), strict=True):
            difference = (found.double() - wanted.double()).abs()
            share, scale = (difference > 0).double().mean(), wanted.double().abs().amax().clamp_min(1)
            differences.append(float(share if ports.levels else difference.amax() / scale))
    return float(np.max(differences))  # NaN stays NaN


def check_difference(difference: float, name: str) -> None:
    """Refuse a model in fp32 that does not equal PyTorch.

    Raises:
        UsageError: the difference is larger than LARGEST_DIFFERENCE, or no number.
    """
    if not difference <= LARGEST_DIFFERENCE["fp32"]:
        raise UsageError(
            f"{name} differs from PyTorch by {difference:.2g}, more than {LARGEST_DIFFERENCE['fp32']:.2g}: nothing is "
            "written; report it with the run's config.yaml"
        )
