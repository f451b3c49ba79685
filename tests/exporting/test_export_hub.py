"""The hub: its mixin on real folders, and a push by the real client to a stand-in of its API (without xet)."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import equipoise
from command import Command
from equipoise import Run, UsageError
from exporting.hub_server import READER, TOKEN, hub_server

pytest.importorskip("huggingface_hub")
MakeRun = Callable[..., Run]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with hub_server() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


@pytest.mark.parametrize("kind", ["classes", "discrete", "skips"])
def test_the_mixin_loads_and_saves(make_run: MakeRun, tmp_path: Path, kind: str) -> None:
    from equipoise.exporting.hub import HubGenerator

    run = make_run(kind)
    folder = equipoise.export(run, tmp_path / "hub", format="hub").path
    generator = HubGenerator.from_pretrained(str(folder))
    assert not generator.training
    assert torch.equal(generator.sample(5, seed=1), equipoise.sample(run, 5, seed=1))
    elsewhere = HubGenerator.from_pretrained(str(folder), map_location="meta")
    assert {weight.device.type for weight in elsewhere.parameters()} == {"meta"}
    generator.save_pretrained(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "config.json").read_text())
    assert again == json.loads((folder / "config.json").read_text())
    assert torch.equal(equipoise.load(tmp_path / "again").sample(5), generator.sample(5))
    assert torch.equal(HubGenerator.from_pretrained(str(tmp_path / "again")).sample(5), generator.sample(5))
    assert "More Information Needed" not in (tmp_path / "again" / "README.md").read_text()


def test_a_config_of_another_kind_is_refused(run: Run, tmp_path: Path) -> None:
    from equipoise.exporting.hub import HubGenerator

    folder = equipoise.export(run, tmp_path / "hub", format="hub").path
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": 9}))
    with pytest.raises(UsageError, match="format 9"):
        HubGenerator.from_pretrained(str(folder))


def test_pushed_and_loaded_again(make_run: MakeRun, hub: Any, equipoise: Command, tmp_path: Path) -> None:
    run = make_run("classes")
    words = ("export", run.path, "--format", "hub", "--out", "out", "--licence", "mit", "--push", "me/faces")
    done = equipoise(*words)
    assert done.returncode == 0, done.stderr
    assert "/me/faces/commit/" in done.stdout
    pushed = hub.repositories["me/faces"]
    assert pushed == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert b'equipoise.load("me/faces")' in pushed["README.md"]
    assert pushed["README.md"].startswith(b"---\nlibrary_name: equipoise\n")
    assert b"license: mit" in pushed["README.md"]
    code = """
import equipoise
from equipoise.exporting.hub import HubGenerator
generators = equipoise.load("me/faces"), HubGenerator.from_pretrained("me/faces")
print(*(generator.sample(4).sum().item() for generator in generators))
for name, revision in (("me/missing", None), ("me/faces", "v9")):
    try:
        equipoise.load(name, revision=revision)
    except equipoise.UsageError as error:
        print(error)
"""
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr
    sums, refusal, other = loaded.stdout.strip().split("\n")
    assert sums.split() == [str(int(__import__("equipoise").sample(run, 4).sum()))] * 2
    assert "there is no model me/missing" in refusal
    assert "does not exist in that revision: check `revision`" in other


@pytest.mark.parametrize("name", ["me/a b", "photos", "me/a--b", "a/b/c", "me/it.git", ".me/a", "me/" + "a" * 99])
def test_names_that_the_hub_cannot_have_are_refused_before_the_work(
    run: Run, hub: Any, within: Command, tmp_path: Path, name: str
) -> None:
    refused = within("export", run.path, "--format", "hub", "--out", "out", "--push", name)
    assert refused.returncode == 2
    assert "such as me/" in refused.stderr
    assert not (tmp_path / "out").exists()
    assert hub.asked == []


def test_without_a_token_nothing_is_begun(
    run: Run, hub: Any, within: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    refused = within("export", run.path, "--format", "hub", "--out", "out", "--push", "me/faces")
    assert (refused.returncode, "hf auth login" in refused.stderr) == (2, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("token", ["hf_wrong", READER])
def test_a_push_that_is_refused_leaves_the_folder(
    run: Run, hub: Any, equipoise: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    done = equipoise("export", run.path, "--format", "hub", "--out", "out", "--push", "me/faces")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "does not let you read or write me/faces" in done.stderr
    assert "hf auth login" in done.stderr
    assert hub.repositories == {}
    assert (tmp_path / "out" / "model.safetensors").is_file()
