"""A file by its address: whole or not there, whatever the server and the connection do; and the archive it may be."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lockstep_runner.fetch_contract import FetchError, Url
from lockstep_runner.fetch_http import Patience, retry_after, sessions
from lockstep_runner.fetch_unpack import unpack
from lockstep_runner.fetch_url import fetch_url

from tests.hub_server import Fault, HubServer

BODY = bytes(range(256)) * 16 * 1024  # 4 MiB
SHA = hashlib.sha256(BODY).hexdigest()
PATH = "/files/data.tsv"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.chdir(tmp_path)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with HubServer() as server:
        server.pages[PATH] = BODY
        yield server


@pytest.fixture
def fetch(hub: HubServer) -> Iterator[Callable[..., dict[str, Any]]]:
    patience = Patience(3, 0.0, sleep=lambda seconds: None)
    with sessions(patience)() as session:

        def call(path: str = PATH, **how: Any) -> dict[str, Any]:
            item = Url(id="u", url=hub.endpoint + path, **{"target": "data/data.tsv", **how})
            return fetch_url(item, session, patience, lambda done, total: None)

        yield call


def refusal(fetch: Callable[..., Any], **how: Any) -> tuple[str, str]:
    with pytest.raises(FetchError) as error:
        fetch(**how)
    return error.value.kind, str(error.value)


def left() -> list[str]:
    return sorted(p.name for p in Path("cache").rglob("*") if p.is_file())


@pytest.mark.parametrize("hashes", [{}, {"sha256": SHA}, {"md5": hashlib.md5(BODY).hexdigest()}])
def test_a_file_comes_once(fetch: Callable[..., Any], hub: HubServer, hashes: dict[str, str]) -> None:
    fields = fetch(**hashes)
    assert fields == {"files": [{"path": "data/data.tsv", "size": len(BODY), "sha256": SHA}], "bytes": len(BODY)}
    assert Path("cache/data/data.tsv").read_bytes() == BODY
    assert fetch(**hashes)["bytes"] == 0
    assert len(hub.seen) == 1
    assert "authorization" not in hub.seen[0].headers
    assert left() == ["data.tsv"]


def test_a_cut_body_goes_on(fetch: Callable[..., Any], hub: HubServer) -> None:
    hub.fault(Fault(path=PATH, cut_after=3_000_000, times=1))
    fetch()
    asked = [seen.headers.get("range") for seen in hub.seen]
    assert asked == [None, f"bytes={2 << 20}-"]
    assert hub.seen[1].headers["if-range"].startswith('"')
    assert Path("cache/data/data.tsv").read_bytes() == BODY


def test_a_later_fetch_goes_on_only_where_a_hash_can_tell(fetch: Callable[..., Any], hub: HubServer) -> None:
    hub.fault(Fault(path=PATH, cut_after=1_500_000, times=3), Fault(path=PATH, cut_after=0))
    kind, line = refusal(fetch, sha256=SHA)
    assert (kind, "what is here is kept" in line) == ("network", True)
    assert left() == ["data.tsv.part"]
    have = Path("cache/data/data.tsv.part").stat().st_size
    hub.mend()
    hub.forget()
    assert fetch(sha256=SHA)["bytes"] == len(BODY) - have
    assert [seen.headers["range"] for seen in hub.seen] == [f"bytes={have}-"]
    Path("cache/data/data.tsv").rename("cache/data/data.tsv.part")
    hub.forget()
    fetch()
    assert "range" not in hub.seen[0].headers


@pytest.mark.parametrize("stale", [b"of another file", BODY[:1000] + b"x" * 1000, BODY + b"more"])
def test_what_is_here_of_another_file_is_not_built_upon(
    fetch: Callable[..., Any], hub: HubServer, stale: bytes
) -> None:
    Path("cache/data").mkdir(parents=True)
    Path("cache/data/data.tsv.part").write_bytes(stale)
    fetch(sha256=SHA)
    assert Path("cache/data/data.tsv").read_bytes() == BODY


def test_a_server_without_ranges_sends_all_again(fetch: Callable[..., Any], hub: HubServer) -> None:
    hub.fault(Fault(path=PATH, cut_after=2_500_000, times=1), Fault(path=PATH, ignore_range=True))
    fetch(sha256=SHA)
    assert Path("cache/data/data.tsv").read_bytes() == BODY


def test_another_content_is_removed(fetch: Callable[..., Any], hub: HubServer) -> None:
    hub.fault(Fault(path=PATH, body=b"<html>sign in</html>"))
    for name, value in (("sha256", SHA), ("md5", "0" * 32)):
        kind, line = refusal(fetch, **{name: value})
        assert (kind, f"has {name}" in line, "the registry says" in line) == ("hash", True, True)
    assert left() == []


def test_a_file_that_no_longer_fits_is_fetched_anew(fetch: Callable[..., Any], hub: HubServer) -> None:
    Path("cache/data").mkdir(parents=True)
    Path("cache/data/data.tsv").write_bytes(b"last year's")
    assert fetch(sha256=SHA)["bytes"] == len(BODY)


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Fault(path=PATH, status=404), "missing", "is not there (404): correct the registry"),
        (Fault(path=PATH, status=403), "auth", "put the file at cache/data/data.tsv by hand"),
        (Fault(path=PATH, status=500), "server", "answers 500, asked 3 times"),
        (Fault(path=PATH, status=429), "rate-limit", "429"),
    ],
)
def test_a_refusal_is_one_line(fetch: Callable[..., Any], hub: HubServer, fault: Fault, kind: str, words: str) -> None:
    hub.fault(fault)
    found, line = refusal(fetch)
    assert (found, words in line) == (kind, True), line


def test_an_address_of_the_public_hub_is_asked_of_the_mirror(
    fetch: Callable[..., Any], hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", f"{hub.endpoint}/")
    hub.pages["/datasets/a/b/resolve/main/c.tsv"] = BODY
    patience = Patience(1, 0)
    item = Url(id="u", url="https://huggingface.co/datasets/a/b/resolve/main/c.tsv", target="data/c.tsv")
    with sessions(patience)() as session:
        assert fetch_url(item, session, patience, lambda done, total: None)["bytes"] == len(BODY)


def test_a_wait_is_read_as_seconds_or_a_date() -> None:
    assert retry_after("7") == 7
    assert retry_after("Thu, 01 Jan 1970 00:02:00 GMT", now=lambda: 100.0) == 20
    assert retry_after("Thu, 01 Jan 1970 00:00:00 GMT", now=lambda: 100.0) == 0
    assert retry_after("soon") is None
    assert retry_after(None) is None


# --- archives ---------------------------------------------------------------------------------------------------------


def tar(*members: tuple[str, bytes | str | None], kind: bytes = tarfile.SYMTYPE) -> bytes:
    """A name with bytes is a file, with a string a link to that, with None a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, bytes):
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            else:
                info.type, info.linkname = (tarfile.DIRTYPE, "") if content is None else (kind, content)
                archive.addfile(info)
    return buffer.getvalue()


def zipped(*members: tuple[str, bytes], link: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if link else 0o100644) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def test_an_archive_becomes_a_folder(fetch: Callable[..., Any], hub: HubServer) -> None:
    hub.pages["/a.tar.gz"] = tar(("LLaVA-1/llava/__init__.py", b"x = 1"), ("LLaVA-1/doc", "llava/__init__.py"))
    how = {"target": "sources/abc", "unpack": True, "sha256": hashlib.sha256(hub.pages["/a.tar.gz"]).hexdigest()}
    assert fetch("/a.tar.gz", **how)["files"][0]["sha256"] == how["sha256"]
    assert Path("cache/sources/abc/llava/__init__.py").read_bytes() == b"x = 1"
    assert Path("cache/sources/abc/doc").read_bytes() == b"x = 1"
    assert fetch("/a.tar.gz", **how)["bytes"] == 0
    assert len(hub.seen) == 1
    assert [path.name for path in Path("cache/sources").iterdir()] == ["abc"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (zipped(("top/a.txt", b"a"), ("top/b/c.txt", b"c")), {"a.txt", "b/c.txt"}),
        (zipped(("a.txt", b"a"), ("b/c.txt", b"c")), {"a.txt", "b/c.txt"}),
        (tar(("pkg/__init__.py", b""), ("pkg/m.py", b"")), {"pkg/__init__.py", "pkg/m.py"}),
        (tar(("./top", None), ("./top/a.txt", b"a")), {"a.txt"}),
        (tar(("top/a", b"a"), ("top/b", "top/a"), kind=tarfile.LNKTYPE), {"a", "b"}),
    ],
    ids=["zip", "zip without", "package", "dots", "hard link"],
)
def test_one_outer_folder_is_left_away_unless_it_is_a_package(
    tmp_path: Path, content: bytes, expected: set[str]
) -> None:
    (tmp_path / "archive").write_bytes(content)
    unpack(tmp_path / "archive", tmp_path / "t")
    assert {str(p.relative_to(tmp_path / "t")) for p in (tmp_path / "t").rglob("*") if p.is_file()} == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tar(("../out", b"x")), "leaves its folder"),
        (tar(("/etc/out", b"x")), "leaves its folder"),
        (tar(("a\x1b[31m", b"x")), "leaves its folder"),
        (zipped(("a/../../out", b"x")), "leaves its folder"),
        (zipped(("..\\out", b"x")), "leaves its folder"),
        (tar(("a", "/etc/passwd")), "a link out of its folder"),
        (tar(("a", "../../out")), "a link out of its folder"),
        (tar(("a", "/etc/passwd"), kind=tarfile.LNKTYPE), "a link out of its folder"),
        (tar(("d", "."), ("d/e", "../../.."), ("d/e/out", b"x")), "twice"),
        (tar(("p/q/x", b"x"), ("p/q/r", "../.."), ("a", "p/q/r/../out")), "a link out of its folder"),
        (tar(("top/x", b"x"), ("top/a", "../other")), "a link out of its folder"),
        (tar(("a", "gone"), kind=tarfile.LNKTYPE), "which it does not hold"),
        (zipped(("a", b"../../out"), link=True), "a link out of its folder"),
        (tar(("a", b"x"), ("a", None)), "twice"),
        (tar(("dev", "x"), kind=tarfile.CHRTYPE), "a device or pipe"),
        (tar(("pipe", "x"), kind=tarfile.FIFOTYPE), "a device or pipe"),
        (tar(("big", b"0" * 2000)), "more than 1000 bytes"),
        (zipped(("a", b"0" * 600), ("b", b"0" * 600)), "more than 1000 bytes"),
        (tar(*((str(number), b"") for number in range(11))), "more than 10 entries"),
        (b"<html>", "neither a tar nor a zip"),
        (tar(("a", b"0" * 900))[:60], "cannot be unpacked"),
    ],
    ids=lambda value: value if isinstance(value, str) else "archive",
)
def test_a_hostile_archive_leaves_nothing(tmp_path: Path, content: bytes, words: str) -> None:
    inner = tmp_path / "cache"
    inner.mkdir()
    (inner / "archive").write_bytes(content)
    with pytest.raises(FetchError, match=words) as error:
        unpack(inner / "archive", inner / "t", max_bytes=1000, max_entries=10)
    assert error.value.kind == "archive"
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == ["cache", "cache/archive"]
