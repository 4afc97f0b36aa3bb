"""`python -m lockstep_runner fetch work/job.json`: bring weights, sources and data into `cache/`, once.

The one job with the network. The token is read from a file and given to the hub's client as an argument; it is in no
environment variable, in no line and in no file that is written. How each item went is in `work/out/fetched.json`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional, Union

from lockstep_runner.contract import OUT, ContractError
from lockstep_runner.events import Events
from lockstep_runner.failures import failure
from lockstep_runner.fetch_contract import (
    AGAIN,
    CACHE,
    FETCH_SCHEMA,
    HUB,
    FetchError,
    FetchJob,
    Repo,
    Url,
    hide,
    keep_secret,
    read_fetch,
    say,
)
from lockstep_runner.fetch_http import Patience, prepare, sessions
from lockstep_runner.fetch_hub import Hub, fetch_repo
from lockstep_runner.fetch_url import fetch_url
from lockstep_runner.files import write_json
from lockstep_runner.results import ERROR, write_error
from lockstep_runner.stopping import Interrupted, Stopping

RESULT = OUT / "fetched.json"
SECRETS = Path("work/secrets")
_ADDRESSES = ("HF_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")  # files, where they hold a password
_Item = Union[Repo, Url]


def main(argv: Sequence[str], stopping: Stopping) -> int:
    """Fetch every item; a failed one stops no other. Raises ContractError for a job file that is not understood."""
    if len(argv) != 1:
        raise ContractError("fetch takes one job file: python -m lockstep_runner fetch work/job.json")
    job = read_fetch(Path(argv[0]))
    OUT.mkdir(parents=True, exist_ok=True)
    ERROR.unlink(missing_ok=True)
    with Events(OUT / "events.jsonl", stopping.held) as events:
        try:
            events.emit("start", message=f"{job.key}: {len(job.items)} to fetch")
            with stopping.first():
                _Fetch(job, events, stopping).everything()
            events.emit("done")
            return 0
        except Interrupted as stop:
            stopping.finish()
            write_error(failure(stop, phase="fetch", kind="interrupted"))
            sys.stdout.flush()
            os._exit(stop.exit_code)  # files on their way are not waited for; they are taken up again
        except Exception as error:  # the disk of work/out, or a mistake of ours
            _trace()
            write_error(failure(error, phase="fetch", kind="data"))
            return 1


def _trace() -> None:
    for line in traceback.format_exc().splitlines():
        print(hide(line), file=sys.stderr, flush=True)


class _Fetch:
    """One job: its token, its patience, and what each item came to."""

    def __init__(self, job: FetchJob, events: Events, stopping: Stopping) -> None:
        self._job, self._events, self._stopping = job, events, stopping
        self._patience = Patience(job.attempts, job.wait_seconds)
        self._client: Optional[Hub] = None
        self._session: Any = None
        self._ended: list[dict[str, Any]] = []

    def everything(self) -> None:
        for item in self._job.items:
            began = time.monotonic()
            self._events.emit("fetch", stage=item.id, message=item.name)
            try:
                fields = {"status": "ok", **self._one(item)}
            except FetchError as error:
                self._stopping.check()  # the end of the job, whatever a library made of it
                line = hide(f"{item.name}: {error}")
                say(f"FAILED {line}")
                if error.kind == "other":
                    _trace()
                fields = {"status": "failed", "failure": {"kind": error.kind, "message": line}}
            self._ended.append({"id": item.id, **fields, "seconds": round(time.monotonic() - began, 3)})
            whose = {"run_id": self._job.run_id, "key": self._job.key}
            write_json(RESULT, {"schema_version": FETCH_SCHEMA, **whose, "items": self._ended})

    def _one(self, item: _Item) -> dict[str, Any]:
        def tell(done: int, total: int) -> None:
            self._events.emit("fetch", stage=item.id, done=done, total=total)

        with _alone(item):
            if isinstance(item, Repo):
                return fetch_repo(item, self._hub, tell)
            self._online()
            return fetch_url(item, self._session, self._patience, tell)

    def _online(self) -> None:
        if self._session is None:
            _addresses()
            prepare()
            self._session = sessions(self._patience)()

    def _hub(self) -> Hub:
        self._online()
        self._client = self._client or Hub(_token(), self._patience)
        return self._client


def _secret(name: str) -> Optional[str]:
    try:
        return (SECRETS / name).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def _addresses() -> None:
    """For this process's libraries alone: a container's `inspect` shows the variables that it was started with."""
    for name in _ADDRESSES:
        value = _secret(name)
        if value is not None:
            os.environ[name] = value
            if name != "HF_ENDPOINT":
                os.environ[name.lower()] = value


def _token() -> Optional[str]:
    token = _secret("HF_TOKEN")
    if token is None:
        return None
    keep_secret(token)
    if not token.isascii() or not token.isprintable() or " " in token:
        raise FetchError(
            "auth", f"HF_TOKEN is no token (blanks or control characters in it): correct it in .env, {AGAIN}"
        )
    return token


@contextlib.contextmanager
def _alone(item: _Item) -> Iterator[None]:
    """Two runs of a node fetch an item once. The lock lies in the folder that it protects, which is what they share."""
    if isinstance(item, Repo):
        path = HUB / ".locks" / f"lockstep--{item.folder.name}.lock"
    else:
        path = CACHE / Path(item.target).parts[0] / ".locks" / f"{item.target.replace('/', '--')}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_CREAT, 0o666))  # of another user too, a lock needs no more
    except OSError as error:
        raise FetchError(
            "disk", f"{path} cannot be written ({error.strerror}): correct its owner or its disk"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{item.name}: another run is fetching it; waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            say(f"{item.name}: no lock on this file system ({error.strerror}); going on without")
        yield
