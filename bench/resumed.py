"""A run of 140 cells that has finished, resumed: how long that takes, and whether anything starts."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from orchestrator.executors.container_engine import connect

PROJECT = Path(__file__).resolve().parent.parent
MATRIX = [sys.executable, str(PROJECT / "run_matrix.py")]
MODELS, BENCHMARKS, ROWS = 7, 20, 6


@dataclass(frozen=True, kw_only=True)
class Resumed:
    """What was measured; `seconds` is the median of whole commands, Python's start included."""

    cells: int
    seconds: float
    containers: int
    first_seconds: float


def measure(times: int = 5) -> Resumed:
    """Run the matrix once, then `resume` it. Raises RuntimeError where a command does not end well."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as name:
        folder = Path(name)
        outputs = ["--output-root", str(folder / "outputs"), "--json"]
        first, said = _seconds(["--registry", str(_registry(folder)), "--limit", "4", "--executor", "docker", *outputs])
        run = json.loads(said)["run"]
        begun = int(time.time())
        resumed = [_seconds(["resume", run, *outputs])[0] for _ in range(times)]
        cells = len(list((folder / "outputs" / run / "records").glob("*/*.json")))
        return Resumed(
            cells=cells,
            seconds=statistics.median(resumed),
            containers=_started(run, begun, int(time.time()) + 1),
            first_seconds=first,
        )


def _seconds(words: list[str]) -> tuple[float, str]:
    begun = time.monotonic()
    done = subprocess.run([*MATRIX, *words], cwd=PROJECT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"python run_matrix.py {' '.join(words)} ended with {done.returncode}: {done.stderr}")
    return time.monotonic() - begun, done.stdout


def _started(run: str, since: int, until: int) -> int:
    """Containers of that run that the engine was asked to start meanwhile; other runs may be at work beside."""
    api = connect("docker").api
    filters = {"type": "container", "event": "start", "label": f"org.lockstep.run={run}"}
    try:
        return sum(1 for _ in api.events(since=since, until=until, filters=filters))
    finally:
        api.close()


def _registry(folder: Path) -> Path:
    """Models that need no weights, each with a content of its own, on copies of the demo's data."""
    header, *rows = (PROJECT / "demo" / "data" / "demo_pope.tsv").read_text(encoding="utf-8").splitlines()
    own = [row for row in rows if len(row.rsplit("\t", 1)[1]) > 64]  # with a picture, not a reference to another's
    benchmarks = {}
    for number in range(BENCHMARKS):
        path = folder / f"B{number}.tsv"
        path.write_text("\n".join([header, *own[number % 7 : number % 7 + ROWS]]) + "\n", encoding="utf-8")
        metric = {"id": "f1", "unit": "%", "max": 100}
        benchmarks[f"B{number}"] = {"dataset": "POPE", "type": "yes_no", "file": path.name, "metric": metric}
    content = {
        "include": {str(PROJECT / "registry.yaml"): ["environments"]},
        "models": {
            f"m{number}": {
                "kind": "random-choice",
                "environments": ["tf-4.37"],
                "default": True,
                "max_new_tokens": 8 + number,
            }
            for number in range(MODELS)
        },
        "benchmarks": benchmarks,
        "run": {"shm_gb": 0.1, "tmp_gb": 1},
    }
    path = folder / "registry.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
