"""A local stand-in for what the hub's API is asked when a model is pushed and read: repositories, commits, git-LFS."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

TOKEN, READER = "hf_standin", "hf_reader"  # of nobody, the latter without the right to write
COMMIT = "c" * 40


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        server.asked.append(f"POST {self.path}")
        if self.path == "/api/validate-yaml":  # of a card's first lines
            assert json.loads(body)["content"].startswith("---\nlibrary_name: equipoise\n")
            return self.answer(200, {"errors": [], "warnings": []})
        if self.headers.get("Authorization") == f"Bearer {READER}":
            return self.answer(403, {"error": "Forbidden: you must use a write token"})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid credentials"})
        path = self.path.split("?")[0]
        if path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
            server.repositories.setdefault(name, {})
            return self.answer(200, {"url": f"{server.address}/{name}", "name": name})
        if path.endswith("/preupload/main"):
            files = [each["path"] for each in json.loads(body)["files"]]
            modes = {name: "lfs" if name.endswith((".safetensors", ".png")) else "regular" for name in files}
            return self.answer(
                200, {"files": [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in modes.items()]}
            )
        if path.endswith("/info/lfs/objects/batch"):
            wanted = json.loads(body)["objects"]
            actions = [
                {**each, "actions": {"upload": {"href": f"{server.address}/lfs/{each['oid']}"}}} for each in wanted
            ]
            return self.answer(200, {"transfer": "basic", "objects": actions})
        assert path.startswith("/api/models/"), path
        assert path.endswith("/commit/main"), path
        return self.commit(path.removeprefix("/api/models/").removesuffix("/commit/main"), body)

    def commit(self, name: str, body: bytes) -> None:
        server: Any = self.server
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                assert value["encoding"] == "base64"
                server.repositories[name][value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                server.repositories[name][value["path"]] = server.objects[value["oid"]]
        address = f"{server.address}/{name}/commit/{COMMIT}"
        self.answer(200, {"commitUrl": address, "commitOid": COMMIT, "success": True})

    def do_PUT(self) -> None:
        server: Any = self.server
        data = self.rfile.read(int(self.headers["Content-Length"]))
        oid = self.path.rpartition("/")[2]
        assert hashlib.sha256(data).hexdigest() == oid
        server.objects[oid] = data
        self.answer(200, {})

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append(f"{self.command} {self.path}")
        name, _, place = self.path.split("?")[0].lstrip("/").partition("/resolve/")
        revision, _, path = place.partition("/")
        data = server.repositories.get(name, {}).get(path) if revision in ("main", COMMIT) else None
        if data is None:
            missing = "EntryNotFound" if revision in ("main", COMMIT) else "RevisionNotFound"
            kind = missing if name in server.repositories else "RepoNotFound"
            return self.answer(404, {}, {"X-Error-Code": kind})
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(data).hexdigest()}"'}
        return self.answer(200, data, headers)

    do_HEAD = do_GET  # noqa: N815

    def answer(self, status: int, data: Any, headers: dict[str, str] | None = None) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        kind = "application/octet-stream" if isinstance(data, bytes) else "application/json"
        self.send_response(status)
        for key, value in {"Content-Type": kind, **(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hub_server() -> Iterator[Any]:
    """The stand-in; `repositories` has the files of each by name, `asked` what it was asked."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.repositories, server.objects, server.asked = {}, {}, []
    server.address = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
