"""The real hub client of every environment, in the runner's fetch, against a server that speaks the hub's HTTP."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_server import Fault, HubServer
from tests.integration.fetch_jobs import FILES, REPO, WEIGHTS, Fetching, tiny
from tests.integration.runner_jobs import python_of

pytestmark = pytest.mark.venv
ENVIRONMENTS = ("tf-4.33", "tf-4.37", "tf-4.42")
LATEST = "tf-4.42"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        yield server


@pytest.fixture
def job(tmp_path: Path, hub: HubServer, request: pytest.FixtureRequest) -> Fetching:
    return Fetching(tmp_path, hub, python_of(getattr(request, "param", LATEST)))


every_environment = pytest.mark.parametrize("job", ENVIRONMENTS, indirect=True)

READ_OFFLINE = """
import sys
from transformers import AutoConfig
from huggingface_hub import snapshot_download
config = AutoConfig.from_pretrained("org/tiny", cache_dir="cache/hub")
assert config.hidden_size == 32, config
print(snapshot_download("org/tiny", cache_dir="cache/hub"))
"""


@every_environment
def test_what_was_fetched_is_read_offline_and_not_fetched_again(job: Fetching, hub: HubServer) -> None:
    commit = hub.add(REPO, FILES)
    job.token = hub.token
    item = job.one(tiny())

    left = ["modeling_tiny.py", "pytorch_model.bin"]
    assert (item.commit, item.skipped) == (commit, left)
    assert {file.path: file.sha256 for file in item.files} == {
        name: hashlib.sha256(body).hexdigest() for name, body in FILES.items() if name not in left
    }
    assert item.bytes == sum(file.size for file in item.files)
    assert {path.name for path in job.snapshot(commit).iterdir()} == set(FILES) - set(left)
    assert job.marker(commit).files == item.files
    assert [path.name for path in (job.folder / "lockstep").iterdir()] == [f"{commit}.json"]
    assert (job.folder / "refs" / "main").read_text() == commit
    assert all("authorization" in seen.headers for seen in hub.of("hub"))
    assert hub.of("cdn"), "large files come from another host"
    assert not [seen for seen in hub.of("cdn") if "authorization" in seen.headers]

    environ = {"HF_HUB_OFFLINE": "1", "HOME": str(job.root), "HF_ENDPOINT": hub.endpoint, "PATH": ""}
    hub.forget()
    said = subprocess.run(
        [job.python, "-c", READ_OFFLINE], cwd=job.root, env=environ, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.strip().endswith(commit)
    assert hub.seen == []

    again = job.one(tiny())
    assert (again.bytes, again.files) == (0, item.files)
    assert [seen.path for seen in hub.seen] == [f"/api/models/{REPO}/revision/main?blobs=True"]
    hub.forget()
    assert job.one(tiny(revision=commit)).bytes == 0
    assert hub.seen == [], "a commit that is here whole needs no network"


@pytest.mark.fault
@every_environment
def test_a_cut_download_goes_on_where_it_was_cut(job: Fetching, hub: HubServer) -> None:
    commit = hub.add(REPO, FILES)
    sha = hashlib.sha256(WEIGHTS).hexdigest()
    hub.fault(Fault(path=sha, at="cdn", cut_after=3_000_000, times=1))
    item = job.one(tiny())
    assert "was cut at 2 MB; again in" in job.output
    ranges = [seen.headers.get("range") for seen in hub.of("cdn") if sha in seen.path]
    assert ranges == [None, f"bytes={2 << 20}-"], "what was written is not asked for again"
    assert (job.snapshot(commit) / "model.safetensors").read_bytes() == WEIGHTS
    assert item.bytes == sum(file.size for file in item.files)


@pytest.mark.fault
def test_a_killed_fetch_is_begun_and_goes_on(job: Fetching, hub: HubServer) -> None:
    commit = hub.add(REPO, {"model.safetensors": WEIGHTS})
    hub.fault(Fault(path="/lfs/", at="cdn", cut_after=3_000_000))
    job.attempts = 1
    kind, line = job.refused(tiny())
    assert kind == "network", line
    assert [path.suffix for path in (job.folder / "lockstep").iterdir()] == [".partial"]
    assert not (job.folder / "refs").exists()

    hub.mend()
    hub.forget()
    item = job.one(tiny())
    assert [seen.headers.get("range") for seen in hub.of("cdn")] == [f"bytes={2 << 20}-"]
    assert item.bytes == len(WEIGHTS) - (2 << 20)
    assert [path.name for path in (job.folder / "lockstep").iterdir()] == [f"{commit}.json"]


@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_fetch_that_is_stopped_goes_on_with_the_next(job: Fetching, hub: HubServer, number: int) -> None:
    commit = hub.add(REPO, {"model.safetensors": WEIGHTS})
    half = Fault(path="/lfs/", at="cdn", wait=threading.Event(), times=1)
    hub.fault(half)
    process = job.start(tiny())
    assert half.reached.wait(60)
    written = next(path for path in iter(lambda: next(job.folder.glob("blobs/*.incomplete"), None), ()) if path)
    while written.stat().st_size < 1 << 20:  # the server cannot see what the client has written
        assert process.poll() is None
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == (143 if number == signal.SIGTERM else -number)
    assert half.wait is not None
    half.wait.set()
    have = written.stat().st_size
    hub.forget()
    assert job.one(tiny()).bytes == len(WEIGHTS) - have
    assert [seen.headers["range"] for seen in hub.of("cdn")] == [f"bytes={have}-"]
    assert job.marker(commit).commit == commit


@pytest.mark.fault
def test_a_server_that_does_not_go_on_sends_all_again(job: Fetching, hub: HubServer) -> None:
    commit = hub.add(REPO, {"model.safetensors": WEIGHTS})
    cut = Fault(path="/lfs/", at="cdn", cut_after=3_000_000, times=1)
    hub.fault(cut, Fault(path="/lfs/", at="cdn", ignore_range=True))
    job.one(tiny())
    assert (job.snapshot(commit) / "model.safetensors").read_bytes() == WEIGHTS


@every_environment
def test_code_comes_only_where_it_is_allowed(job: Fetching, hub: HubServer) -> None:
    commit = hub.add(REPO, FILES)
    assert job.one(tiny()).skipped[0] == "modeling_tiny.py"
    assert not list(job.root.rglob("*.py"))
    hub.forget()
    item = job.one(tiny(code=True))
    assert item.bytes == len(FILES["modeling_tiny.py"]), "the rest was here"
    assert (job.snapshot(commit) / "modeling_tiny.py").is_file()
    assert job.marker(commit).code


def test_a_data_set_comes_in_all_its_formats(job: Fetching, hub: HubServer) -> None:
    commit = hub.add(REPO, FILES, repo_type="dataset", revisions={"v1"})
    item = job.one(tiny(repo_type="dataset", revision="v1"))
    assert item.skipped == ["modeling_tiny.py"]
    folder = job.folder.with_name("datasets--org--tiny")
    assert (folder / "refs" / "v1").read_text() == commit


def test_a_mirror_that_lists_names_alone_is_enough(job: Fetching, hub: HubServer) -> None:
    hub.list_sizes = False
    hub.add(REPO, FILES)
    assert len(job.one(tiny()).files) == 4
    hub.add(REPO, {"model.safetensors": b"other"})
    hub.fault(Fault(path="/lfs/", at="cdn", body=b"wrong"))
    assert job.refused(tiny())[0] == "hash"


def test_two_runs_fetch_once(job: Fetching, hub: HubServer) -> None:
    """The second waits for the first, which is held up in the middle of a file."""
    hub.add(REPO, {"model.safetensors": WEIGHTS})
    go_on = threading.Event()
    hub.fault(Fault(path="/lfs/", at="cdn", wait=go_on))
    first = job.start(tiny())
    assert first.stdout is not None
    assert "fetch" in first.stdout.readline()
    second = job.start(tiny())
    assert second.stdout is not None
    assert "another run is fetching it; waiting" in second.stdout.readline()
    go_on.set()
    first.communicate(timeout=60)
    second.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(hub.of("cdn")) == 1
