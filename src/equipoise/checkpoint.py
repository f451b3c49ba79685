"""One checkpoint, one file: tensors and facts in safetensors, written whole or not at all, verified when read.

Reading never runs code: safetensors holds raw numbers, and the facts are JSON.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from equipoise.errors import UsageError

FORMAT = 1


class CheckpointError(UsageError):
    """A checkpoint that cannot be used; the message says which, and why."""


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write `tensors` and `facts` (plain JSON) to `path`.

    Raises:
        CheckpointError: the disk refuses; what was at `path` before is untouched.
    """
    flat = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": str(FORMAT), "facts": json.dumps(facts), "digest": _digest(flat, json.dumps(facts))}
    try:
        write_atomically(path, to_bytes(flat, metadata))
    except OSError as error:
        raise CheckpointError(f"cannot write the checkpoint {path}: {error.strerror}; make room and resume") from error


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint: its tensors by name, on the CPU, and its facts.

    Raises:
        CheckpointError: the file is missing, cut short, altered, or of a format this version does not know.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error}") from error
    if metadata.get("format") != str(FORMAT):
        raise CheckpointError(
            f"{path} has checkpoint format {metadata.get('format')}, this version reads {FORMAT}: "
            "use the version of equipoise named in the run's config.yaml"
        )
    if metadata.get("digest") != _digest(tensors, metadata.get("facts", "")):
        raise CheckpointError(f"{path} is damaged: its contents do not match its checksum")
    facts: dict[str, Any] = json.loads(metadata["facts"])
    return tensors, facts


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path` so that a crash at any instant leaves the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some file systems cannot; the rename itself is still atomic
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _digest(tensors: Mapping[str, Tensor], facts: str) -> str:
    """SHA-256 over names, types, shapes, values and facts."""
    digest = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
