"""One container's output and end, followed by threads of their own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from orchestrator.errors import LockstepError
from orchestrator.executors.container_engine import Engine, NotFound, hang_up
from orchestrator.executors.ending import Ended
from orchestrator.executors.lines import Lines
from orchestrator.executors.pulse import Pulse

_ENGINE_SECONDS = 60  # how long an engine may take to report an end that it was asked for
_UNSEEN = 255  # docker's exit code of a container that ended while the engine itself was down


class Watch:
    """Reads a container's output, and waits for its exit code; rings `bell` when there is no more to wait for.

    It is attached before the start, so that not one line is lost. One that is `adopted` started long ago: its output
    comes from the engine's own log of it, from the start as far as that is kept, and then as it is written.
    """

    def __init__(
        self, engine: Engine, container: str, lines: Lines, bell: threading.Event, *, adopted: bool = False
    ) -> None:
        self.over = False
        self._engine = engine
        self.container = container
        self._lines = lines
        self._bell = bell
        self._exit_code: int | None = None
        self._error: Exception | None = None
        if adopted:
            self._output = engine.api.logs(container, stdout=True, stderr=True, stream=True, follow=True)
        else:
            self._output = engine.api.attach(container, stdout=True, stderr=True, stream=True, logs=False)
        self._reader = threading.Thread(target=self._read, name=f"read {container[:12]}", daemon=True)
        self._waiter = threading.Thread(target=self._wait, name=f"wait {container[:12]}", daemon=True)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        hang_up(self._output)

    def start(self) -> None:
        """To be called once the container has started."""
        self._reader.start()
        self._waiter.start()

    def join(self) -> None:
        self._waiter.join(_ENGINE_SECONDS)

    def exit_code(self) -> int:
        """Raises what the watching met, or TimeoutError when the engine reports no end of what it was told to stop."""
        if self._error is not None:
            raise self._error
        if self._exit_code is None:
            raise TimeoutError(f"no end of container {self.container[:12]} within {_ENGINE_SECONDS} s of its stop")
        return self._exit_code

    def _read(self) -> None:
        try:
            for chunk in self._output:
                self._log(chunk)
            self._lines.close()
        except Exception as error:  # the job's own thread raises it, in exit_code()
            self._broken(error)

    def _wait(self) -> None:
        try:
            self._exit_code = int(self._engine.api.wait(self.container, timeout=None)["StatusCode"])
            self._reader.join(_ENGINE_SECONDS)  # an engine that never ends a log must not hold the job
        except Exception as error:
            self._broken(error)
        finally:
            self.over = True
            self._bell.set()

    def _broken(self, error: Exception) -> None:
        self._error = self._error or error
        self.over = True
        self._bell.set()

    def _log(self, chunk: bytes) -> None:
        try:
            self._lines.feed(chunk)
        except OSError as error:
            raise LockstepError(f"its log cannot be written: {error}") from error


def await_end(engine: Engine, watch: Watch, pulse: Pulse, bell: threading.Event, grace: int) -> Ended:
    """Until the container has ended by itself, or was stopped (killed after `grace` seconds) by the bell or a limit.

    Raises what the watching met, one of BROKEN among them.
    """
    limit = pulse.wait(bell)
    stopped = False
    if not watch.over:
        stopped = limit is None
        engine.api.stop(watch.container, timeout=grace)
        watch.join()
    exit_code = watch.exit_code()
    try:
        state = engine.api.inspect_container(watch.container)["State"]
    except NotFound:
        # removed while it ran, which is a kill: podman 4 says exit code 0 of such a container
        return Ended(exit_code=exit_code or 128 + signal.SIGKILL, stopped=stopped, limit=limit)
    return replace(ended_of(state, engine.facts.kind), exit_code=exit_code, stopped=stopped, limit=limit)


def ended_of(state: Mapping[str, Any], kind: str) -> Ended:
    """What an engine of this kind tells of a container that has ended."""
    code = int(state["ExitCode"])
    oom = bool(state.get("OOMKilled"))
    return Ended(exit_code=code, oom_killed=oom, oom_untold=kind == "podman", lost=kind == "docker" and code == _UNSEEN)
