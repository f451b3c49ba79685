"""The device, the precision and the other processes: Lightning Fabric, seen through what a training step needs."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from equipoise.errors import UsageError

if TYPE_CHECKING:
    pass

Value = TypeVar("Value")
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp64"]
Compile = Literal["auto", "always", "never"]


class Launcher(Protocol):
    """What starts the processes and lets them meet: Fabric, or of a process alone, `SingleProcess`."""

    @property
    def device(self) -> torch.device:
        """Of this process."""

    @property
    def world_size(self) -> int:
        """How many processes there are."""

    @property
    def global_rank(self) -> int:
        """The number of this process."""

    def launch(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function(self, *args)` in every process; what the first one returns."""

    def broadcast(self, obj: Value) -> Value:
        """The first process's `obj`."""

    def barrier(self) -> None:
        """Wait for the others."""


@dataclass(frozen=True)
class SingleProcess:
    """One process, which needs nothing of Fabric: importing that takes longer than everything of ours."""

    device: torch.device
    world_size: int = 1
    global_rank: int = 0

    def launch(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call it here."""
        return function(self, *args)

    def broadcast(self, obj: Value) -> Value:
        """It is the first process."""
        return obj

    def barrier(self) -> None:
        """There are no others."""


def started_from_outside() -> bool:
    """Whether torchrun or a cluster's scheduler has started the processes."""
    if not os.environ.keys() & {"TORCHELASTIC_RUN_ID", "SLURM_NTASKS"}:
        return False
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    return TorchElasticEnvironment.detect() or SLURMEnvironment.detect()


def is_leader() -> bool:
    """Whether this process makes the run's folder: the only one, or the first of those started from outside."""
    return not started_from_outside() or int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def make_launcher(device: Device, devices: int) -> Launcher:
    """What starts `devices` processes on this machine, one a device.

    Args:
        device: where to compute.
        devices: processes to start; those that torchrun or a scheduler has started are joined instead.

    Raises:
        UsageError: this machine has no such device, or not so many.
    """
    kind = _choose(device)
    available = torch.cuda.device_count() if kind == "cuda" else 1 if kind == "mps" else devices
    if devices > available:
        raise UsageError(f"this machine has {available} {kind} device(s), not {devices}: use --devices {available}")
    outside = started_from_outside()
    if devices == 1 and not outside:
        return SingleProcess(torch.device(kind) if kind == "cpu" else torch.device(kind, 0))
    from lightning_fabric import Fabric

    if outside:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", str(devices)))
        nodes = int(os.environ.get("GROUP_WORLD_SIZE", "1"))
        return Fabric(accelerator=kind, devices=local, num_nodes=nodes, strategy="ddp")
    return Fabric(accelerator=kind, devices=devices, strategy="ddp_spawn")


def _choose(device: Device) -> str:
    usable = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return "cuda" if usable["cuda"] else "mps" if usable["mps"] else "cpu"
    if not usable[device]:
        raise UsageError(f"this machine has no usable {device} device: use --device auto or --device cpu")
    return device


def autocast_context(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which players run in `precision`, which is not `auto`: their weights are never in bf16."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def resolve_precision(precision: Precision, device: str) -> Precision:
    """What `auto` means on `device`: bf16 where the hardware multiplies it natively, else fp32.

    The environment variable EQUIPOISE_AUTO_PRECISION decides instead, so that machines of several kinds give the same
    results, and that tests see both on every machine.

    Raises:
        UsageError: the variable is neither fp32 nor bf16.
    """
    if precision != "auto":
        return precision
    if asked := os.environ.get("EQUIPOISE_AUTO_PRECISION"):
        if asked not in {"fp32", "bf16"}:
            raise UsageError(f"EQUIPOISE_AUTO_PRECISION is fp32 or bf16, not {asked!r}: set it to one of them")
        return "bf16" if asked == "bf16" else "fp32"
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device == "cpu":
        return "bf16" if cpu_multiplies_bf16() else "fp32"
    return "fp32"


def cpu_multiplies_bf16() -> bool:
    """AVX512-BF16 (measured at 1.3 to 1.4 times the speed of fp32, networks 16 wide) or AMX."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def to_device(device: torch.device, tensor: Tensor) -> Tensor:
    """`tensor` on `device`; a GPU fetches it when it comes to it, and nobody waits until then."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
