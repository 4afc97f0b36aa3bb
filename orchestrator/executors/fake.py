"""An executor that runs nothing: outcomes by script, artefacts by a callable. For tests of all that stands above it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.executors.protocol import Job, Log, Needs, Outcome, Status, Stop

OK = Outcome(status=Status.OK)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call of `run`, as it came."""

    job: Job
    needs: Needs


@dataclass(kw_only=True)
class FakeExecutor:
    """`script`: by job key, what its calls give one after the other (an exception is raised); without an entry: ok.

    `work` stands for the runner: it gets the job before its outcome is given, and writes what a runner would.
    A job whose key is in `hold` waits until its event is set, or until it is stopped. `living` are the (run, key) of
    jobs that an orchestrator left at work before it died: they are adopted, which is no call.
    """

    script: Mapping[str, Sequence[Outcome | Exception]] = field(default_factory=dict)
    work: Callable[[Job, Needs, Log], None] = lambda job, needs, log: None
    hold: Mapping[str, threading.Event] = field(default_factory=dict)
    name: str = "fake"
    isolated: bool = True
    calls: list[Call] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    prepared: list[str] = field(default_factory=list)
    closed: bool = False
    living: set[tuple[str, str]] = field(default_factory=set)
    adopted: list[Call] = field(default_factory=list)
    engine: Mapping[str, object] = field(default_factory=lambda: {"kind": "fake"})

    def prepare(self, environment: str) -> None:
        self.prepared.append(environment)

    def describe(self, environment: str) -> Mapping[str, object]:
        return {"image": None, "image_tag": None, "lock": "0" * 64, "environment_digest": f"sha256:{environment}"}

    def serve(self, run_id: str) -> None:
        """Nothing of a job is left when it has ended."""

    def alive(self, run_id: str, key: str, *, project: str | None = None) -> bool:
        return (run_id, key) in self.living

    def adopt(self, job: Job, *, needs: Needs, stop: Stop, log: Log) -> Outcome | None:
        if (job.run_id, job.key) not in self.living:
            return None
        self.living.discard((job.run_id, job.key))
        self.adopted.append(Call(job=job, needs=needs))
        self.work(job, needs, log)
        return self._next(job.key)

    def run(self, job: Job, *, needs: Needs, stop: Stop, log: Log) -> Outcome:
        if (found := self.adopt(job, needs=needs, stop=stop, log=log)) is not None:
            return found
        self.calls.append(Call(job=job, needs=needs))
        self.running.add(job.key)
        try:
            if job.key in self.hold:
                with stop.rings(self.hold[job.key]):
                    self.hold[job.key].wait()
            if stop.is_set():
                return Outcome(status=Status.SKIPPED, reason="interrupted")
            self.work(job, needs, log)
            return self._next(job.key)
        finally:
            self.running.discard(job.key)

    def _next(self, key: str) -> Outcome:
        given = self.script.get(key, ())
        attempt = sum(call.job.key == key for call in (*self.calls, *self.adopted)) - 1
        if not given:
            return OK
        outcome = given[min(attempt, len(given) - 1)]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def close(self) -> None:
        self.closed = True
