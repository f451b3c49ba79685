"""The runtime of pages: fetched over real HTTP, and refused unless it is the archive that is expected."""

import http.server
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from equipoise.errors import UsageError
from equipoise.exporting import runtime


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A registry, whose folder it yields."""
    folder = tmp_path / "registry" / "onnxruntime-web" / "-"
    folder.mkdir(parents=True)
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "registry")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(runtime.VARIABLE, raising=False)
    yield folder
    server.shutdown()
    server.server_close()


def test_it_is_downloaded_once(registry: Path, onnxruntime_web: Path) -> None:
    (registry / runtime.ARCHIVE).symlink_to(onnxruntime_web)
    path = runtime._archive()
    (registry / runtime.ARCHIVE).unlink()
    assert runtime._archive() == path
    scripts = runtime.runtime_scripts()
    assert list(scripts) == ["webgpu", "wasm"]
    assert all(script.startswith(b"/*!\n * ONNX Runtime Web") for script in scripts.values()), "with their notice"


def test_another_file_of_that_name_is_refused_and_not_kept(registry: Path, tmp_path: Path) -> None:
    (registry / runtime.ARCHIVE).write_bytes(b"something else")
    with pytest.raises(UsageError, match="SHA-256 is another"):
        runtime.runtime_scripts()
    assert not list((tmp_path / "cache" / "npm").iterdir())


def test_without_it_the_message_says_where_to_put_it(
    registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=f"cannot be downloaded.*{runtime.VARIABLE}"):  # the registry has none
        runtime.runtime_scripts()
    damaged = tmp_path / "damaged.tgz"
    damaged.write_bytes(b"x")
    monkeypatch.setenv(runtime.VARIABLE, str(damaged))
    with pytest.raises(UsageError, match="is damaged"):
        runtime.runtime_scripts()
    monkeypatch.setenv(runtime.VARIABLE, str(tmp_path / "missing"))
    with pytest.raises(UsageError, match="cannot read"):
        runtime.runtime_scripts()
