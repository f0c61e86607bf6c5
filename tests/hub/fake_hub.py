"""A hub on loopback, with what huggingface_hub asks of one: repositories, commits, large files, validation of cards."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import yaml

TOKEN = "hf_of_a_test"


@dataclass
class Repository:
    """Its commits, each name -> bytes, and its branches."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    def add(self, branch: str, files: dict[str, bytes], message: str) -> str:
        seed = f"{branch}{len(self.commits)}{sorted(files)}"
        oid = hashlib.sha1(seed.encode()).hexdigest()
        self.commits[oid] = files
        self.branches[branch] = oid
        self.messages.append(message)
        return oid

    def commit(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.branches.get(revision)


@dataclass
class FakeHub:
    """What it holds, and what was asked of it."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    fails_with: int | None = None
    """The status of every answer."""

    def fetched(self) -> set[str]:
        return {line.rpartition("/")[2] for line in self.asked if line.startswith("GET") and "/resolve/" in line}


class RefusedError(Exception):
    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            body = self.chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(size)
            path = unquote(self.path.partition("?")[0])
            hub.asked.append(f"{self.command} {path}")
            try:
                if hub.fails_with is not None:
                    raise RefusedError(hub.fails_with, message="out of order")
                for pattern, method, act in ROUTES:
                    found = re.fullmatch(pattern, path)
                    if found is not None and method == self.command:
                        act(self, body, *found.groups())
                        return
                raise RefusedError(404, message=f"no such way: {self.command} {path}")
            except RefusedError as refused:
                self.give({"error": refused.message}, refused.status, {"X-Error-Code": refused.code})

        do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815

        def chunks(self) -> bytes:
            found = b""
            while size := int(self.rfile.readline().strip(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

        def give(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
            body = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            for name, one in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, one)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def may_write(self) -> None:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise RefusedError(401, message="log in first")

        def repository(self, name: str) -> Repository:
            known = hub.repositories.get(name)
            if known is None or (known.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
                raise RefusedError(401, "RepoNotFound", "Repository not found")
            return known

        def commit(self, name: str, revision: str) -> tuple[str, dict[str, bytes]]:
            known = self.repository(name)
            oid = known.commit(revision)
            if oid is None:
                raise RefusedError(404, "RevisionNotFound", "Invalid rev id")
            return oid, known.commits[oid]

        def create(self, body: bytes) -> None:
            self.may_write()
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'me'}/{asked['name']}"
            url = f"{hub.address}/{name}"
            if name in hub.repositories:
                self.give({"url": url}, 409)
                return
            private = bool(asked.get("private")) or asked.get("visibility") == "private"
            made = hub.repositories[name] = Repository(private)
            made.add("main", {".gitattributes": b"*.safetensors filter=lfs\n"}, "initial commit")
            self.give({"url": url})

        def branch(self, body: bytes, name: str, branch: str) -> None:
            self.may_write()
            known = self.repository(name)
            if branch in known.branches:
                self.give({}, 409)
                return
            known.branches[branch] = known.branches["main"]
            self.give({})

        def validate(self, body: bytes) -> None:
            head = json.loads(body)["content"].split("---\n")[1]
            errors = [] if isinstance(yaml.safe_load(head), dict) else [{"message": "no mapping"}]
            self.give({"errors": errors, "warnings": []}, 400 if errors else 200)

        def preupload(self, body: bytes, name: str, revision: str) -> None:
            self.may_write()
            self.commit(name, revision)
            files = [
                {"path": f["path"], "uploadMode": _mode(f["path"]), "shouldIgnore": False}
                for f in json.loads(body)["files"]
            ]
            self.give({"files": files})

        def batch(self, body: bytes, name: str) -> None:
            self.may_write()
            objects = [
                {**one, "actions": {"upload": {"href": f"{hub.address}/large/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            self.give({"transfer": "basic", "objects": objects})

        def store(self, body: bytes, oid: str) -> None:
            if hashlib.sha256(body).hexdigest() != oid:
                raise RefusedError(400, message="another content")
            hub.large[oid] = body
            self.give({})

        def add(self, body: bytes, name: str, branch: str) -> None:
            self.may_write()
            known = self.repository(name)
            files = dict(self.commit(name, branch)[1])
            message = ""
            for line in map(json.loads, body.decode().splitlines()):
                value = line["value"]
                if line["key"] == "header":
                    message = value["summary"]
                elif line["key"] == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    files[value["path"]] = hub.large[value["oid"]]
            oid = known.add(branch, files, message)
            self.give({"commitUrl": f"{hub.address}/{name}/commit/{oid}", "commitOid": oid})

        def about(self, body: bytes, name: str, revision: str) -> None:
            oid, files = self.commit(name, revision)
            self.give({"id": name, "sha": oid, "siblings": [{"rfilename": one} for one in files]})

        def tree(self, body: bytes, name: str, revision: str) -> None:
            _, files = self.commit(name, revision)
            self.give([{"type": "file", "path": n, "size": len(d), "oid": _oid(d)} for n, d in files.items()])

        def resolve(self, body: bytes, name: str, revision: str, file: str) -> None:
            oid, files = self.commit(name, revision)
            if file not in files:
                raise RefusedError(404, "EntryNotFound", "Entry not found")
            self.give(files[file], headers={"X-Repo-Commit": oid, "ETag": f'"{_oid(files[file])}"'})

    name = r"([\w.-]+/[\w.-]+)"
    ROUTES: list[tuple[str, str, Callable[..., None]]] = [
        (r"/api/repos/create", "POST", Handler.create),
        (r"/api/validate-yaml", "POST", Handler.validate),
        (rf"/api/models/{name}/branch/(.+)", "POST", Handler.branch),
        (rf"/api/models/{name}/preupload/(.+)", "POST", Handler.preupload),
        (rf"/api/models/{name}/commit/(.+)", "POST", Handler.add),
        (rf"/api/models/{name}/revision/(.+)", "GET", Handler.about),
        (rf"/api/models/{name}/tree/([^/]+)", "GET", Handler.tree),
        (rf"/{name}\.git/info/lfs/objects/batch", "POST", Handler.batch),
        (r"/large/(\w+)", "PUT", Handler.store),
        (rf"/{name}/resolve/([^/]+)/(.+)", "HEAD", Handler.resolve),
        (rf"/{name}/resolve/([^/]+)/(.+)", "GET", Handler.resolve),
    ]
    return Handler


def _mode(path: str) -> str:
    return "lfs" if path.endswith(".safetensors") else "regular"


def _oid(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A hub that listens while the block lasts."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def hub_of_a_test(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[FakeHub]:
    """A hub on loopback that is asked by default, an empty cache, and a working folder without folders."""
    import huggingface_hub
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (folder / "here").mkdir()
    monkeypatch.chdir(folder / "here")
    huggingface_hub.utils.disable_progress_bars()
    with fake_hub() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.address)
        yield found
    huggingface_hub.utils.enable_progress_bars()
