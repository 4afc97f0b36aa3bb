"""Jobs in containers: no network, no capabilities, a read-only root, and gone afterwards whatever happened."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from orchestrator.errors import LockstepError, Unavailable
from orchestrator.executors.container_config import Config, configure, labels, run_as
from orchestrator.executors.container_engine import (
    BROKEN,
    Engine,
    NotFound,
    created,
    explain,
    hang_up,
    labelled,
    remove,
)
from orchestrator.executors.ending import Ended, forget_error, judge
from orchestrator.executors.lines import Lines
from orchestrator.executors.ownership import lent
from orchestrator.executors.protocol import Job, Log, Needs, Outcome, Status, Stop
from orchestrator.layout import slug

RUNNER = ("/opt/venv/bin/python", "-m", "lockstep_runner")
GRACE_SECONDS = 10
_ENGINE_SECONDS = 60  # how long an engine may take to report an end that it was asked for


class Image(Protocol):
    """What the executor must know of an environment's image; `id` is immutable (`sha256:…`)."""

    @property
    def id(self) -> str: ...
    @property
    def tag(self) -> str: ...
    @property
    def lock_sha256(self) -> str: ...
    @property
    def environment_digest(self) -> str: ...


class ContainerExecutor:
    """`resolve_image` gives the built image of an environment or raises EnvironmentUnavailable with the remedy.

    `project` marks what this project starts, so that `clean` touches nothing else. `command` is what runs in the
    image, before the job's arguments. A container that is told to stop has `grace` seconds until it is killed.
    """

    isolated = True

    def __init__(
        self,
        *,
        engine: Engine,
        resolve_image: Callable[[str], Image],
        project: str,
        command: Sequence[str] = RUNNER,
        grace: int = GRACE_SECONDS,
    ) -> None:
        self.name = engine.facts.kind
        self._engine = engine
        self._resolve = resolve_image
        self._project = project
        self._command = tuple(command)
        self._grace = grace
        self._images: dict[str, Image] = {}
        self._runs: set[str] = set()
        self._who = run_as(engine.facts, uid=os.getuid(), gid=os.getgid())

    def prepare(self, environment: str) -> None:
        if environment not in self._images:
            self._images[environment] = self._resolve(environment)

    def describe(self, environment: str) -> Mapping[str, object]:
        image = self._images[environment]
        return {
            "image": image.id,
            "image_tag": image.tag,
            "lock": image.lock_sha256,
            "environment_digest": image.environment_digest,
        }

    def adopt(self, job: Job, *, needs: Needs, stop: Stop, log: Log) -> Outcome | None:
        return None

    def run(self, job: Job, *, needs: Needs, stop: Stop, log: Log) -> Outcome:
        self.prepare(job.environment)
        if stop.is_set():
            return Outcome(status=Status.SKIPPED, reason="interrupted")
        if refused := self._refusal(job, needs):
            return Outcome(status=Status.INFRA, reason=refused)
        self._runs.add(job.run_id)
        forget_error(job)
        lines = Lines(log)
        bell = threading.Event()
        try:
            with stop.rings(bell), lent(job, self._who.owner):
                return self._run(job, needs, stop, lines, bell)
        except NotFound as error:
            remedy = f"make images ENV={job.environment}"
            return Outcome(status=Status.INFRA, reason=f"the engine lacks its image ({explain(error)}): {remedy}")
        except BROKEN as error:
            return Outcome(status=Status.INFRA, reason=f"{self.name} engine: {explain(error)}")

    def configuration(self, job: Job, needs: Needs) -> Config:
        """What the engine is asked for; the environment must be prepared."""
        return configure(
            job,
            needs=needs,
            image=self._images[job.environment].id,
            command=self._command,
            who=self._who,
            facts=self._engine.facts,
            labels=labels(self._project, job),
        )

    def _refusal(self, job: Job, needs: Needs) -> str:
        facts = self._engine.facts
        # docker refuses such a mount itself; podman 4 makes a folder of root's in its place
        if missing := [str(mount.source) for mount in job.mounts if not mount.source.exists()]:
            return f"cannot be mounted, no such file or folder: {', '.join(missing)}"
        if needs.gpus and facts.kind == "podman" and facts.version < (5, 4):
            # it would start the container without them and say nothing
            return "podman before 5.4 drops requests for GPUs: update it, or python run_matrix.py --executor docker"
        return ""

    def _run(self, job: Job, needs: Needs, stop: Stop, lines: Lines, bell: threading.Event) -> Outcome:
        config = self.configuration(job, needs)
        name = f"lockstep-{slug(job.run_id)}-{slug(job.key)}-{secrets.token_hex(3)}".replace("@", "-").replace("+", "-")
        with created(self._engine, config, name) as container, _Watch(self._engine, container, lines, bell) as watch:
            self._engine.api.start(container)
            watch.start()
            ended = self._await(container, watch, needs, bell)
        return judge(ended, job=job, needs=needs, lines=lines)

    def _await(self, container: str, watch: _Watch, needs: Needs, bell: threading.Event) -> Ended:
        rung = bell.wait(needs.timeout_seconds)
        cut: Literal["", "stop", "timeout"] = ""
        if not watch.over:
            cut = "stop" if rung else "timeout"
            self._engine.api.stop(container, timeout=self._grace)
            watch.join()
        exit_code = watch.exit_code()
        try:
            state = self._engine.api.inspect_container(container)["State"]
        except NotFound:
            # removed while it ran, which is a kill: podman 4 says exit code 0 of such a container
            return Ended(exit_code=exit_code or 128 + signal.SIGKILL, oom_killed=False, cut=cut)
        return Ended(exit_code=exit_code, oom_killed=bool(state.get("OOMKilled")), cut=cut)

    def close(self) -> None:
        """Removes every container of the runs that this executor served; safe while jobs still run."""
        try:
            for run_id in sorted(self._runs):
                for container in labelled(self._engine, project=self._project, run=run_id):
                    remove(self._engine, container)
        except BROKEN as error:
            raise Unavailable(
                f"{self.name} engine: {explain(error)}; what it still holds of this run can be removed later: "
                "python run_matrix.py clean --yes"
            ) from error


class _Watch:
    """Reads a container's output until it ends, then its exit code; rings `bell` when there is no more to wait for.

    It is attached before the start, so that not one line is lost; what the engine keeps of the log is bounded.
    """

    def __init__(self, engine: Engine, container: str, lines: Lines, bell: threading.Event) -> None:
        self.over = False
        self._engine = engine
        self._container = container
        self._lines = lines
        self._bell = bell
        self._exit_code: int | None = None
        self._error: Exception | None = None
        self._output = engine.api.attach(container, stdout=True, stderr=True, stream=True, logs=False)
        self._thread = threading.Thread(target=self._follow, name=f"watch {container[:12]}", daemon=True)

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        hang_up(self._output)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join(_ENGINE_SECONDS)

    def _follow(self) -> None:
        try:
            for chunk in self._output:
                self._log(chunk)
            self._lines.close()
            self._exit_code = int(self._engine.api.wait(self._container, timeout=None)["StatusCode"])
        except Exception as error:  # the job's own thread raises it, in exit_code()
            self._error = error
        finally:
            self.over = True
            self._bell.set()

    def _log(self, chunk: bytes) -> None:
        try:
            self._lines.feed(chunk)
        except OSError as error:
            raise LockstepError(f"its log cannot be written: {error}") from error

    def exit_code(self) -> int:
        """Raises what the watching met, or TimeoutError when the engine reports no end of what it was told to stop."""
        if self._error is not None:
            raise self._error
        if self._exit_code is None:
            raise TimeoutError(f"no end of container {self._container[:12]} within {_ENGINE_SECONDS} s of its stop")
        return self._exit_code
