"""One file by its address: streamed beside its place, taken up again where it was cut, checked, renamed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

from lockstep_runner.fetch_contract import AGAIN, COMMAND, FetchError, Pace, Url, say, size_of
from lockstep_runner.fetch_http import Patience, explain, of_status
from lockstep_runner.fetch_unpack import unpack

_PIECE = 1 << 20
_PUBLIC = "https://huggingface.co"


class _Cut(Exception):
    """The body ended before its announced length, or does not go on where what is here ends."""


def fetch_url(item: Url, session: Any, patience: Patience, tell: Callable[[int, int], None]) -> dict[str, Any]:
    """Fetch what is missing; the fields of a `FetchedItem`. Raises FetchError."""
    try:
        if item.unpack and item.path.is_dir():
            return _fields(item, 0, str(item.sha256), 0)
        if not item.unpack and item.path.is_file():
            size, found = _hashes(item.path)
            if _differs(item, found) is None:
                return _fields(item, size, found["sha256"], 0)
            say(f"{item.name}: {item.path} has another content; fetching it anew")
        return _fetch(item, session, patience, tell)
    except Exception as error:
        raise explain(error, address(item)) from error


def address(item: Url) -> str:
    """Where to ask: a mirror of the hub has the hub's files."""
    mirror = os.environ.get("HF_ENDPOINT", "").rstrip("/")
    return mirror + item.url[len(_PUBLIC) :] if mirror and item.url.startswith(f"{_PUBLIC}/") else item.url


def _fetch(item: Url, session: Any, patience: Patience, tell: Callable[[int, int], None]) -> dict[str, Any]:
    item.path.parent.mkdir(parents=True, exist_ok=True)
    part = item.path.with_name(f"{item.path.name}.part")
    if item.sha256 is None and item.md5 is None:
        part.unlink(missing_ok=True)  # nothing would say whether its rest is of the same file
    begun = _size(part)
    fetched = _Download(item, part, session, patience, tell).whole()
    size, found = _hashes(part)
    if begun and _differs(item, found):
        say(f"{item.name}: what was here of it is of another file; fetching it anew")
        part.unlink()
        fetched = _Download(item, part, session, patience, tell).whole()
        size, found = _hashes(part)
    wrong = _differs(item, found)
    if wrong:
        part.unlink()
        raise FetchError(
            "hash", f"{wrong}: removed; correct the registry if the file is meant to have changed, {AGAIN}"
        )
    os.sync()
    if item.unpack:
        unpack(part, item.path)
        part.unlink()
    else:
        part.replace(item.path)
    say(f"{item.name}: whole, {size_of(fetched)} fetched, SHA-256 {found['sha256']}")
    return _fields(item, size, found["sha256"], fetched)


def _fields(item: Url, size: int, sha256: str, fetched: int) -> dict[str, Any]:
    return {"files": [{"path": item.target, "size": size, "sha256": sha256}], "bytes": fetched}


class _Download:
    """Fills `part`, over as many requests as it takes."""

    def __init__(
        self, item: Url, part: Path, session: Any, patience: Patience, tell: Callable[[int, int], None]
    ) -> None:
        self._item, self._part, self._session, self._patience, self._tell = item, part, session, patience, tell
        self._etag: Optional[str] = None  # of the first answer: the rest must be of the same file

    def whole(self) -> int:
        """Bytes that came. Raises what `explain` explains."""
        import requests

        kinds = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)
        never = (requests.exceptions.ProxyError, requests.exceptions.SSLError)
        begun, attempt = _size(self._part), 0
        while True:
            before, attempt = _size(self._part), attempt + 1
            try:
                self._stream(before)
                return _size(self._part) - (begun if before else 0)
            except (_Cut, requests.exceptions.Timeout, *kinds) as error:
                if isinstance(error, never):
                    raise
                attempt = 1 if _size(self._part) > before else attempt
                if attempt >= self._patience.attempts:
                    cut = f"cut at {size_of(_size(self._part))}, {attempt} times in a row"
                    raise FetchError("network", f"{cut}: what is here is kept; go on with {COMMAND}") from error
                self._patience.wait(attempt, f"{self._item.name}: cut at {size_of(_size(self._part))}")

    def _stream(self, have: int) -> None:
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        if have and self._etag:
            headers["If-Range"] = self._etag
        with self._session.get(address(self._item), headers=headers, stream=True) as response:
            if response.status_code == 416:
                self._part.unlink(missing_ok=True)
                raise _Cut
            if response.status_code not in (200, 206):
                raise of_status(response, f"it is not public: put the file at cache/{self._item.target} by hand")
            going_on = response.status_code == 206 and _start(response) == have
            if response.status_code == 206 and not going_on:
                self._part.unlink(missing_ok=True)
                raise _Cut
            etag = response.headers.get("ETag", "")
            self._etag = etag if etag.startswith('"') else None
            self._write(response, have if going_on else 0)

    def _write(self, response: Any, have: int) -> None:
        length = response.headers.get("Content-Length")
        total = have + int(length) if length and not response.headers.get("Content-Encoding") else 0
        self._room(total - have)
        pace = Pace(self._item.name, total, tell=lambda done: self._tell(done, total))
        with self._part.open("ab" if have else "wb") as file:
            for piece in response.iter_content(_PIECE):
                file.write(piece)
                pace.at(file.tell())
        if _size(self._part) < total:
            raise _Cut

    def _room(self, needed: int) -> None:
        free = shutil.disk_usage(self._part.parent).free
        if needed > free:
            short = f"{size_of(needed)} to fetch, {size_of(free)} free on the disk of cache/"
            raise FetchError("disk", f"{short}: free some, {AGAIN}")


def _start(response: Any) -> Optional[int]:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found.group(1)) if found else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _hashes(path: Path) -> tuple[int, dict[str, str]]:
    sha256, md5 = hashlib.sha256(), hashlib.md5()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(_PIECE), b""):
            sha256.update(piece)
            md5.update(piece)
    return path.stat().st_size, {"sha256": sha256.hexdigest(), "md5": md5.hexdigest()}


def _differs(item: Url, found: dict[str, str]) -> Optional[str]:
    for name, wanted in (("sha256", item.sha256), ("md5", item.md5)):
        if wanted and found[name] != wanted:
            return f"has {name} {found[name]}, the registry says {wanted}"
    return None
