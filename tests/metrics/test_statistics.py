"""One pass over a set: batches of any size, and processes with a part each, leave the same statistics."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.metrics import (
    METRICS,
    FeatureBatch,
    Limits,
    Statistics,
    accumulate,
    merge_statistics,
    partition,
    required_statistics,
)

TOTAL = 120
REQUIRED = required_statistics(METRICS)
FEW = Limits(patches_per_image=8)
BOUNDED = Limits(pictures=30, patches=240, patches_per_image=8)  # so that some images only are kept


def pictures(seed: int, total: int = TOTAL) -> Tensor:
    coarse = torch.rand(total, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) * 255
    return torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear").to(torch.uint8)


def extract(images: Tensor) -> FeatureBatch:
    """Features that do not depend on what else is in the batch."""
    vectors = torch.nn.functional.avg_pool2d(images.float(), 8).flatten(1) / 64
    return FeatureBatch(images, vectors, (3 * vectors[:, :5]).softmax(dim=1))


def batches(images: Tensor, positions: range, size: int) -> Iterator[FeatureBatch]:
    for start in range(positions.start, positions.stop, size):
        yield extract(images[start : min(start + size, positions.stop)])


def statistics(
    seed: int = 0, batch: int = 50, rank: int = 0, size: int = 1, total: int = TOTAL, limits: Limits = FEW
) -> Statistics:
    own = partition(total, rank, size)
    images = batches(pictures(seed, total), own, batch)
    return accumulate(images, REQUIRED, total=total, first=own.start, limits=limits)


def assert_same(a: Statistics, b: Statistics) -> None:
    ours, theirs = a.tensors(), b.tensors()
    assert ours.keys() == theirs.keys()
    for name in ours:
        if name in ("moments.mean", "moments.scatter"):
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-12, atol=1e-12)
        else:
            assert torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize("batch", [1, 7, 64, TOTAL])
def test_batches_make_no_difference(batch: int) -> None:
    assert_same(statistics(batch=batch, limits=BOUNDED), statistics(limits=BOUNDED))


@pytest.mark.parametrize("size", [2, 3, 7])
def test_parts_merged_in_order_are_the_whole(size: int) -> None:
    parts = [statistics(rank=rank, size=size, limits=BOUNDED) for rank in range(size)]
    assert_same(merge_statistics(parts), statistics(limits=BOUNDED))


def test_partitions_are_contiguous_and_whole() -> None:
    for total, size in [(10, 3), (2, 5), (0, 2), (7, 1)]:
        parts = [partition(total, rank, size) for rank in range(size)]
        assert [n for part in parts for n in part] == list(range(total))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_what_is_kept_is_bounded() -> None:
    bounded = statistics(limits=Limits(pictures=30, patches=40, patches_per_image=8))
    assert bounded.pictures is not None
    assert len(bounded.pictures) == 30
    assert [level.shape for level in bounded.patches] == [(40, 1, 7, 7)] * 2
    assert [level.shape for level in statistics(limits=BOUNDED).patches] == [(240, 1, 7, 7)] * 2
    assert [level.shape for level in statistics().patches] == [(120 * 8, 1, 7, 7)] * 2
    assert bounded.vectors is not None
    assert bounded.vectors.shape == (TOTAL, 16)


def test_only_what_is_required_is_kept() -> None:
    images = pictures(0)
    for name, metric in METRICS.items():
        required = required_statistics([name])
        names = accumulate(batches(images, range(TOTAL), 50), required, total=TOTAL, limits=FEW).tensors()
        assert {key.split(".")[0] for key in names} == {"count"} | metric.needs, name


def test_survives_as_tensors() -> None:
    whole = statistics()
    assert_same(Statistics.from_tensors(whole.tensors()), whole)
    few = accumulate(batches(pictures(0), range(TOTAL), 50), required_statistics(["kid"]), total=TOTAL)
    assert_same(Statistics.from_tensors(few.tensors()), few)


def test_refuses_nan_and_nothing() -> None:
    batch = extract(pictures(0))
    with pytest.raises(UsageError, match="NaN"):
        accumulate([batch._replace(vectors=torch.full((TOTAL, 4), torch.nan))], REQUIRED, total=TOTAL)
    with pytest.raises(UsageError, match="no images"):
        accumulate([], REQUIRED, total=0)


PROCESS = """
import sys, torch
sys.path.insert(0, {folder!r})
from test_statistics import statistics, assert_same
from equipoise.metrics import Statistics, merge_statistics
rank = int(sys.argv[1])
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo", init_method={rendezvous!r}, rank=rank, world_size=2)
parts = [None, None]
torch.distributed.all_gather_object(parts, statistics(rank=rank, size=2).tensors())
assert_same(merge_statistics([Statistics.from_tensors(part) for part in parts]), statistics())
torch.distributed.destroy_process_group()
"""


def test_two_processes_equal_one(tmp_path: Path) -> None:
    code = PROCESS.format(folder=str(Path(__file__).parent), rendezvous=f"file://{tmp_path}/meet")
    processes = [subprocess.Popen([sys.executable, "-c", code, str(rank)]) for rank in (0, 1)]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
