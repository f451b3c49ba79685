"""Where weights of others are found, over real files and a real server."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch

from equipoise.errors import UsageError
from equipoise.metrics.features import load_extractor
from equipoise.metrics.features.weights import Published

CONTENT = b"weights" * 1000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("EQUIPOISE_INCEPTION", "EQUIPOISE_DINOV2_VITL14", "EQUIPOISE_TRIAL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "torch" / "hub" / "checkpoints"


@pytest.fixture
def published(tmp_path: Path, cache: Path) -> Iterator[Published]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "w.pth").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/w.pth"
    yield Published("trial", url, ("w.pth", "other.pth"), hashlib.sha256(CONTENT).hexdigest(), "EQUIPOISE_TRIAL")
    server.shutdown()
    server.server_close()


def test_a_file_comes_before_the_variable_before_the_cache(
    published: Published, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir(parents=True)
    (cache / "other.pth").write_bytes(CONTENT)
    nowhere = replace(published, url="http://127.0.0.1:9/none")
    assert nowhere.locate(None) == cache / "other.pth"
    monkeypatch.setenv("EQUIPOISE_TRIAL", "/named.pth")
    assert nowhere.locate(None) == Path("/named.pth")
    assert nowhere.locate(tmp_path / "given.pth") == tmp_path / "given.pth"


def test_weights_are_downloaded_once(published: Published, cache: Path) -> None:
    path = published.locate(None)
    assert path == cache / "w.pth"
    assert path.read_bytes() == CONTENT
    assert replace(published, url="http://127.0.0.1:9/none").locate(None) == path


def test_a_download_with_another_hash_is_refused_and_not_kept(published: Published, cache: Path) -> None:
    with pytest.raises(UsageError, match=r"invalid hash.*EQUIPOISE_TRIAL"):
        replace(published, sha256="0" * 64).locate(None)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/w.pth", "http://nowhere.invalid/w.pth", "missing"])
def test_without_a_network_one_learns_where_to_put_the_file(url: str, published: Published, cache: Path) -> None:
    url = published.url.replace("w.pth", "missing.pth") if url == "missing" else url
    with pytest.raises(UsageError, match="cannot download the weights of trial") as refused:
        replace(published, url=url).locate(None)
    assert str(cache / "w.pth") in str(refused.value)


def test_a_damaged_file_in_the_cache_is_refused(published: Published, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / "w.pth").write_bytes(CONTENT[:-1])
    with pytest.raises(UsageError, match="delete it"):
        published.locate(None)


@pytest.mark.parametrize("name", ["inception", "dinov2-vitb14", "dinov2-vitl14"])
def test_the_variable_names_the_weights(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"fc.bias": torch.zeros(1000)}, path)
    monkeypatch.setenv(f"EQUIPOISE_{name.upper().replace('-', '_')}", str(path))
    with pytest.raises(UsageError, match=f"does not hold the weights of {name}"):
        load_extractor(name, shape=(3, 32, 32))
