"""Checkpoints: whole or not at all, verified when read, never code."""

import json
import pickle
import resource
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import equipoise
from equipoise import Run
from equipoise.runs import checkpoint
from equipoise.runs.checkpoint import CheckpointError, load, save
from equipoise.runs.files import WriteError, write_atomically

FORMATS = Path(__file__).parents[1] / "old_runs/formats"  # a run that each older format wrote, cut short

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
    with pytest.raises(
        CheckpointError, match=f"has checkpoint format 99, this version reads 1 to {checkpoint.FORMAT}:"
    ):
        load(tmp_path / "c")


def test_every_older_format_has_its_upgrade_and_a_run_to_try_it_on() -> None:
    older = list(range(1, checkpoint.FORMAT))
    assert list(checkpoint.UPGRADES) == older
    assert sorted(int(folder.name) for folder in FORMATS.iterdir()) == older


@pytest.mark.parametrize("older", sorted(path.name for path in FORMATS.iterdir()))
def test_a_run_of_an_older_format_goes_on(tmp_path: Path, older: str) -> None:
    """To its end, with nothing lost: what was logged stands, and so many steps were made as images ask for."""
    shutil.copytree(FORMATS / older, tmp_path / "run")
    before = Run.open(tmp_path / "run")
    [written] = before.checkpoints()
    with safe_open(written, "pt") as file:
        assert file.metadata()["format"] == older
    logged = [row for row in before.rows() if row["images"] <= int(written.stem)]
    run = equipoise.resume(before.path, quiet=True)
    assert run.rows()[: len(logged)] == logged
    tensors, facts = load(run.checkpoints()[-1])
    assert facts["images"] == run.config.images > int(written.stem)
    for player in ("generator", "discriminator"):
        assert tensors[f"optimizer_{player}.0.step"] == run.config.images / run.config.batch


def test_format_1_counted_the_generators_steps_in_its_optimiser() -> None:
    [written] = (FORMATS / "1" / "checkpoints").iterdir()
    facts = load(written)[1]
    assert (facts["generator_steps"], facts["critic_steps_since"]) == (24 // 4, 0)


def rewritten(path: Path, facts: str | None, tensors: dict[str, torch.Tensor], written: str = "1") -> None:
    """A file whose checksum is right, whatever else is wrong with it."""
    metadata = {"format": written, "digest": checkpoint.digest(tensors, facts or "")}
    save_file(tensors, path, metadata if facts is None else metadata | {"facts": facts})


@pytest.mark.parametrize("facts", [None, "", "{", "[]", "3", "[" * 100_000, '{"a": ' + "9" * 10_000 + "}"])
def test_facts_that_are_none_are_refused(tmp_path: Path, facts: str | None) -> None:
    rewritten(tmp_path / "c", facts, {"a": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="is no checkpoint: its facts are not"):
        load(tmp_path / "c")


@pytest.mark.parametrize("steps", [torch.zeros(2), torch.tensor(torch.nan), torch.tensor(torch.inf)])
def test_an_upgrade_that_cannot_be_made_is_told_in_words(tmp_path: Path, steps: torch.Tensor) -> None:
    rewritten(tmp_path / "c", "{}", {"optimizer_generator.0.step": steps})
    with pytest.raises(CheckpointError, match="is no checkpoint of format 1"):
        load(tmp_path / "c")


@pytest.mark.parametrize("length", [0, 2**24 + 1, 2**40, 2**63, 2**64 - 1])
def test_a_header_that_claims_more_than_there_is_takes_no_memory(tmp_path: Path, length: int) -> None:
    (tmp_path / "c").write_bytes(length.to_bytes(8, "little") + b"{" * 4096)
    with pytest.raises(CheckpointError, match="cannot read the checkpoint"):
        load(tmp_path / "c")


def test_a_huge_header_is_not_even_parsed(tmp_path: Path) -> None:
    """A hundred megabytes of brackets, on a disk that does not store them: refused before they are read."""
    with (tmp_path / "c").open("wb") as file:
        file.write((2**30).to_bytes(8, "little"))
        file.truncate(2**30 + 8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="cannot read the checkpoint"):
        load(tmp_path / "c")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**15, "KiB"


def test_a_tensor_that_claims_more_than_there_is_takes_no_memory(tmp_path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 2**42]}}).encode()
    (tmp_path / "c").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="cannot read the checkpoint"):
        load(tmp_path / "c")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "c"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["c"]


def test_a_folder_that_is_gone_is_told_in_words(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="cannot write .*mend that, then resume"):
        save(tmp_path / "gone" / "c", TENSORS, FACTS)


def test_files_are_as_readable_as_any_other(tmp_path: Path) -> None:
    write_atomically(tmp_path / "ours", b"x")
    (tmp_path / "other").write_bytes(b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_the_last_ones_are_kept_and_some_for_good(small: equipoise.TrainConfig, tmp_path: Path) -> None:
    """Steps of 16 images reach the multiples of 100 at 112, 208, 304, ...: the first checkpoints from there on."""
    run = Run.create(tmp_path / "run", small.with_changes(keep=2, keep_every=100))
    run.rewind(-1)
    for images in range(0, 480, 16):
        run.save_checkpoint(images, {}, {})
        kept = [int(path.stem) for path in run.checkpoints()]
        assert kept == [at for at in range(0, images + 1, 16) if at > images - 32 or at in (112, 208, 304, 400)]


def test_only_the_newest_best_is_kept(small: equipoise.TrainConfig, tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", small)
    run.rewind(-1)
    for images in (16, 32, 48):
        run.save_checkpoint(images, {"a": torch.ones(2) * images}, {"shape": [1, 16, 16], "data": "d"})
    (tmp_path / "run" / "checkpoints" / "best-000000000008.safetensors").write_bytes(b"left by a kill")
    for images in (16, 48):
        run.keep_best(images)
    assert [path.stem for path in (tmp_path / "run" / "checkpoints").glob("best-*")] == ["best-000000000048"]
    assert torch.equal(run.load_checkpoint(best=True)[0]["a"], torch.ones(2) * 48)


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"shape": [1, 32, 32], "data": "d"}, "is not for images of 16x16: it is another run's"),
        ({"shape": [1, 2**30, 2**30], "data": "d"}, "is not for images of 16x16"),
        ({"shape": "x", "data": "d"}, "is not for images of 16x16"),
        ({"shape": [1, 16, 16]}, "lacks what every checkpoint says"),
        ({}, "is not for images of 16x16"),
    ],
)
def test_a_checkpoint_of_another_run_is_passed_over(
    small: equipoise.TrainConfig, tmp_path: Path, facts: dict[str, object], why: str
) -> None:
    run = Run.create(tmp_path / "run", small)
    run.rewind(-1)
    good = run.save_checkpoint(16, {}, {"shape": [1, 16, 16], "data": "d"})
    run.save_checkpoint(32, {}, facts)
    shutil.copy(good, good.with_stem(f"{48:012d}"))
    _, found, passed_over = run.load_checkpoint()
    assert found["images"] == 16
    assert "was renamed" in passed_over[0]
    assert why in passed_over[1]


def test_weights_of_another_network_are_told_in_one_short_line() -> None:
    network = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(100)))
    weights = network.state_dict()
    checkpoint.fill(network, weights)
    for changed, told in (
        (weights | {"7.weight": torch.zeros(2, 2)}, r"'7.weight' is \(2, 2\), not \(3, 3\)"),
        ({name: tensor for name, tensor in weights.items() if name != "9.bias"}, r"'9.bias' is missing, not \(3,\)"),
        (weights | {"x" * 10**6: torch.zeros(1)}, r"x' is \(1,\), not expected"),
    ):
        with pytest.raises(ValueError, match=told) as error:
            checkpoint.fill(network, changed)
        assert len(str(error.value)) < 200
        assert "\n" not in str(error.value)
