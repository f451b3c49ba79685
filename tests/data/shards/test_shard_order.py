from collections.abc import Generator, Iterator
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from equipoise.data.shards.order import Interleaver, ShardSlice, assign_shards

seeds, sizes, epochs = st.integers(0, 2**40), st.integers(1, 5), st.integers(0, 9)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), seeds, sizes, epochs)
def test_each_sample_belongs_to_exactly_one_process_and_one_lane(
    counts: list[int], seed: int, size: int, epoch: int
) -> None:
    seen = [
        (part.shard, number)
        for rank in range(size)
        for part in assign_shards(len(counts), seed, epoch, rank, size)
        for number in range(part.first, counts[part.shard], part.step)
    ]
    assert sorted(seen) == [(shard, number) for shard, count in enumerate(counts) for number in range(count)]


@given(st.integers(1, 30), seeds, sizes, epochs)
def test_every_process_reads_as_many_whole_shards_as_every_other(shards: int, seed: int, size: int, epoch: int) -> None:
    dealt = [assign_shards(shards, seed, epoch, rank, size) for rank in range(size)]
    assert {sum(part.step == 1 for part in parts) for parts in dealt} == {shards // size if size > 1 else shards}


def test_the_order_of_the_shards_changes_with_seed_and_epoch_and_never_otherwise() -> None:
    orders = [[part.shard for part in assign_shards(9, seed, epoch, 0, 1)] for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert orders[0] == [3, 7, 4, 2, 8, 1, 6, 5, 0]


@given(
    st.lists(st.tuples(st.integers(0, 7), st.booleans()), min_size=1, max_size=8),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 40),
)
def test_to_pass_over_equals_to_read(shards: list[tuple[int, bool]], lanes: int, step: int, skip: int) -> None:
    """Whether all, some or none of the shards' counts are known beforehand."""
    parts = [ShardSlice(number, 0, step if number % 2 else 1) for number in range(len(shards))]

    def read(part: ShardSlice) -> Generator[SimpleNamespace, None, None]:
        yield from (SimpleNamespace(name=(part.shard, number)) for number in range(shards[part.shard][0]))

    def known(number: int) -> int | None:
        return shards[number][0] if shards[number][1] else None

    def walk(turns: Iterator[SimpleNamespace]) -> list[tuple[int, int]]:
        return [sample.name for sample in turns]

    whole = walk(Interleaver(parts, lanes, read, known))
    assert len(whole) == len(set(whole)) == sum(part.length(shards[part.shard][0]) for part in parts)
    sought = Interleaver(parts, lanes, read, known)
    assert sought.skip(skip) == min(skip, len(whole))
    assert walk(sought) == whole[skip:]


def test_shards_of_known_counts_are_passed_over_without_opening_them() -> None:
    opened = []

    def read(part: ShardSlice) -> Generator[SimpleNamespace, None, None]:
        opened.append(part.shard)
        yield from (SimpleNamespace(name=(part.shard, number)) for number in range(10))

    turns = Interleaver([ShardSlice(number, 0, 1) for number in range(6)], 2, read, lambda number: 10)
    assert turns.skip(45) == 45
    assert not opened
    assert next(turns).name == (5, 2)
    assert opened == [5]
