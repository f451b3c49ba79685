"""Eight bits: what is stored, how far it may be from the weights, and its measured loss."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import equipoise
from equipoise import Run, UsageError
from equipoise.exporting.int8 import quantize
from equipoise.exporting.onnx_models import to_onnx
from equipoise.exporting.ports import generator_ports
from equipoise.exporting.trained import Trained

MakeRun = Callable[..., Run]


def models(run: Run, tmp_path: Path) -> tuple[Any, Any]:
    """The model in fp32, and in int8."""
    trained = Trained.open(run, ema=True, best=False)
    before, after = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    before.write_bytes(to_onnx(generator_ports(trained.generator, trained.inputs(), 0), {"equipoise": "0"}))
    quantize(before, after)
    return onnx.load(before), onnx.load(after)


def test_transposed_weights_are_within_half_a_step_of_their_channel(make_run: MakeRun, tmp_path: Path) -> None:
    before, after = (
        {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
        for model in models(make_run("dcgan"), tmp_path)
    )
    stored = [name for name in after if name.endswith("_int8")]
    assert len(stored) == 3, "every layer of the DCGAN but its first, which is a product of matrices"
    for name in stored:
        weights, scale = before[name.removesuffix("_int8")], after[name.replace("_int8", "_scale")][:, None, None]
        assert after[name].dtype == np.int8
        assert (np.abs(after[name] * scale - weights) <= scale / 2 * (1 + 1e-5)).all()
        assert np.isclose(scale[:, 0, 0] * 127, np.abs(weights).max((0, 2, 3))).all()


@pytest.mark.parametrize(("kind", "kept"), [("autoencoder", "ConvInteger"), ("dcgan", "MatMulInteger")])
def test_what_can_be_is_computed_in_integers(make_run: MakeRun, tmp_path: Path, kind: str, kept: str) -> None:
    kinds = {node.op_type for node in models(make_run(kind), tmp_path)[1].graph.node}
    assert kept in kinds
    assert not kinds & {"Conv", "MatMul", "Gemm"}


@pytest.mark.parametrize("kind", ["autoencoder", "discrete"])
def test_the_loss_is_measured_and_told(make_run: MakeRun, tmp_path: Path, kind: str) -> None:
    done = equipoise.export(make_run(kind), tmp_path / "out", format="onnx", fp16=False, int8=True)
    assert "KID" in done.notes[-1]
    assert "a loss of" in done.notes[-1]
    assert (tmp_path / "out" / "generator-int8.onnx").stat().st_size > 0


def test_without_the_data_there_is_no_loss_to_measure(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "photos"
    data.mkdir()
    config = run.config.with_changes(data=str(data))
    shutil.rmtree(data)
    run.change_config(config, str(data))
    tensors, facts, _ = run.load_checkpoint()
    run.save_checkpoint(64, tensors, facts)
    with pytest.raises(UsageError, match="the loss of int8 is measured beside the run's data.*leave out --int8"):
        equipoise.export(run, tmp_path / "out", format="onnx", fp16=False, int8=True)
    assert not (tmp_path / "out").exists()
