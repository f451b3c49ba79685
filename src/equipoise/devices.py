"""Where to compute, in which precision, and how the processes of a run are started."""

import ast
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol, TypeVar

import torch
from torch import Tensor

from equipoise.errors import UsageError, quoted

Value = TypeVar("Value")
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp64"]
Compile = Literal["auto", "always", "never"]

PROCESS_MEMORY = 300 * 2**20  # bytes that a process takes before it computes anything
# As torch, CUDA, Python and oneDNN put it.
OUT_OF_MEMORY = ("allocate memory", "out of memory", "ALLOC_FAILED", "MemoryError", "could not create a primitive")


class Launcher(Protocol):
    """Starts the processes of a run and lets them meet: Lightning Fabric, or for one process alone `SingleProcess`."""

    @property
    def device(self) -> torch.device:
        """Device of this process."""

    @property
    def world_size(self) -> int:
        """Number of processes."""

    @property
    def global_rank(self) -> int:
        """Number of this process, from 0."""

    def launch(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function(self, *args)` in every process; returns what the first one returns."""

    def broadcast(self, obj: Value) -> Value:
        """The first process's `obj`."""

    def barrier(self) -> None:
        """Wait for all processes."""


def available_cores() -> int:
    """Cores that this process may use, which in a container are not all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class SingleProcess:
    """One process, which does without Fabric: importing that takes longer than all else before a first step."""

    device: torch.device
    world_size: int = 1
    global_rank: int = 0

    def launch(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function(self, *args)` here."""
        return function(self, *args)

    def broadcast(self, obj: Value) -> Value:
        """`obj`, since this is the first process."""
        return obj

    def barrier(self) -> None:
        """Nothing to wait for."""


def make_launcher(device: Device, devices: int) -> Launcher:
    """The launcher of `devices` processes on this machine, one a device.

    Args:
        device: kind of device; `auto` takes a GPU if there is one.
        devices: processes to start; those that torchrun or a scheduler has started are joined instead.

    Raises:
        UsageError: this machine has no such device, or not so many.
    """
    kind = resolve_device(device)
    most = memory_of(torch.device("cpu")) // PROCESS_MEMORY if kind == "cpu" and devices > 1 else 0
    available = {"cuda": torch.cuda.device_count(), "mps": 1}.get(kind, devices)
    if devices > available:
        raise UsageError(f"this machine has {available} {kind} device(s), not {devices}: use --devices {available}")
    if 0 < most < devices:
        raise UsageError(f"there is memory for {most} processes here, not for {devices}: use fewer --devices")
    joined = processes_were_started()
    if devices == 1 and not joined:
        return SingleProcess(torch.device(kind) if kind == "cpu" else torch.device(kind, 0))
    from lightning_fabric import Fabric

    if joined:
        if kind == "cpu" and "TORCHELASTIC_RUN_ID" in os.environ and not torch.distributed.is_initialized():
            _join_attempt()
        local, nodes = _processes_a_node(devices)
        return Fabric(accelerator=kind, devices=local, num_nodes=nodes, strategy="ddp")
    _require_main_guard()
    return Fabric(accelerator=kind, devices=devices, strategy="ddp_spawn")


def resolve_device(device: Device) -> str:
    """The kind of device that `device` means on this machine.

    Raises:
        UsageError: this machine has none of that kind.
    """
    usable = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    kind = next(kind for kind, there in usable.items() if there) if device == "auto" else device
    if not usable.get(kind):
        raise UsageError(f"this machine has no usable {quoted(kind)[1:-1]} device: use --device auto or --device cpu")
    return kind


def _require_main_guard() -> None:
    """Refuse to start processes from a script that has no main guard, since each of them runs the script anew.

    Raises:
        UsageError: the statement of the script that is being executed is not behind `if __name__ == ...`.
    """
    file = getattr(sys.modules["__main__"], "__file__", None)  # none where there is nothing to run, as in a notebook
    frame: FrameType | None = sys._getframe()
    while frame is not None and (frame.f_globals.get("__name__"), frame.f_code.co_name) != ("__main__", "<module>"):
        frame = frame.f_back
    if file is None or frame is None:
        return
    try:
        statements = ast.parse(Path(file).read_bytes()).body
    except (OSError, SyntaxError, ValueError):  # such as a zipped program
        return
    here = [each for each in statements if each.lineno <= frame.f_lineno <= (each.end_lineno or each.lineno)]
    if here and not (isinstance(here[0], ast.If) and "__name__" in ast.unparse(here[0].test)):
        raise UsageError(
            f"each of the processes would run {file} anew: put its line {frame.f_lineno} behind "
            "`if __name__ == '__main__':`"
        )


def _processes_a_node(devices: int) -> tuple[int, int]:
    """Processes on each node, and nodes, as torchrun or SLURM have started them.

    Raises:
        UsageError: SLURM was not told how many tasks a node has.
    """
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        return int(environment.get("LOCAL_WORLD_SIZE", str(devices))), int(environment.get("GROUP_WORLD_SIZE", "1"))
    tasks, nodes = (int(environment.get(name, "1")) for name in ("SLURM_NTASKS", "SLURM_NNODES"))
    if tasks > 1 and "SLURM_NTASKS_PER_NODE" not in environment:
        raise UsageError(f"SLURM has started {tasks} tasks: say how many a node has, with --ntasks-per-node")
    return int(environment.get("SLURM_NTASKS_PER_NODE", "1")), nodes


def _join_attempt() -> None:
    """Form the group of the processes that torchrun has started, in this attempt.

    With a fixed port torchrun keeps one store over all its restarts, in which gloo would find the addresses of
    processes that have died: so the names in it carry the attempt's number. Fabric takes a group that is there already.
    """
    environment = os.environ
    rank, world_size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
    torchrun_has_it = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store = torch.distributed.TCPStore(  # type: ignore[attr-defined]
        environment["MASTER_ADDR"],
        int(environment["MASTER_PORT"]),
        world_size,
        is_master=rank == 0 and not torchrun_has_it,
    )
    attempt = f"attempt {environment.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    named = torch.distributed.PrefixStore(attempt, store)  # type: ignore[attr-defined]
    torch.distributed.init_process_group("gloo", store=named, rank=rank, world_size=world_size)


@contextmanager
def leaving_together(launcher: Launcher) -> Iterator[None]:
    """Let the processes that `launcher` has started end together, unless one of them fails.

    A process that ends while the threads of its process group run, or while another still talks to it, is now and then
    aborted by C++ ("terminate called without an active exception").
    """
    yield
    launcher.barrier()
    if launcher.world_size > 1:
        torch.distributed.destroy_process_group()


def end_with_parent(launcher: Launcher) -> None:
    """Let a process that `launcher` has started get SIGTERM when the one that started it dies, or has died already.

    torch asks Linux for a SIGINT then, which comes to nothing where that is ignored, as in the background of a script,
    or where the parent died while this process was still importing.
    """
    parent = multiprocessing.parent_process()
    if launcher.world_size == 1 or parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="equipoise-parent", daemon=True).start()


def processes_were_started() -> bool:
    """Whether torchrun or a cluster's scheduler has started the processes, of which this is one."""
    if not os.environ.keys() & {"TORCHELASTIC_RUN_ID", "SLURM_NTASKS"}:
        return False  # without asking Fabric, whose import takes seconds
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    return TorchElasticEnvironment.detect() or SLURMEnvironment.detect()


def is_first_process() -> bool:
    """Whether this process makes the run's folder and speaks for all: the only one, or the first of those started."""
    return not processes_were_started() or int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) == 0


def autocast_context(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The context in which players run in `precision`, other than `auto`; weights are never in bf16."""
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
            raise UsageError(f"EQUIPOISE_AUTO_PRECISION is fp32 or bf16, not {quoted(asked)}: set it to one of them")
        return "bf16" if asked == "bf16" else "fp32"
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device == "cpu":
        return "bf16" if cpu_multiplies_bf16() else "fp32"
    return "fp32"


def cpu_multiplies_bf16() -> bool:
    """AVX512-BF16 (measured at 1.3 to 1.4 times the speed of fp32, networks 16 wide) or AMX."""
    return bool(_cpu_capabilities().get("avx512_bf16")) or cpu_multiplies_tiles()


def cpu_multiplies_tiles() -> bool:
    """AMX, which multiplies matrices of bf16 at ten times the speed of fp32."""
    return bool(_cpu_capabilities().get("amx_bf16"))


@cache
def _cpu_capabilities() -> Mapping[str, Any]:
    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}


def memory_of(device: torch.device) -> int:
    """Bytes of memory that a device has in all; 0 where that is not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    if device.type == "cpu" and hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 0


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error, or the traceback of a process that it quotes, says that there is too little memory."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in OUT_OF_MEMORY)


def to_device(device: torch.device, tensor: Tensor) -> Tensor:
    """`tensor` on `device`.

    On a GPU by way of pinned memory, from which it is copied while this process goes on: nobody waits until a kernel
    needs it.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
