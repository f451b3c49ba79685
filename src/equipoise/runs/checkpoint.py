"""One checkpoint, one file: tensors and facts in safetensors, written whole or not at all, verified when read.

Reading never runs code: safetensors holds raw numbers, and the facts are JSON. Nothing that a file claims of its own
size is believed: reading takes no more memory than the file has bytes, and a header's worth.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from equipoise.errors import UsageError, quoted, reason
from equipoise.reading import is_text, open_plain
from equipoise.runs.files import write_atomically, writing

FORMAT = 4
LARGEST_HEADER = 16 * 2**20  # bytes; that of a thousand tensors has a hundredth of them

Contents = tuple[dict[str, Tensor], dict[str, Any]]  # tensors by name, and facts


class CheckpointError(UsageError):
    """A checkpoint cannot be used; the message says which, and why."""


class DamagedCheckpoint(CheckpointError):  # noqa: N818
    """A checkpoint is cut short or altered: it will never be used again, where others may once they can be read."""


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write `tensors` and `facts` (plain JSON) to `path`.

    Raises:
        WriteError: the disk refuses; what was at `path` before is untouched.
    """
    # safetensors has no strides: channels-last weights are written in the default layout, and laid out when restored.
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": str(FORMAT), "facts": json.dumps(facts), "digest": digest(flat, json.dumps(facts))}
    with writing(path):
        write_atomically(path, to_bytes(flat, metadata))


def read_tensors(path: Path, *, metadata_only: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A safetensors file: its tensors by name, on the CPU, and its metadata, in no more memory than it has bytes.

    Args:
        path: the file.
        metadata_only: leave the tensors where they are, which takes a thousandth of the time; a file that is cut short
            is still told.

    Raises:
        CheckpointError: the file cannot be read; a DamagedCheckpoint where it is cut short, or of another kind.
    """
    try:
        with open_plain(path) as file:
            # Before the library believes it: a length of 2**62 would be allocated.
            length, size = int.from_bytes(file.read(8), "little"), os.fstat(file.fileno()).st_size
            if not 0 < length <= min(LARGEST_HEADER, size - 8):
                raise ValueError("it is cut short, or no checkpoint")
        with _name_in_utf8(path) as name, safe_open(name, framework="pt", device="cpu") as tensors_file:
            metadata: dict[str, str] = tensors_file.metadata() or {}
            names = () if metadata_only else tensors_file.keys()
            return {name: tensors_file.get_tensor(name) for name in names}, metadata
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {reason(error)}") from error
    except (SafetensorError, ValueError) as error:
        raise DamagedCheckpoint(f"cannot read the checkpoint {path}: {reason(error)}") from error


def load(path: Path) -> Contents:
    """Read a checkpoint: its tensors by name, on the CPU, and its facts; one of an older format as if it were new.

    Raises:
        CheckpointError: the file cannot be read, or is of a format this version does not know; a DamagedCheckpoint
            where it is cut short or altered.
    """
    tensors, metadata = read_tensors(path)
    written, text = metadata.get("format", "none"), metadata.get("facts", "")
    if written not in {str(known) for known in (*UPGRADES, FORMAT)}:
        raise CheckpointError(
            f"{path} has checkpoint format {written}, this version reads {min((*UPGRADES, FORMAT))} to {FORMAT}: "
            "use the version of equipoise named in the run's config.yaml"
        )
    if metadata.get("digest") != digest(tensors, text):
        raise DamagedCheckpoint(f"{path} is damaged: its contents do not match its checksum")
    try:
        facts = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedCheckpoint(f"{path} is no checkpoint: its facts are not JSON") from error
    if not isinstance(facts, dict):
        raise DamagedCheckpoint(f"{path} is no checkpoint: its facts are not a mapping")

    contents = tensors, facts
    try:
        for older in range(int(written), FORMAT):
            contents = UPGRADES[older](*contents)
    except (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise DamagedCheckpoint(f"{path} is no checkpoint of format {written}: {reason(error)}") from error
    return contents


@contextmanager
def _name_in_utf8(path: Path) -> Iterator[Path]:
    """`path`, or a link to it where its name is no text: safetensors opens files of names in UTF-8 alone."""
    if is_text(path):
        yield path
        return
    with TemporaryDirectory() as folder:
        link = Path(folder, "checkpoint")
        link.symlink_to(path.resolve())
        yield link


def fill(network: nn.Module, weights: Mapping[str, Tensor], *, assign: bool = False) -> None:
    """Load weights into a network.

    Args:
        network: whose weights they are to be.
        weights: all of them, by name.
        assign: let the network have these tensors themselves, as one on the meta device needs.

    Raises:
        ValueError: names or shapes differ; the first one is named.
    """
    wanted, present = ({name: tuple(each.shape) for name, each in of.items()} for of in (network.state_dict(), weights))
    for name in [*wanted, *present]:
        if wanted.get(name) != present.get(name):
            raise ValueError(f"{quoted(name)} is {present.get(name, 'missing')}, not {wanted.get(name, 'expected')}")
    network.load_state_dict(weights, assign=assign)


def _count_generator_steps(tensors: dict[str, Tensor], facts: dict[str, Any]) -> Contents:
    """Format 1 knew objectives of simultaneous updates alone, and left the generator's steps to its optimizer."""
    steps = tensors.get("optimizer_generator.0.step")
    sums = [name.removeprefix("window.") for name in tensors if name.startswith("window.")]
    return tensors, {
        **facts,
        "classes": 0,
        "generator_steps": 0 if steps is None else int(steps),
        "critic_steps_since": 0,
        "steps_per_epoch": 1,
        "cuts": 0,
        "window_counts": dict.fromkeys(sums, facts["window_steps"]),
    }


def _open_a_window(tensors: dict[str, Tensor], facts: dict[str, Any]) -> Contents:
    """Format 2 took the schedule's windows from lines of metrics; that which was open begins anew."""
    plateau = {name: value for name, value in facts["plateau"].items() if name not in {"total", "images"}}
    return tensors, {**facts, "plateau": plateau, "schedule_steps": 0}


def _name_processes(tensors: dict[str, Tensor], facts: dict[str, Any]) -> Contents:
    """Format 3 did not say how many processes the run began with, but for what its configuration asks for."""
    config = facts.get("config", {})
    return tensors, {**facts, "processes": config.get("devices", 1)}


UPGRADES = {1: _count_generator_steps, 2: _open_a_window, 3: _name_processes}
"""What turns each older format into the next."""


def digest(tensors: Mapping[str, Tensor], facts: str = "") -> str:
    """SHA-256 over names, types, shapes and values of tensors on the CPU, and facts, in hexadecimal digits."""
    found = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
