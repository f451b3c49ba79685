"""Latents from files, whole and hostile."""

import io
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given

from equipoise.errors import UsageError
from equipoise.sampling.latent_file import read_latents
from hostile import MUTATIONS, mutated, tries, watched

Z = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_latents_and_labels_of_an_npz(tmp_path: Path, save, order: str) -> None:
    save(tmp_path / "z.npz", latents=np.asarray(Z, order=order), labels=np.arange(4, dtype=np.uint8), other=np.ones(9))
    found = read_latents(tmp_path / "z.npz")
    assert torch.equal(found.latents, torch.from_numpy(Z))
    assert found.labels is not None
    assert found.labels.tolist() == [0, 1, 2, 3]
    save(tmp_path / "none.npz", latents=Z.astype(np.float64), labels=np.full(4, -1))
    assert read_latents(tmp_path / "none.npz").labels is None


def test_rows_of_a_csv(tmp_path: Path) -> None:
    rows = "\n".join(",".join(map(repr, row)) for row in Z.tolist())
    for text in (rows, f"a, b ,c\r\n{rows}\n\n", f"\ufeff{rows}"):
        (tmp_path / "z.csv").write_text(text, newline="")
        assert torch.equal(read_latents(tmp_path / "z.csv").latents, torch.from_numpy(Z))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1,2\n3", "row"),
        ("1,2\n3,x", "'x'"),
        ("", "a row each"),
        ("a,b\n", "a row each"),
        ("1,inf", "value 1 of latent 0"),
        ("1,1e99", "value 1 of latent 0"),
        ("\0", "read latents|a row each"),
    ],
)
def test_other_text_is_no_latents(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "z.csv").write_text(text)
    with pytest.raises(UsageError, match=said):
        read_latents(tmp_path / "z.csv")


def test_other_arrays_and_things_that_are_no_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "labels.npz", latents=Z, labels=np.zeros(3, int))
    np.savez(tmp_path / "objects.npz", latents=np.array([[None]]))
    os.mkfifo(tmp_path / "pipe.npz")
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.npz").mkdir()
    for name, said in (
        ("labels.npz", "one whole number"),
        ("objects.npz", "pickled"),
        ("pipe.npz", "pipe"),
        ("pipe.csv", "pipe"),
        ("folder.npz", "folder.npz"),
    ):
        with pytest.raises(UsageError, match=said):
            read_latents(tmp_path / name)


def whole() -> bytes:
    file = io.BytesIO()
    np.savez(file, latents=Z, labels=np.arange(4))
    return file.getvalue()


@pytest.mark.parametrize(("name", "content"), [("z.npz", whole()), ("z.csv", b"a,b,c\n1,2,3\n4,5,6\n")])
def test_mutated_files_give_latents_or_a_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    @tries(60, fixed=True)
    @given(MUTATIONS)
    def attempt(changes: list[Callable[[bytes], bytes]]) -> None:
        (tmp_path / name).write_bytes(mutated(content, changes))
        with watched(tmp_path), suppress(UsageError):
            assert read_latents(tmp_path / name).latents.isfinite().all()

    attempt()
