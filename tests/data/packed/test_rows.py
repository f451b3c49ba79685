import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from equipoise.data.packed.rows import Rows
from equipoise.errors import UsageError

VALUES = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 5), dtype=np.uint8)


def stored(tmp_path: Path, values: np.ndarray, offset: int = 7) -> Rows:
    (tmp_path / "a").write_bytes(bytes(offset) + values.tobytes())
    return Rows(tmp_path / "a", offset, values.shape, values.dtype)


@pytest.mark.parametrize("dtype", ["u1", ">f4", "<i8"])
def test_rows_are_those_of_the_array(tmp_path: Path, dtype: str) -> None:
    values = VALUES.astype(dtype)
    rows = stored(tmp_path, values)
    for part in (slice(None), slice(3, 9), slice(48, 99), slice(9, 3), slice(60, 70)):
        np.testing.assert_array_equal(rows[part], values[part])
    chosen = np.array([49, 0, 7, 7])
    np.testing.assert_array_equal(rows.take(chosen), values[chosen])
    np.testing.assert_array_equal(rows.mapped(), values)
    assert rows.take(chosen[:0]).shape == (0, 3, 4, 5)
    assert rows[:1].dtype == values.dtype


@pytest.mark.parametrize("indices", [[50], [-1], [0, 99]])
def test_other_rows_are_refused(tmp_path: Path, indices: list[int]) -> None:
    with pytest.raises(IndexError, match="0 to 49"):
        stored(tmp_path, VALUES).take(np.array(indices))


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    rows = stored(tmp_path, VALUES)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda index: rows.take(np.array([index])), list(range(50)) * 20))
    np.testing.assert_array_equal(np.concatenate(taken), np.tile(VALUES, (20, 1, 1, 1)))


def test_a_file_cut_short_is_said(tmp_path: Path) -> None:
    rows = stored(tmp_path, VALUES)
    os.truncate(rows.path, 100)
    with pytest.raises(UsageError, match="became shorter while it was read"):
        rows[:]


def test_the_file_is_closed_with_the_rows(tmp_path: Path) -> None:
    rows = stored(tmp_path, VALUES)
    handle = rows.file
    os.fstat(handle)
    del rows
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)
