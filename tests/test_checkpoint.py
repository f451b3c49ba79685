"""Checkpoints: whole or not at all, verified when read, never code."""

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from equipoise.checkpoint import CheckpointError, load, save, write_atomically

TENSORS = {
    "weights": torch.randn(3, 2, 4, 4).to(memory_format=torch.channels_last),
    "half": torch.randn(5).bfloat16(),
    "double": torch.randn(2, dtype=torch.float64),
    "scalar": torch.tensor(0.1),
    "empty": torch.zeros(0),
}
FACTS = {"images": 12, "best": float("inf"), "lr": 0.1 + 0.2, "shape": [1, 2, 3]}


def test_what_is_written_is_read_to_the_bit(tmp_path: Path) -> None:
    save(tmp_path / "c", TENSORS, FACTS)
    tensors, facts = load(tmp_path / "c")
    assert facts == FACTS
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_flipped_bit_anywhere_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "c"
    save(path, TENSORS, FACTS)
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        try:
            tensors, facts = load(path)
        except CheckpointError:
            continue
        assert facts == FACTS, position  # a bit outside of what counts, such as padding
        assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items()), position


@pytest.mark.parametrize("length", [0, 1, 8, 100, 500, -1])
def test_a_file_cut_short_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "c"
    save(path, TENSORS, FACTS)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="cannot read the checkpoint"):
        load(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(CheckpointError, match="cannot read the checkpoint"):
            load(path)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "harm",))  # type: ignore[return-value]

    (tmp_path / "c").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(CheckpointError):
        load(tmp_path / "c")
    assert not (tmp_path / "harm").exists()


def test_another_format_says_which(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "c", {"format": "99", "facts": "{}", "digest": ""})
    with pytest.raises(CheckpointError, match="has checkpoint format 99, this version reads 1"):
        load(tmp_path / "c")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "c"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["c"]


def test_a_folder_that_is_gone_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot write the checkpoint"):
        save(tmp_path / "gone" / "c", TENSORS, FACTS)


def test_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    write_atomically(tmp_path / "ours", b"x")
    (tmp_path / "other").write_bytes(b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "other").stat().st_mode
