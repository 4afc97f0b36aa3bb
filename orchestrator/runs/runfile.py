"""run.json: what a run was asked for, with what, and on which machine."""

from __future__ import annotations

import dataclasses
import os
import platform

from pydantic import JsonValue

from orchestrator import __version__
from orchestrator.planning.session import Request
from orchestrator.records.files import read_run
from orchestrator.records.record import RunFile
from orchestrator.runs.going import Going
from orchestrator.runs.log import now

# what is this call's own, and not the run's
_NOT_KEPT = ("registry", "outputs", "command", "wait", "offline")


def run_file(going: Going) -> RunFile:
    """The file as the run begins; a resumed run's with this machine and these images in it, else as it was."""
    session = going.session
    images: dict[str, dict[str, JsonValue]] = {
        name: {key: _plain(value) for key, value in told.items()} for name, told in going.described.items()
    }
    before = read_run(going.run)
    if before is not None:
        if going.executor is None:
            return before
        return before.model_copy(update={"images": before.images | images, "host": host(going), "finished": None})
    cells = session.selection.cells
    return RunFile(
        run_id=going.run.root.name,
        command=session.request.command,
        started=now().isoformat(timespec="seconds"),
        lockstep=__version__,
        executor=going.executor.name if going.executor else session.request.executor,
        limit=session.limit.count,
        limit_mode=session.limit.mode,
        seed=session.request.seed,
        fresh=session.fresh,
        request=request_content(session.request),
        models=list(dict.fromkeys(c.model for c in cells)),
        environments=list(dict.fromkeys(c.environment for c in cells)),
        benchmarks=list(dict.fromkeys(c.benchmark for c in cells)),
        images=images,
        host=host(going),
        registry=session.registry.resolved(),
        notes=list(session.selection.notes),
    )


def host(going: Going) -> dict[str, JsonValue]:
    """This machine, as far as a number may depend on it."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    engine = going.executor.engine if going.executor else {}
    return {
        "name": platform.node(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "memory_gb": round(pages / 1e9, 1),
        "engine": {key: _plain(value) for key, value in engine.items()},
        "gpus": [f"{gpu.name} (driver {gpu.driver})" for gpu in going.session.gpus],
    }


def _plain(value: object) -> JsonValue:
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)


def request_content(request: Request) -> dict[str, JsonValue]:
    """What `resume` needs to ask for the same again."""
    content = {name: value for name, value in dataclasses.asdict(request).items() if name not in _NOT_KEPT}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in content.items()}
