"""Weights of extractors: located or downloaded, checked by their hash, read without running code, made fast."""

import hashlib
import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from equipoise.errors import UsageError, quoted, reason
from equipoise.reading import load_torch, open_plain

COUNTER = "num_batches_tracked"  # of batch normalisation: older files lack it, and evaluation never reads it

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Published:
    """Weights that their authors publish.

    Attributes:
        extractor: name of the extractor that they are for.
        url: of their file.
        names: names that the file may have in torch's cache; a download gets the first.
        sha256: of the file, in hexadecimal.
        variable: environment variable that may name another file to use.
    """

    extractor: str
    url: str
    names: tuple[str, ...]
    sha256: str
    variable: str

    def locate(self, file: Path | None) -> Path:
        """File to read: `file`, else the variable's, else the one in torch's cache, which may be downloaded.

        Raises:
            UsageError: the file in the cache is damaged, or cannot be downloaded.
        """
        if named := file or os.environ.get(self.variable):
            return Path(named)
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        path = next((folder / name for name in self.names if (folder / name).is_file()), None)
        if path is None:
            path = folder / self.names[0]
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.hub.download_url_to_file(self.url, str(path), hash_prefix=self.sha256)
            except (OSError, RuntimeError) as error:  # RuntimeError: the file has another hash
                raise UsageError(
                    f"cannot download the weights of {self.extractor} ({reason(error)}): get {self.url} on another "
                    f"machine and put it at {path}, or name it in {self.variable}"
                ) from error
            return path
        if sha256(path) != self.sha256:
            raise UsageError(f"{path} is damaged, or not what its name says: delete it, and it is downloaded again")
        return path


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(build: Callable[[], Network], path: Path, name: str, unused: tuple[str, ...] = ()) -> Network:
    """An extractor's network in evaluation mode, with the weights in a file, .safetensors or torch's own.

    Args:
        build: from nothing to the network.
        path: of the file.
        name: of the extractor, for errors.
        unused: beginnings of the names of tensors that may be in the file and are not needed.

    Raises:
        UsageError: the file cannot be read, or holds something else.
    """
    state = _read(path, name)
    with torch.device("meta"):  # takes no memory, and no random numbers for weights that are replaced at once
        network = build()
    expected = network.state_dict()
    wanted = {key: tuple(tensor.shape) for key, tensor in expected.items() if not key.endswith(COUNTER)}
    present = {
        key: tuple(tensor.shape)
        for key, tensor in state.items()
        if not key.endswith(COUNTER) and not key.startswith(unused)
    }
    if wanted != present:
        wrong = next(iter(dict(wanted.items() ^ present.items())))
        raise UsageError(
            f"{path} does not hold the weights of {name}: it has {present.get(wrong, 'no')} for {quoted(wrong)} and "
            f"{wanted.get(wrong, 'none')} is needed, so give the file that is meant for {name}"
        )
    weights = {key: state[key].float() for key in wanted}
    counters = {key: torch.zeros((), dtype=torch.int64) for key in expected.keys() - wanted.keys()}
    network.load_state_dict(weights | counters, assign=True)
    return network.requires_grad_(False).eval()


def fold_normalisation(network: Network) -> Network:
    """Bring each batch normalisation into the convolution before it, in place; returns the network, in evaluation mode.

    With statistics that stand still it is a factor and a summand for each channel, so the numbers are the same but for
    rounding, and a pass over every map is saved. The two are known by their places: modules of one parent, the second
    made right after the first.
    """
    for parent in list(network.modules()):
        for (place, convolution), (after, normalisation) in itertools.pairwise(parent.named_children()):
            if isinstance(convolution, nn.Conv2d) and isinstance(normalisation, nn.BatchNorm2d):
                setattr(parent, place, fuse_conv_bn_eval(convolution, normalisation))
                setattr(parent, after, nn.Identity().eval())
    return network


def _read(path: Path, name: str) -> Mapping[str, Tensor]:
    """Named tensors of a file. `weights_only` unpickles tensors and nothing else: a hostile file is an error."""
    try:
        open_plain(path).close()  # a pipe would be waited for
        state: Any = load_file(path) if path.suffix == ".safetensors" else load_torch(path)
    except OSError as error:
        raise UsageError(f"cannot read the weights of {name} at {path}: {error.strerror or error}") from error
    except Exception as error:  # damaged files raise nearly everything
        raise UsageError(f"{path} is damaged or holds no weights: give the file that is meant for {name}") from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise UsageError(f"{path} holds no named tensors: give the file that is meant for {name}")
    return state
