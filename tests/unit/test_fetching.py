"""The fetch stage from outside: what its jobs see, what they are tried again for, and what is said of what failed."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.claims.files import open_lock, try_flock
from orchestrator.errors import UsageError
from orchestrator.executors.fake import FakeExecutor
from orchestrator.executors.protocol import Job, Log, Needs, Outcome, Status, Stop
from orchestrator.fetch.files import FailureKind, FetchedItem, FetchFailure, FetchFile, FetchRepo, FetchResult, FetchUrl
from orchestrator.fetch.only import last_line
from orchestrator.fetch.plan import FetchPlan, fetchable, missing_lines, plan_fetch
from orchestrator.fetch.stage import Fetching, network_settings, not_tried, read_result
from orchestrator.inputs.located import Located, Wanted
from orchestrator.layout import ProjectLayout, RunLayout
from orchestrator.planning.matrix import Cell
from orchestrator.registry.load import load
from orchestrator.registry.schema import Retries, RunEntry

TOKEN = "hf_plantedtoken"
OPEN = Wanted(item=FetchRepo(id="o/open@main", repo="o/open"), gb=2)
GATED = Wanted(item=FetchRepo(id="o/gated@main", repo="o/gated"), gb=3, token=True)
DATA = Wanted(item=FetchUrl(id="POPE.tsv", url="https://x.example/POPE.tsv", target="data/POPE.tsv"))


def plan(*environments: str) -> FetchPlan:
    """Two models and a benchmark that all want something, in each environment."""
    models = {"a": Located(to_fetch=(OPEN,)), "b": Located(to_fetch=(GATED, OPEN))}
    cells = [Cell(model=m, environment=e, benchmark="POPE") for m in models for e in environments]
    return plan_fetch(cells, models, {"POPE": Located(to_fetch=(DATA,))})


class Node:
    """A project's cache and an executor that answers for the runner: `fails` is what becomes of an item, by start."""

    def __init__(self, root: Path, **fails: list[FailureKind | None]) -> None:
        self.layout = ProjectLayout(root=root, cache=root / "cache", outputs=root / "outputs")
        self.run = RunLayout(root=root / "outputs" / "r1")
        self.executor = FakeExecutor(work=self.work)
        self.fails = fails
        self.said: list[str] = []
        self.asked: list[tuple[str, list[str]]] = []

    def work(self, job: Job, needs: Needs, log: Log) -> None:
        file = FetchFile.model_validate_json((job.folder / "work" / "job.json").read_bytes())
        self.asked.append((job.key, [item.id for item in file.items]))
        log("fetch: half of it")
        items = []
        for item in file.items:
            left = self.fails.get(item.id.partition("@")[0].partition("/")[2] or item.id.removesuffix(".tsv"), [])
            kind = left.pop(0) if left else None
            failure = FetchFailure(kind=kind, message=f"{item.id} {kind}") if kind else None
            items.append(FetchedItem(id=item.id, status="failed" if failure else "ok", failure=failure))
        result = FetchResult(run_id=job.run_id, key=job.key, items=items)
        (job.out / "fetched.json").write_text(result.model_dump_json())

    def fetch(
        self, made: FetchPlan, *, stop: Stop | None = None, environ: dict[str, str] | None = None
    ) -> dict[str, str]:
        fetching = Fetching(
            executor=self.executor,
            layout=self.layout,
            run=self.run,
            environ=environ or {},
            settings=RunEntry(retries=Retries(attempts=3, wait_seconds=0)),
            log=lambda job: lambda line: None,
            say=self.said.append,
        )
        return fetching.everything(made, stop or Stop())


def test_each_thing_is_fetched_once_and_the_token_goes_only_where_it_is_needed(tmp_path: Path) -> None:
    made = plan("tf-1", "tf-2")
    assert [(g.key, [w.item.id for w in g.wanted]) for g in made.groups] == [
        ("fetch@tf-1", ["o/open@main", "POPE.tsv"]),
        ("fetch@tf-1+token", ["o/gated@main"]),
    ]
    assert (made.gb, made.unsized, made.environments) == (5, ("POPE.tsv",), ("tf-1",))
    assert made.lines()[0] == "o/open@main (2 GB), for a, b"
    assert any("gated" in note for note in made.notes())
    node = Node(tmp_path)
    assert node.fetch(made, environ={"HF_TOKEN": TOKEN}) == {}
    first, second = (call.job for call in node.executor.calls)
    assert (dict(first.secrets), dict(second.secrets)) == ({}, {"HF_TOKEN": TOKEN})
    assert not any(TOKEN in path.read_text() for path in node.run.root.rglob("*") if path.is_file())


def test_a_node_is_prepared_for_what_can_run_somewhere_and_what_is_missing_is_one_line_each(tmp_path: Path) -> None:
    path = tmp_path / "registry.yaml"
    path.write_text(
        "environments: {e: {transformers: 4.37.2}}\n"
        "models:\n"
        "  large: {environments: [e], kind: hf, repo: o/large, gpu: {count: 8, vram_gb: 80}}\n"
        "  never: {environments: [e], kind: hf, repo: o/never, unavailable: not yet}\n"
        "benchmarks:\n"
        "  POPE: {type: yes_no, metric: {id: f1, unit: '%', max: 100}}\n"
    )
    registry = load(path)
    cells = [Cell(model=m, environment="e", benchmark="POPE") for m in ("large", "never")]
    cells.append(Cell(model="large", environment="e", benchmark="POPE", excluded="no"))
    chosen = fetchable(registry, cells)
    assert [cell.model for cell in chosen] == ["large"]
    models = {"large": Located(missing=("no folder", "no answers"))}
    assert missing_lines([*chosen, *chosen], models, {"POPE": Located(missing=("no file",))}) == [
        "large: no folder",
        "large: no answers",
        "POPE: no file",
    ]


def test_a_job_has_the_network_no_gpu_and_only_its_part_of_the_cache(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.fetch(plan("tf-1"))
    first, second = node.executor.calls
    assert (first.job.network, first.needs.gpus) == (True, ())
    assert first.job.arguments == ("fetch", "work/job.json")
    writable = [{m.target: m.source for m in call.job.mounts if m.writable} for call in (first, second)]
    assert list(writable[0]) == ["work/out", "cache/hub", "cache/data"]
    assert list(writable[1]) == ["work/out", "cache/hub"]
    assert writable[0]["cache/hub"] == node.layout.hub


def test_what_may_pass_is_tried_again_and_the_rest_is_not(tmp_path: Path) -> None:
    node = Node(tmp_path, open=["network", None], gated=["gated"], POPE=["rate-limit", "server", "network"])
    problems = node.fetch(plan("tf-1"))
    assert problems == {"o/gated@main": "o/gated@main gated", "POPE.tsv": "POPE.tsv network"}
    assert node.asked == [
        ("fetch@tf-1", ["o/open@main", "POPE.tsv"]),
        ("fetch@tf-1", ["o/open@main", "POPE.tsv"]),
        ("fetch@tf-1", ["POPE.tsv"]),
        ("fetch@tf-1+token", ["o/gated@main"]),
    ]
    assert "fetch: half of it" in node.said


def test_a_job_that_ended_without_a_result_says_why(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.executor.work = lambda job, needs, log: None
    node.executor.script = {"fetch@tf-1": [Outcome(status=Status.FAILED, reason="runner died")]}
    problems = node.fetch(plan("tf-1"))
    assert problems["POPE.tsv"] == "POPE.tsv: not fetched: failed: runner died"
    assert sum(call.job.key == "fetch@tf-1" for call in node.executor.calls) == 1
    node = Node(tmp_path / "again")
    broken = Outcome(status=Status.INFRA, reason="engine gone")
    well, node.executor.work = node.executor.work, lambda job, needs, log: None
    node.executor.script = {"fetch@tf-1": [broken, Outcome(status=Status.OK)]}
    node.executor.work = _second(well)
    assert node.fetch(plan("tf-1")) == {}


def _second(work: Callable[[Job, Needs, Log], None]) -> Callable[[Job, Needs, Log], None]:
    """A runner that leaves nothing at its first start."""
    seen: list[str] = []

    def do(job: Job, needs: Needs, log: Log) -> None:
        seen.append(job.key)
        if len(seen) > 1:
            work(job, needs, log)

    return do


def test_results_of_another_job_or_of_no_shape_are_not_believed(tmp_path: Path) -> None:
    file = tmp_path / "fetched.json"
    assert read_result(tmp_path, run_id="r", key="k") == {}
    file.write_text("[]")
    assert read_result(tmp_path, run_id="r", key="k") == {}
    item = FetchedItem(id="i", status="ok")
    file.write_text(FetchResult(run_id="r", key="k", items=[item]).model_dump_json())
    assert read_result(tmp_path, run_id="r", key="k") == {"i": item}
    assert read_result(tmp_path, run_id="other", key="k") == {}
    file.rename(tmp_path / "real.json")
    file.symlink_to(tmp_path / "real.json")
    assert read_result(tmp_path, run_id="r", key="k") == {}


def test_only_the_settings_of_the_network_go_in_and_a_password_only_as_a_secret(tmp_path: Path) -> None:
    environ = {
        "HTTP_PROXY": "http://proxy.example:3128",
        "HTTPS_PROXY": f"http://me:{TOKEN}@proxy.example:3128",
        "NO_PROXY": "localhost",
        "HF_ENDPOINT": "https://mirror.example",
        "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
        "HF_TOKEN": TOKEN,
        "OPENAI_API_KEY": TOKEN,
    }
    given, secrets = network_settings(environ, token=False)
    assert TOKEN not in json.dumps(given)
    assert given["http_proxy"] == given["HTTP_PROXY"] == environ["HTTP_PROXY"]
    assert given["HF_ENDPOINT"] == "https://mirror.example"
    assert given["SSL_CERT_FILE"] == given["REQUESTS_CA_BUNDLE"] == "work/ca.pem"
    assert secrets == {"HTTPS_PROXY": environ["HTTPS_PROXY"]}
    assert set(network_settings(environ, token=True)[1]) == {"HTTPS_PROXY", "HF_TOKEN"}
    node = Node(tmp_path)
    with pytest.raises(UsageError, match="SSL_CERT_FILE"):
        node.fetch(plan("tf-1"), environ=environ)
    (tmp_path / "ca.pem").write_text("x")
    node.fetch(plan("tf-1"), environ=environ)
    mount = next(m for m in node.executor.calls[0].job.mounts if m.target == "work/ca.pem")
    assert (mount.source, mount.writable) == (tmp_path / "ca.pem", False)


def test_a_stop_ends_it_and_is_no_failure_that_waiting_mends(tmp_path: Path) -> None:
    node, stop = Node(tmp_path), Stop()
    stop.set()
    problems = node.fetch(plan("tf-1"), stop=stop)
    assert problems == {name: not_tried(name) for name in ("o/open@main", "POPE.tsv", "o/gated@main")}
    assert node.asked == []


def test_what_a_stop_came_before_was_not_tried(tmp_path: Path) -> None:
    node, stop = Node(tmp_path), Stop()

    skipped = Outcome(status=Status.SKIPPED, reason="interrupted")
    node.executor = FakeExecutor(script={"fetch@tf-1": (skipped,)}, work=lambda job, needs, log: stop.set())
    assert node.fetch(plan("tf-1"), stop=stop) == {
        "o/open@main": "o/open@main: not fetched: skipped: interrupted",
        "POPE.tsv": not_tried("POPE.tsv"),
        "o/gated@main": not_tried("o/gated@main"),
    }
    assert len(node.executor.calls) == 1


def test_the_last_line_of_a_fetch_says_what_to_type_where_something_is_left() -> None:
    command = "python run_matrix.py --fetch-only"
    assert last_line(3, 0, command, stopped=False) == "3 fetched, 0 not; what else it needs was here"
    assert last_line(1, 2, command, stopped=True).endswith(f". Stopped; to go on type: {command}")
    assert last_line(1, 2, command, stopped=False).endswith(f"Mend what FAILED names, then type: {command}")


def test_a_second_run_waits_until_the_first_has_fetched(tmp_path: Path) -> None:
    node = Node(tmp_path)
    node.layout.cache.mkdir()
    first = open_lock(node.layout.fetches / "lock")
    assert try_flock(first)
    waits = threading.Event()
    node.said = _Bell(waits)
    thread = threading.Thread(target=node.fetch, args=(plan("tf-1"),))
    thread.start()
    assert waits.wait(60)
    assert node.asked == []
    os.close(first)
    thread.join()
    assert len(node.asked) == 2


class _Bell(list[str]):
    """Rings at the first line."""

    def __init__(self, event: threading.Event) -> None:
        super().__init__()
        self._event = event

    def append(self, line: str) -> None:
        super().append(line)
        self._event.set()
