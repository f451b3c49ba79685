"""One pass over a set: batches of any size, and processes with a part each, leave the same behind."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from equipoise.errors import UsageError
from equipoise.metrics import METRICS, Chunk, Collected, check, collect, manifold_scores, merge, needed, scores, share

TOTAL = 120
NEEDS = needed(METRICS)


def pictures(seed: int, total: int = TOTAL) -> Tensor:
    coarse = torch.rand(total, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) * 255
    return torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bilinear").to(torch.uint8)


def extracted(images: Tensor) -> Chunk:
    """Features that do not depend on what else is in the batch."""
    vectors = torch.nn.functional.avg_pool2d(images.float(), 8).flatten(1) / 64
    return Chunk(images, vectors, (3 * vectors[:, :5]).softmax(dim=1))


def chunks(images: Tensor, positions: range, batch: int) -> Iterator[Chunk]:
    for start in range(positions.start, positions.stop, batch):
        yield extracted(images[start : min(start + batch, positions.stop)])


def collected(seed: int = 0, batch: int = 50, rank: int = 0, size: int = 1, total: int = TOTAL) -> Collected:
    mine = share(total, rank, size)
    return collect(chunks(pictures(seed, total), mine, batch), NEEDS, total=total, first=mine.start)


def assert_same(a: Collected, b: Collected) -> None:
    one, other = a.tensors(), b.tensors()
    assert one.keys() == other.keys()
    for name in one:
        if name in ("moments.mean", "moments.scatter"):
            torch.testing.assert_close(one[name], other[name], rtol=1e-12, atol=1e-12)
        else:
            assert torch.equal(one[name], other[name]), name


@pytest.fixture(autouse=True)
def few_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.metrics.pyramid.PER_IMAGE", 8)


@pytest.fixture
def bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less room, so that some images only are kept."""
    monkeypatch.setattr("equipoise.metrics.statistics.PICTURES", 30)
    monkeypatch.setattr("equipoise.metrics.statistics.IN_ALL", 40)


@pytest.mark.parametrize("batch", [1, 7, 64, TOTAL])
@pytest.mark.usefixtures("bounded")
def test_batches_make_no_difference(batch: int) -> None:
    assert_same(collected(batch=batch), collected())


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.usefixtures("bounded")
def test_parts_merged_in_order_are_the_whole(size: int) -> None:
    assert_same(merge([collected(rank=rank, size=size) for rank in range(size)]), collected())


def test_shares_are_contiguous_and_whole() -> None:
    for total, size in [(10, 3), (2, 5), (0, 2), (7, 1)]:
        parts = [share(total, rank, size) for rank in range(size)]
        assert [n for part in parts for n in part] == list(range(total))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.usefixtures("bounded")
def test_what_is_kept_is_bounded() -> None:
    kept = collected()
    assert kept.pictures is not None
    assert len(kept.pictures) == 30
    assert [level.shape for level in kept.patches] == [(40 * 8, 1, 7, 7)] * 2
    assert kept.vectors is not None
    assert kept.vectors.shape == (TOTAL, 16)


def test_only_what_is_needed_is_kept() -> None:
    images = pictures(0)
    for name, metric in METRICS.items():
        kept = collect(chunks(images, range(TOTAL), 50), needed([name]), total=TOTAL).tensors()
        assert {key.split(".")[0] for key in kept} == {"count"} | ({metric.needs} if metric.needs else set()), name


def test_survives_as_tensors() -> None:
    kept = collected()
    assert_same(Collected.from_tensors(kept.tensors()), kept)
    few = collect(chunks(pictures(0), range(TOTAL), 50), needed(["kid"]), total=TOTAL)
    assert_same(Collected.from_tensors(few.tensors()), few)


def test_all_scores_by_name_and_the_same_for_any_batch() -> None:
    ours = scores(METRICS, collected(0), collected(1))
    assert list(ours) == [name for name in METRICS if name not in ("reconstruction", "memorisation")]
    assert all("value" in figures for figures in ours.values())
    other = scores(METRICS, collected(0, batch=11), merge([collected(1, rank=rank, size=2) for rank in (0, 1)]))
    for name, figures in ours.items():
        assert other[name] == pytest.approx(figures, rel=1e-9, abs=1e-12), name
    assert scores(["recall"], collected(0), collected(1)) == {"recall": ours["recall"]}


def test_samples_and_real_images_keep_their_roles() -> None:
    samples, references = collected(0), collected(1, total=150)
    assert samples.vectors is not None
    assert references.vectors is not None
    expected = manifold_scores(references.vectors, samples.vectors)
    ours = scores(METRICS, samples, references)
    for name in ("precision", "recall", "density", "coverage"):
        assert ours[name]["value"] == getattr(expected, name)
    for name in ("inception-score", "ms-ssim"):
        assert scores([name], references, samples)[name]["value"] == ours[name]["real"] != ours[name]["value"]


def test_a_set_and_itself_are_ideal() -> None:
    same = collected()
    ours = scores(METRICS, same, same)
    assert ours["fid"]["value"] == pytest.approx(0, abs=1e-9)
    assert ours["sliced-wasserstein"]["value"] == 0
    assert [ours[name]["value"] for name in ("precision", "recall", "coverage")] == [1, 1, 1]
    for name in ("inception-score", "ms-ssim"):
        assert ours[name]["value"] == ours[name]["real"]
    assert ours["modes"]["value"] == ours["modes"]["of"]
    assert ours["modes"]["kl"] == 0


def test_refuses_too_few_images_unknown_names_nan_and_nothing() -> None:
    with pytest.raises(UsageError, match="fid needs 100 images or more, not 40: give more, or leave fid out"):
        check(["kid", "fid"], 40, 4000)
    with pytest.raises(UsageError, match="there is no score 'fide': choose from kid, fid, .*modes"):
        check(["fide"], 400)
    with pytest.raises(UsageError, match="kid needs 20"):
        scores(["kid"], collected(total=19), collected())
    chunk = extracted(pictures(0))
    with pytest.raises(UsageError, match="NaN"):
        collect([chunk._replace(vectors=torch.full((TOTAL, 4), torch.nan))], NEEDS, total=TOTAL)
    with pytest.raises(UsageError, match="no images"):
        collect([], NEEDS, total=0)


PROCESS = """
import sys, torch
sys.path.insert(0, {folder!r})
from test_collected import collected, assert_same
from equipoise.metrics import Collected, merge
rank = int(sys.argv[1])
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo", init_method={rendezvous!r}, rank=rank, world_size=2)
parts = [None, None]
torch.distributed.all_gather_object(parts, collected(rank=rank, size=2).tensors())
assert_same(merge([Collected.from_tensors(part) for part in parts]), collected())
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
