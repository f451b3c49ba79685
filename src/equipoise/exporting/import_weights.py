"""Weights of generators from elsewhere: plain state dicts, whose names a map translates into ours."""

import zipfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError
from torch import Tensor

from equipoise.config.arguments import checked
from equipoise.config.datasets import UNKNOWN
from equipoise.config.messages import construct, explain
from equipoise.config.train_config import TrainConfig, from_registry
from equipoise.errors import UsageError, quoted, reason
from equipoise.exporting.pretrained import Side
from equipoise.isolation import isolated
from equipoise.networks import NETWORKS
from equipoise.randomness import Prior
from equipoise.reading import check_name, load_torch, parse_yaml, read_text
from equipoise.runs.checkpoint import read_tensors
from equipoise.runs.files import folder_where_asked
from equipoise.runs.run import Run

MAPS = files("equipoise.exporting") / "maps"
COUNTERS = {"num_batches_tracked": torch.tensor(0), "carry": torch.tensor(1.0)}  # of which older files know nothing


class WeightsMap(BaseModel):
    """What a map says of weights from elsewhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: dict[str, Any]
    """The network of ours that is the same, with its `name`."""
    shape: tuple[Annotated[int, Field(ge=1, le=3)], Side, Side]
    """(C, H, W) of the images."""
    keys: dict[str, str]
    """Names of theirs to names of ours: whole ones, or the first parts of names, as `main.0` of `main.0.bias`."""
    objective: str | None = None
    """Name of the objective; by default began for autoencoders, else gan."""
    prior: Prior = "normal"
    range: tuple[FiniteFloat, FiniteFloat] = (-1, 1)
    """Values of black and white in their images; another than ours is taken up by the last layer, if it is linear."""
    classes: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    ignore: tuple[str, ...] = ()
    """Names of theirs, or first parts of names, that are not needed."""
    within: str | None = None
    """Key of the state dict in the file, where that holds several things; parts separated by dots."""


@checked
@isolated()
def import_weights(weights: Path | str, map: Path | str, out: Path | str) -> Run:
    """A run of a generator from elsewhere, which can be sampled and exported, but not trained on.

    Args:
        weights: file of a state dict, .safetensors or torch's own, which is read without running code.
        map: a YAML file, or the name of a bundled one: began-pytorch, dcgan-pytorch.
        out: folder of the new run.

    Raises:
        UsageError: a file cannot be read, the map does not fit the weights, or `out` is not empty.
    """
    weights, out = Path(weights), Path(out)
    wanted = _read_map(str(map))
    config = _run_config(wanted)
    with torch.device("meta"):
        own = config.build(wanted.shape, wanted.classes).generator.state_dict()
    tensors = _renamed(_read_state(weights, wanted.within), wanted, str(weights))
    for name, counter in COUNTERS.items():
        tensors |= {key: counter.clone() for key in own if key.rpartition(".")[2] == name and key not in tensors}
    for name in [*own, *tensors]:
        shapes = [tuple(each[name].shape) if name in each else None for each in (own, tensors)]
        if shapes[0] != shapes[1]:
            raise UsageError(
                f"{weights} does not fit the map: our {quoted(name)} {_described(shapes[0])}, theirs "
                f"{_described(shapes[1])}; correct the map's network, shape or keys"
            )
        if own[name].is_floating_point() and not tensors[name].is_floating_point():
            raise UsageError(
                f"{weights} holds {tensors[name].dtype} at our {quoted(name)}, and weights are real numbers: give them "
                "as they were before, not quantised"
            )
        if not tensors[name].isfinite().all():
            raise UsageError(f"{weights} holds weights that are not finite, at our {quoted(name)}: give another file")
    tensors = _to_our_range(tensors, own, wanted)
    with folder_where_asked(out) as folder:
        run = Run.create(folder, config)
        run.rewind(0)  # which makes its folders
        named = {f"generator.{name}": tensor for name, tensor in tensors.items()}
        facts = {"shape": list(wanted.shape), "classes": wanted.classes, "data": config.data, "imported": True}
        run.save_checkpoint(0, named, facts)
    return Run.open(out)


def bundled_maps() -> list[str]:
    """Names of the maps in the package."""
    return sorted(each.name.removesuffix(".yaml") for each in MAPS.iterdir() if each.name.endswith(".yaml"))


def _read_map(name: str) -> WeightsMap:
    check_name(name)
    try:
        text = (MAPS / f"{name}.yaml").read_text() if name in bundled_maps() else read_text(Path(name))
        values = parse_yaml(text)
        if not isinstance(values, Mapping):
            raise UsageError(
                f"the map {name} is {'empty' if values is None else 'no mapping'}: give network, shape and keys"
            )
        return WeightsMap.model_validate(values)
    except OSError as error:
        raise UsageError(
            f"cannot read the map {name} ({reason(error)}): give a YAML file, or one of {', '.join(bundled_maps())}"
        ) from error
    except ValidationError as error:
        raise UsageError(f"the map {name}: {explain(error)}") from error
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"the map {name}: {error}") from error


def _run_config(wanted: WeightsMap) -> TrainConfig:
    channels, height, width = wanted.shape
    network = from_registry("network", wanted.network, NETWORKS)
    objective = wanted.objective or ("began" if "energy" in network.score_kinds else "gan")
    config: TrainConfig = construct(
        TrainConfig.from_dict,
        {
            "values": {
                "objective": objective,
                "network": wanted.network,
                "tasks": {"classify_d": 1, "classify_g": 1} if wanted.classes else {},
                "data": UNKNOWN,
                "resolution": f"{width}x{height}",
                "channels": channels,
                "prior": wanted.prior,
                "ema": 0,
            }
        },
    )
    return config


def _read_state(path: Path, within: str | None) -> dict[str, Tensor]:
    """The state dict in a file. `weights_only` unpickles tensors and plain values: a hostile file is an error."""
    try:
        if path.suffix == ".safetensors":
            return read_tensors(path)[0]
        state: Any = load_torch(path)
    except OSError as error:
        raise UsageError(f"cannot read the weights {path}: {reason(error)}") from error
    except UsageError:
        raise
    except Exception as error:  # damaged files raise nearly everything
        kind = "" if zipfile.is_zipfile(path) else ", nor a file of torch.save"
        raise UsageError(
            f"{path} is no plain state dict{kind}: save `generator.state_dict()` with torch.save or safetensors"
        ) from error
    for part in within.split(".") if within else []:
        state = state.get(part) if isinstance(state, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(k, str) and _is_dense(v) for k, v in state.items()):
        held = f", but {quoted(list(state))}" if isinstance(state, Mapping) else ""
        raise UsageError(
            f"{path} holds no state dict{held}: name the part that is one in the map, as `within: generator`"
        )
    return dict(state)


def _is_dense(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized


def _renamed(state: Mapping[str, Tensor], wanted: WeightsMap, origin: str) -> dict[str, Tensor]:
    """Their tensors by our names, in fp32."""
    if all(name.startswith("module.") for name in state):  # as DataParallel calls them
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        known = [part for part in (*wanted.keys, *wanted.ignore) if f"{name}.".startswith(f"{part}.")]
        if not known:
            raise UsageError(f"{origin} has {quoted(name)}, which the map does not name: add it to `keys` or `ignore`")
        part = max(known, key=len)
        if part in wanted.keys:
            ours = wanted.keys[part] + name.removeprefix(part)
            if ours in tensors:
                raise UsageError(
                    f"{origin} has {quoted(name)} for our {quoted(ours)}, for which the map has another name too: move "
                    "one of them to `ignore`"
                )
            tensors[ours] = (tensor.float() if tensor.is_floating_point() else tensor).clone()  # not shared with others
    return tensors


def _to_our_range(tensors: dict[str, Tensor], own: Mapping[str, Tensor], wanted: WeightsMap) -> dict[str, Tensor]:
    """Weights of images in [-1, 1], of such whose values are in another range."""
    low, high = wanted.range
    if (low, high) == (-1, 1):
        return tensors
    linear = wanted.network.get("name") in {"autoencoder", "mlp-autoencoder"}
    if not linear or wanted.network.get("output", "linear") != "linear" or not low < high:
        raise UsageError(f"the map's range {low:g} to {high:g} is only for networks with a linear output: leave it out")
    *_, weight, bias = (name for name in own if name.rpartition(".")[2] in {"weight", "bias"})  # the last layer's
    scale = 2 / (high - low)
    return {**tensors, weight: tensors[weight] * scale, bias: (tensors[bias] - low) * scale - 1}


def _described(shape: tuple[int, ...] | None) -> str:
    return "is not there" if shape is None else f"is {shape}"
