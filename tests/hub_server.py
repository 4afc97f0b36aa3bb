"""A small server that speaks the hub's HTTP, for the real clients: repositories, a second host for large files, faults.

    with HubServer() as hub:
        commit = hub.add("org/name", {"config.json": b"{}", "model.safetensors": b"…"})
        hub.fault(Fault(path="/resolve/", status=429, headers={"Retry-After": "0"}, times=2))
        … HF_ENDPOINT=hub.endpoint …
        assert not [seen for seen in hub.seen if seen.method == "GET"]

Large files (by their ending) are redirected to `hub.cdn`, another host as far as a client can see: no token may go there.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.client
import json
import re
import socket
import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".safetensors", ".bin", ".h5", ".msgpack", ".tsv", ".gguf", ".onnx")
COMMIT = "X-Repo-Commit"


@dataclasses.dataclass(frozen=True)
class Seen:
    """A request as it came. `at`: hub, cdn or proxy."""

    at: str
    method: str
    path: str
    headers: Mapping[str, str]  # names in lower case


@dataclasses.dataclass
class Fault:
    """What happens instead, to the next `times` requests whose path holds `path` (a regular expression)."""

    path: str
    method: str = "GET|HEAD"
    at: str = "hub|cdn"
    times: int = 1_000_000
    status: int | None = None  # answer this
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    cut_after: int | None = None  # close the connection after that many bytes of the body
    body: bytes | None = None  # send this content instead
    ignore_range: bool = False
    wait: threading.Event | None = None  # before the second half of the body: until the test says so
    reached: threading.Event = dataclasses.field(default_factory=threading.Event)  # the first half is sent


@dataclasses.dataclass
class Repository:
    commit: str
    files: dict[str, bytes]
    revisions: set[str]
    gated: bool = False
    private: bool = False


class HubServer:
    """Runs while it is entered. `token` is the one that opens gated and private repositories."""

    def __init__(
        self, *, bind: str = "127.0.0.1", name: str = "127.0.0.1", tls: tuple[Path, Path] | None = None
    ) -> None:
        self.token = "hf_" + "t0ken" * 6
        self.seen: list[Seen] = []
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.pages: dict[str, bytes] = {}  # path → content, beside the repositories
        self.proxy_status: int | None = None  # what the proxy answers to everything
        self.list_sizes = True  # no: as mirrors do that list names alone
        self._blobs: dict[str, bytes] = {}
        self._faults: list[Fault] = []
        self._guard = threading.Lock()
        self._servers = {at: _server(self, at, bind, tls if at != "proxy" else None) for at in ("hub", "cdn", "proxy")}
        scheme = "https" if tls else "http"
        ports = {at: server.server_address[1] for at, server in self._servers.items()}
        self.endpoint, self.cdn = f"{scheme}://{name}:{ports['hub']}", f"{scheme}://{name}:{ports['cdn']}"
        self.proxy = f"http://{name}:{ports['proxy']}"

    def __enter__(self) -> HubServer:
        for server in self._servers.values():
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def add(self, name: str, files: Mapping[str, bytes], *, repo_type: str = "model", **how: Any) -> str:
        """A repository with one commit, which `main` (or `revisions`) names; returns the commit."""
        content = "".join(f"{path}{hashlib.sha1(body).hexdigest()}" for path, body in sorted(files.items()))
        commit = hashlib.sha1(f"{name}{content}".encode()).hexdigest()
        revisions = {*how.pop("revisions", {"main"}), commit}
        self.repositories[repo_type, name] = Repository(commit, dict(files), revisions, **how)
        self._blobs.update({hashlib.sha256(body).hexdigest(): body for body in files.values()})
        return commit

    def fault(self, *faults: Fault) -> None:
        with self._guard:
            self._faults.extend(faults)

    def mend(self) -> None:
        with self._guard:
            self._faults.clear()

    def forget(self) -> None:
        self.seen.clear()

    def of(self, at: str, method: str = "GET") -> list[Seen]:
        return [seen for seen in self.seen if seen.at == at and seen.method == method]

    def take_fault(self, at: str, method: str, path: str) -> Fault | None:
        with self._guard:
            for fault in self._faults:
                fits = re.fullmatch(fault.at, at) and re.fullmatch(fault.method, method) and re.search(fault.path, path)
                if fault.times > 0 and fits:
                    fault.times -= 1
                    return fault
        return None

    def blob(self, sha256: str) -> bytes | None:
        return self._blobs.get(sha256)


def git_hash(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


def _server(hub: HubServer, at: str, bind: str, tls: tuple[Path, Path] | None) -> ThreadingHTTPServer:
    class Bound(_Proxy if at == "proxy" else _Answers):  # type: ignore[misc]
        owner, place = hub, at

    server = _Quiet((bind, 0), Bound)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return server


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up, or does not trust our certificate, is what some tests are about."""


class _Base(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: HubServer
    place: str

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the requests are in `seen`."""

    def note(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.owner.seen.append(Seen(self.place, self.command, self.path, headers))

    def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Answers(_Base):
    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.note()
        fault = self.owner.take_fault(self.place, self.command, self.path)
        if fault and fault.status:
            return self.answer(fault.status, fault.body or b"", fault.headers)
        path = unquote(urlsplit(self.path).path)
        if self.place == "cdn":
            body = self.owner.blob(path.rpartition("/")[2])
            return self.answer(404) if body is None else self._send(body, fault, ETag=f'"{path.rpartition("/")[2]}"')
        if path in self.owner.pages:
            body = self.owner.pages[path]
            return self._send(body, fault, ETag=f'"{git_hash(body)}"')
        if path.startswith("/api/"):
            return self._api(path)
        return self._resolve(path, fault)

    def _repository(self, repo_type: str, name: str, revision: str, *, content: bool) -> Repository | None:
        """None, and answered, where there is none or none for this token; the hub's own words and headers."""
        repository = self.owner.repositories.get((repo_type, name))
        said = self.headers.get("Authorization", "")
        known = said == f"Bearer {self.owner.token}"
        if said and not known and said != "Bearer hf_other":  # an account, but not one with access
            self.answer(401, headers={"X-Error-Message": "Invalid credentials in Authorization header"})
        elif repository is None or (repository.private and not known):
            self.answer(
                404 if said else 401,
                headers={"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"},
            )
        elif repository.gated and content and not known:
            self.answer(
                403 if said else 401, headers={"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}
            )
        elif revision not in repository.revisions:
            self.answer(
                404, headers={"X-Error-Code": "RevisionNotFound", "X-Error-Message": f"Invalid rev id: {revision}"}
            )
        else:
            return repository
        return None

    def _api(self, path: str) -> None:
        found = re.fullmatch(r"/api/(model|dataset)s/(.+?)(?:/(revision|tree)/(.+))?", path)
        if not found:
            return self.answer(404)
        repo_type, name, what, revision = found.groups()
        repository = self._repository(repo_type, name, revision or "main", content=False)
        if repository is None:
            return None
        files = [self._listed(path, body) for path, body in sorted(repository.files.items())]
        if what == "tree":
            return self._json([{"type": "file", "path": file["rfilename"], **file} for file in files])
        return self._json({"id": name, "sha": repository.commit, "siblings": files, "tags": [], "private": False})

    def _listed(self, path: str, body: bytes) -> dict[str, Any]:
        if not self.owner.list_sizes:
            return {"rfilename": path}
        file: dict[str, Any] = {"rfilename": path, "size": len(body), "blobId": git_hash(body)}
        if path.endswith(LARGE):
            file["lfs"] = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "pointerSize": 130}
        return file

    def _json(self, value: Any) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _resolve(self, path: str, fault: Fault | None) -> None:
        found = re.fullmatch(r"/(datasets/)?([^/]+(?:/[^/]+)?)/resolve/([^/]+)/(.+)", path)
        if not found:
            return self.answer(404)
        dataset, name, revision, file = found.groups()
        repository = self._repository("dataset" if dataset else "model", name, revision, content=True)
        if repository is None:
            return None
        body = repository.files.get(file)
        if body is None:
            return self.answer(404, headers={COMMIT: repository.commit, "X-Error-Code": "EntryNotFound"})
        if not file.endswith(LARGE):
            return self._send(body, fault, **{COMMIT: repository.commit, "ETag": f'"{git_hash(body)}"'})
        sha = hashlib.sha256(body).hexdigest()
        linked = {COMMIT: repository.commit, "X-Linked-Size": str(len(body)), "X-Linked-Etag": f'"{sha}"'}
        return self.answer(302, headers={"Location": f"{self.owner.cdn}/lfs/{sha}", **linked})

    def _send(self, body: bytes, fault: Fault | None, **headers: str) -> None:
        if fault and fault.body is not None:
            body = fault.body
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked.group(1)) if asked and not (fault and fault.ignore_range) else 0
        if start and start >= len(body):
            return self.answer(416, headers={"Content-Range": f"bytes */{len(body)}"})
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        rest = body[start:]
        if fault is None or (fault.cut_after is None and fault.wait is None) or self.command == "HEAD":
            return self.answer(206 if start else 200, rest, headers)
        self.command = "HEAD"  # the headers of all of it …
        self.answer(206 if start else 200, headers={**headers, "Content-Length": str(len(rest))})
        half = len(rest) // 2 if fault.cut_after is None else fault.cut_after
        self.wfile.write(rest[:half])  # … and a part of it
        self.wfile.flush()
        fault.reached.set()
        if fault.wait is not None:
            fault.wait.wait(60)
            self.wfile.write(rest[half:])
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        return None


class _Proxy(_Base):
    """A plain HTTP proxy. CONNECT is refused: what goes through here can be seen."""

    def do_CONNECT(self) -> None:
        self.note()
        self.answer(self.owner.proxy_status or 405)
        self.close_connection = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.note()
        if self.owner.proxy_status:
            return self.answer(self.owner.proxy_status)
        url = urlsplit(self.path)
        with contextlib.closing(http.client.HTTPConnection(url.hostname or "", url.port)) as there:
            headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy")}
            there.request(self.command, f"{url.path}?{url.query}", headers=headers)
            reply = there.getresponse()
            passed = {name: value for name, value in reply.getheaders() if name not in ("Server", "Date")}
            return self.answer(reply.status, reply.read(), passed)
