"""What a job costs over bare `docker run`: the same image, the same command, in turn."""

from __future__ import annotations

import subprocess
import tempfile
import time
from pathlib import Path

from orchestrator.backing import open_executor, spec_of
from orchestrator.executors.protocol import Job, Mount, Needs, Status, Stop
from orchestrator.images import require
from orchestrator.layout import ProjectLayout
from orchestrator.registry.load import load

ENVIRONMENT = "tf-4.37"


def bare_and_job() -> tuple[float, float]:
    """Wall seconds of both, `--help` of the runner being all that runs inside."""
    layout = ProjectLayout()
    registry = load(layout.root / "demo" / "registry.yaml")
    image = require(spec_of(registry, layout, ENVIRONMENT), layout=layout)
    begun = time.monotonic()
    subprocess.run(["docker", "run", "--rm", "--network", "none", image.id, "--help"], check=True, capture_output=True)
    bare = time.monotonic() - begun
    executor = open_executor("docker", registry, layout, unsandboxed=False, say=lambda line: None)
    executor.prepare(ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
        root = Path(folder)
        (root / "out").mkdir()
        (root / "work").mkdir()
        (root / "work" / "job.json").write_text("{}")
        job = Job(
            key="bench",
            run_id="bench",
            environment=ENVIRONMENT,
            folder=root,
            mounts=(Mount(source=root / "out", target="work/out", writable=True),),
            arguments=("--help",),
        )
        begun = time.monotonic()
        outcome = executor.run(job, needs=Needs(), stop=Stop(), log=lambda line: None)
        took = time.monotonic() - begun
        executor.close()
    assert outcome.status is Status.OK, outcome
    return bare, took
