"""Whatever is read may be hostile: mutated files give images or a documented error, and do nothing else.

An audit hook sees every file that Python opens for writing, every process and every connection; the peak of resident
memory is the kernel's. `make test` tries a few hundred inputs, always the same; `make test-all` thousands of new ones.
"""

import copy
import gzip
import io
import itertools
import json
import os
import pickle
import resource
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

import equipoise
from equipoise import Autoencoder
from equipoise.config.train_config import TrainConfig, read_yaml, write_yaml
from equipoise.data import open_images
from equipoise.data.shards import Stream, open_stream
from equipoise.errors import UsageError
from equipoise.runs import checkpoint
from equipoise.training.state import DataSpec, TrainState
from hostile import EXTREMES, MOST_MEMORY, MUTATIONS, mutated, resident, tries, watched

# Bytes of memory for an image of the 89 million pixels that are allowed, and its copies
MOST_PIXELS = 2**30
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)


def test_the_watch_sees_what_it_is_for(tmp_path: Path) -> None:
    """Each of the things that would be found."""
    harm: list[Callable[[], object]] = [
        lambda: (tmp_path / "a").write_text(""),
        (tmp_path / "b").mkdir,
        lambda: os.system("true"),
        lambda: (tmp_path / "b").rename(tmp_path / "c"),
    ]
    for does in harm:
        with pytest.raises(AssertionError), watched(tmp_path / "cache"):
            does()
    with pytest.raises(AssertionError), watched(tmp_path):
        np.ones(2 * MOST_MEMORY, np.uint8)
    with watched(tmp_path):
        (tmp_path / "d").write_text("")


# Small whole files, one of each kind


def encoded(index: int, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(IMAGES[index]).save(file, kind, **options)
    return file.getvalue()


def npy(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def npz(save: Callable[..., None]) -> bytes:
    file = io.BytesIO()
    save(file, images=IMAGES, labels=np.arange(6) % 3)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", encoded(0))
        archive.writestr("a/2.jpg", encoded(1, "JPEG"))
        archive.writestr("b/3.webp", encoded(2, "WEBP"))
        archive.writestr("dataset.json", json.dumps({"labels": [["a/1.png", 0], ["a/2.jpg", 1], ["b/3.webp", 2]]}))
    return file.getvalue()


def idx() -> bytes:
    return b"\0\0\x08\3" + struct.pack(">3I", 6, 8, 8) + IMAGES[..., 0].tobytes()


def cifar_batch() -> bytes:
    data = RANDOM.integers(0, 256, (2, 3072), dtype=np.uint8)
    return pickle.dumps({b"data": data, b"labels": [3, 4], b"filenames": [b"a.png", b"b.png"]}, protocol=4)


def tarred(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def shard() -> bytes:
    files = {f"{index:04d}.png": encoded(index) for index in range(3)}
    return tarred(files | {f"{index:04d}.json": json.dumps({"label": index}).encode() for index in range(3)})


def table(arrow: bool, compression: str | None = None) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    features = {"image": {"_type": "Image"}, "label": {"names": ["a", "b"], "_type": "ClassLabel"}}
    images = [{"bytes": encoded(index), "path": "a.png"} for index in range(4)]
    made = pa.table({"image": images, "label": [0, 1, 0, 1]})
    made = made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file = io.BytesIO()
    if not arrow:
        pq.write_table(made, file, compression=compression or "none")
        return file.getvalue()
    with pa.ipc.new_stream(file, made.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(made)
    return file.getvalue()


@cache
def whole(name: str) -> bytes:
    """The file called `name`, valid."""
    makers: dict[str, Callable[[], bytes]] = {
        "a.npy": lambda: npy(IMAGES),
        "fortran.npy": lambda: npy(np.asfortranarray(IMAGES)),
        "floats.npy": lambda: npy(IMAGES / 255.0),
        "a.npz": lambda: npz(np.savez),
        "compressed.npz": lambda: npz(np.savez_compressed),
        "a.zip": zipped,
        "train-images-idx3-ubyte": idx,
        "train-images-idx3-ubyte.gz": lambda: gzip.compress(idx(), mtime=0),
        "data_batch_1": cifar_batch,
        "data_batch_1.bin": lambda: RANDOM.integers(0, 10, 2 * 3073, dtype=np.uint8).tobytes(),
        "cifar-10-python.tar.gz": lambda: gzip.compress(tarred({"c/data_batch_1": cifar_batch()}), mtime=0),
        "shard.tar": shard,
        "shard.tar.gz": lambda: gzip.compress(shard(), mtime=0),
        "a.parquet": lambda: table(arrow=False, compression="snappy"),
        "zstd.parquet": lambda: table(arrow=False, compression="zstd"),
        "a.arrow": lambda: table(arrow=True),
        "zstd.arrow": lambda: table(arrow=True, compression="zstd"),
        "folder/a.png": lambda: encoded(0),
        "folder/a.jpg": lambda: encoded(1, "JPEG"),
        "folder/a.webp": lambda: encoded(2, "WEBP"),
        "folder/a.gif": lambda: encoded(3, "GIF"),
        "folder/a.tif": lambda: encoded(4, "TIFF", compression="tiff_lzw"),
        "folder/a.bmp": lambda: encoded(5, "BMP"),
        "folder/a.jp2": lambda: encoded(0, "JPEG2000"),
        "folder/dataset.json": lambda: b'{"labels": [["a.png", 3]], "more": {"deep": [1, 2.5, null, true]}}',
    }
    return makers[name]()


NAMES = [
    *("a.npy", "fortran.npy", "floats.npy", "a.npz", "compressed.npz", "a.zip"),
    *("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz"),
    *("data_batch_1", "data_batch_1.bin", "cifar-10-python.tar.gz", "shard.tar", "shard.tar.gz"),
    *("a.parquet", "zstd.parquet", "a.arrow", "zstd.arrow"),
    *("folder/a.png", "folder/a.jpg", "folder/a.webp", "folder/a.gif", "folder/a.tif", "folder/a.bmp"),
    *("folder/a.jp2", "folder/dataset.json"),
]

# Data


def read_data(folder: Path, name: str, content: bytes) -> None:
    """Pack a file as training would, in a folder where there is nothing else; and leave nothing there."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(content)
    given = folder / "folder" if "/" in name else folder / name
    if name.endswith(".json"):
        (folder / "folder" / "a.png").write_bytes(whole("folder/a.png"))
    before = sorted(path for path in folder.rglob("*"))
    most = MOST_PIXELS if name.startswith("folder") else MOST_MEMORY
    with watched(folder / "cache", most), suppress(UsageError):
        if name.startswith("shard"):
            open_stream(str(given), 8, cache=folder / "cache")
        else:
            images = open_images(str(given), 8, cache=folder / "cache")
            assert images.batch(np.arange(len(images))).shape[2:] == (8, 8)
    assert [path for path in sorted(folder.rglob("*")) if not path.is_relative_to(folder / "cache")] == before
    assert not list(folder.rglob("*.partial"))


@pytest.mark.parametrize("name", NAMES)
def test_whole_files_are_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(whole(name))
    if name.endswith(".json"):
        (tmp_path / "folder" / "a.png").write_bytes(whole("folder/a.png"))
    given = str(tmp_path / "folder" if "/" in name else tmp_path / name)
    images = open_stream(given, 8) if "shard" in name else open_images(given, 8)
    assert isinstance(images, Stream) or len(images) > 0
    assert not images.skipped


@pytest.mark.parametrize("name", NAMES)
def test_mutated_data(tmp_path: Path, name: str) -> None:
    @tries(12, fixed=True)
    @given(MUTATIONS)
    def attempt(changes: list[Callable[[bytes], bytes]]) -> None:
        read_data(tmp_path / "data", name, mutated(whole(name), changes))

    attempt()


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_mutated_data_at_length(tmp_path: Path, name: str) -> None:
    @tries(400, fixed=False)
    @given(MUTATIONS)
    def attempt(changes: list[Callable[[bytes], bytes]]) -> None:
        read_data(tmp_path / "data", name, mutated(whole(name), changes))

    attempt()


@pytest.mark.parametrize("name", NAMES)
@tries(3, fixed=True)
@given(content=st.binary(max_size=400))
def test_any_bytes_under_the_name_of_data(tmp_path: Path, name: str, content: bytes) -> None:
    read_data(tmp_path / "data", name, content)


# Bombs: a few bytes that stand for many


def bombs() -> dict[str, bytes]:
    def zip_of(name: str, data: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.writestr(name, data)
        return file.getvalue()

    def header(shape: tuple[int, ...]) -> bytes:
        file = io.BytesIO()
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return file.getvalue()

    size = 257 * 2**20  # more than the largest image file that is read
    zeros = gzip.compress(bytes(2**20), mtime=0) * 257

    def tar_header(name: str) -> bytes:
        info = tarfile.TarInfo(name)
        info.size = size
        return gzip.compress(info.tobuf())

    pixels = struct.pack(">2I5B", 60_000, 60_000, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + pixels + struct.pack(">I", 0)
    return {
        "a.zip": zip_of("a.png", bytes(size)),
        "a.npz": zip_of("images.npy", header((2**31, 64, 64)) + bytes(2**20)),
        "a.npy": header((2**40, 64, 64)),
        "train-images-idx3-ubyte": b"\0\0\x08\3" + struct.pack(">3I", 2**31, 2**20, 2**20),
        "train-images-idx3-ubyte.gz": gzip.compress(b"\0\0\x08\3" + struct.pack(">3I", 2**31, 2**20, 2**20)) + zeros,
        "shard.tar.gz": tar_header("a.png") + zeros,
        "cifar-10-python.tar.gz": tar_header("c/other") + zeros,
        "folder/a.png": png,
    }


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    made = bombs()
    for name, content in made.items():
        assert len(content) < 2**22, name
        read_data(tmp_path / "data", name, content)


def test_names_that_lead_elsewhere_lead_nowhere(tmp_path: Path) -> None:
    """Archives are read, never unpacked; a table's paths stay below its own folder."""
    for name in ("../../out.png", "/tmp/equipoise-fuzz-out.png", "a/../../../out.png"):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(name, encoded(0))
        read_data(tmp_path / "data", "a.zip", file.getvalue())
        read_data(tmp_path / "data", "shard.tar", tarred({name: encoded(0)}))
        assert not Path(name).exists()


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch harm",))


@pytest.mark.parametrize("name", ["data_batch_1", "a.npy", "a.npz"])
def test_pickles_are_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    objects, file = np.array([Payload()], dtype=object), io.BytesIO()
    if name == "a.npz":
        np.savez(file, images=objects)
    elif name == "a.npy":
        np.save(file, objects)
    content = file.getvalue() or pickle.dumps({b"data": Payload(), b"labels": [0]})
    read_data(tmp_path / "data", name, content)
    assert not (tmp_path / "harm").exists()


# Configurations

SETTINGS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(EXTREMES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


def read_config(text: str, folder: Path) -> None:
    with watched(folder), suppress(UsageError):
        config = read_yaml(text, "it")
        assert read_yaml(write_yaml(config, {}), "it") == config


@tries(80, fixed=True)
@given(changes=MUTATIONS)
def test_mutated_configurations(tmp_path: Path, changes: list[Callable[[bytes], bytes]]) -> None:
    whole_text = write_yaml(TrainConfig(), {"equipoise": "1"}).encode()
    read_config(mutated(whole_text, changes).decode("utf-8", "replace"), tmp_path)


@tries(80, fixed=True)
@given(key=st.sampled_from(sorted(TrainConfig().to_dict())), value=SETTINGS, inner=st.none() | st.integers(0, 20))
@example(key="network", value={"name": {"": -1}}, inner=None).via("a name that is a mapping")
def test_configurations_with_anything_in_place_of_a_setting(
    tmp_path: Path, key: str, value: Any, inner: int | None
) -> None:
    values = TrainConfig().to_dict()
    part = values[key]
    if inner is not None and isinstance(part, dict):
        part[sorted(part)[inner % len(part)]] = value
    else:
        values[key] = value
    read_config(json.dumps(values), tmp_path)


@pytest.mark.long
@tries(3000, fixed=False)
@given(changes=MUTATIONS)
def test_mutated_configurations_at_length(tmp_path: Path, changes: list[Callable[[bytes], bytes]]) -> None:
    test_mutated_configurations.hypothesis.inner_test(tmp_path, changes)  # type: ignore[attr-defined]


LETTERS = "abcdefghijklm"
LAUGHS = "a: &a [x, x, x, x, x, x, x, x]\n" + "".join(
    f"{one}: &{one} [{', '.join([f'*{before}'] * 9)}]\n" for before, one in itertools.pairwise(LETTERS)
)  # a list of a list of ..: 9 ** 12 in all


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        "[" * 1200,
        "{a: " * 1200,
        "images: " + "9" * 100_000,
        "images: 1e999999",
        "seed: " + "1:" * 2000 + "1",
        "!!python/object/new:os.system [touch harm]",
        "!!python/name:os.system",
        "!!binary aGFybQ==",
        "data: !!timestamp 2001-12-14",
        "? [a, b]\n: c",
        "<<: {images: 3}",
        "\0",
        "\ud800",
    ],
)
def test_hostile_yaml(tmp_path: Path, text: str) -> None:
    read_config(text, tmp_path)


# Checkpoints

TENSORS = {"generator.weight": torch.arange(12.0).reshape(3, 4), "window.k": torch.tensor(0.5, dtype=torch.float64)}
FACTS = {"images": 12, "shape": [1, 8, 8], "data": "d", "plateau": {"best": float("inf")}}


def read_checkpoint(folder: Path, content: bytes) -> None:
    file = folder / "000000000012.safetensors"
    file.write_bytes(content)
    with watched(folder / "none"), suppress(checkpoint.CheckpointError):
        tensors, facts = checkpoint.load(file)
        assert facts.items() >= FACTS.items(), "nothing was read that was not written"
        assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())


def saved(folder: Path) -> bytes:
    checkpoint.save(folder / "c", TENSORS, FACTS)
    return (folder / "c").read_bytes()


@tries(100, fixed=True)
@given(changes=MUTATIONS)
def test_mutated_checkpoints(tmp_path: Path, changes: list[Callable[[bytes], bytes]]) -> None:
    read_checkpoint(tmp_path, mutated(saved(tmp_path), changes))


@pytest.mark.long
@tries(5000, fixed=False)
@given(changes=MUTATIONS)
def test_mutated_checkpoints_at_length(tmp_path: Path, changes: list[Callable[[bytes], bytes]]) -> None:
    read_checkpoint(tmp_path, mutated(saved(tmp_path), changes))


DTYPES = ["F32", "F64", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "F4", "C64", "U16", "x", "", None, 3]


@tries(80, fixed=True)
@given(
    dtype=st.sampled_from(DTYPES),
    shape=st.lists(st.sampled_from([0, 1, 2, 3, -1, 2**31, 2**63, 2**64, 1.5, "1"]), max_size=4),
    offsets=st.lists(st.sampled_from([0, 1, 8, 12, 24, 2**40, 2**63, -1]), max_size=3),
    metadata=st.none()
    | st.dictionaries(st.sampled_from(["format", "facts", "digest"]), st.text(max_size=3))
    | SETTINGS,
)
def test_headers_that_claim_anything(tmp_path: Path, dtype: Any, shape: Any, offsets: Any, metadata: Any) -> None:
    header = {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}, "__metadata__": metadata}
    text = json.dumps(header).encode()
    file = tmp_path / "c"
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(24))
    with watched(tmp_path / "none"), suppress(checkpoint.CheckpointError):
        checkpoint.load(file)


def test_limits_are_those_of_the_kernel() -> None:
    """The peak that `watched` reads is the one that the kernel also tells through getrusage, or less."""
    assert resident("VmHWM") <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 2**22


# Checkpoints whose checksum is right, and whose contents are not: a checksum is no signature


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainConfig, DataSpec, dict[str, Any], dict[str, Any]]:
    """A small run's configuration and data, and the contents of its checkpoint after some steps."""
    folder = tmp_path_factory.mktemp("trained")
    os.environ["EQUIPOISE_CACHE"] = str(folder / "cache")
    config = TrainConfig(
        network=Autoencoder(width=2, latent=2), resolution=16, images=24, batch=8, log_every=16, device="cpu"
    )
    run = equipoise.train(config, folder / "run", quiet=True)
    tensors, facts, _ = run.load_checkpoint()
    train_state = TrainState(config, DataSpec(tuple(facts["shape"])), torch.device("cpu"))
    train_state.restore(tensors, facts)  # as it is, it fits
    return config, train_state.data, tensors, facts


@st.composite
def spoilings(draw: st.DrawFn) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    """One thing that is wrong with the contents of a checkpoint, tensors and facts."""
    what = draw(st.sampled_from(["drop", "rename", "shape", "kind", "add", "fact", "drop fact", "inner fact"]))
    place, value = draw(st.integers(0, 10_000)), draw(SETTINGS)
    name = draw(
        st.sampled_from(["objective.x", "optimizer_generator.999.step", "optimizer_generator.x.step", "window.x"])
    )

    def spoil(tensors: dict[str, Any], facts: dict[str, Any]) -> None:
        key, fact = sorted(tensors)[place % len(tensors)], sorted(facts)[place % len(facts)]
        inner = [each for each in sorted(facts) if isinstance(facts[each], dict) and facts[each]]
        if what in {"drop", "rename", "shape", "kind"}:
            tensor = tensors.pop(key)
            changed = {"rename": tensor, "shape": torch.zeros(3, 2), "kind": tensor.to(torch.int8)}
            if what != "drop":
                tensors[name if what == "rename" else key] = changed[what]
        elif what == "add":
            tensors[name] = torch.zeros(())
        elif what == "drop fact":
            del facts[fact]
        elif what == "inner fact" and inner:
            part = facts[inner[place % len(inner)]]
            part[sorted(part)[place % len(part)]] = value
        else:
            facts[fact] = value

    return spoil


def restore_and_step(trained: Any, spoil: Callable[..., None]) -> None:
    config, material, tensors, facts = trained
    tensors, facts = dict(tensors), copy.deepcopy(facts)
    spoil(tensors, facts)
    train_state = TrainState(config, material, torch.device("cpu"))
    told = ""
    try:
        train_state.restore(tensors, facts)
    except checkpoint.CheckpointError as error:
        told = str(error)
    if told:
        assert told.startswith("the checkpoint does not fit the run's configuration: ")
        assert "\n" not in told
        return
    train_state.prepare_step()  # what was taken works
    for player, optimizer in zip(train_state.players, train_state.optimizers, strict=True):
        for weight in player.parameters():
            weight.grad = torch.zeros_like(weight)
        optimizer.step()
    train_state.finish_step(train_state.objective_state, {})
    json.dumps(train_state.facts())


@tries(80, fixed=True)
@given(spoil=spoilings())
def test_spoiled_checkpoints(trained: Any, spoil: Callable[..., None]) -> None:
    restore_and_step(trained, spoil)


@pytest.mark.long
@tries(2000, fixed=False)
@given(spoil=spoilings())
def test_spoiled_checkpoints_at_length(trained: Any, spoil: Callable[..., None]) -> None:
    restore_and_step(trained, spoil)
