"""Measures what the documents claim and prints one table: `make bench` (needs an engine and the demo's images).

Tiny models on a CPU: what is measured is the orchestrator and the loads that it saves, not inference.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
MATRIX = [sys.executable, str(PROJECT / "run_matrix.py")]
BENCH = ["--registry", "bench/registry.yaml", "--executor", "docker", "--limit", "2"]
MODEL = "bench-llava"


def cpu_seconds(command: list[str], times: int = 7) -> float:
    """Median CPU seconds (user and system) of a command."""
    measured = []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        measured.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(measured)


def matrix(output: Path, *words: str) -> tuple[float, dict[str, object]]:
    """Wall seconds of a matrix run, and its JSON."""
    begun = time.monotonic()
    command = [*MATRIX, *BENCH, "--json", "--output-root", str(output), *words]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    return time.monotonic() - begun, json.loads(done.stdout)


def loads(output: Path, run: str) -> tuple[int, int]:
    """Model loads and cells of a run."""
    events = [
        json.loads(line)
        for file in (output / run).glob("*/*/events.jsonl")
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    return sum(event.get("phase") == "loaded" for event in events), len(
        list((output / run / "records").glob("*/*.json"))
    )


def overhead(times: int = 5) -> tuple[float, float]:
    """Median wall seconds: bare `docker run` of the runner's start, and a job through the executor doing the same."""
    from bench.start import bare_and_job

    pairs = [bare_and_job() for _ in range(times)]
    return statistics.median(bare for bare, _ in pairs), statistics.median(job for _, job in pairs)


def main() -> None:
    rows = [
        ("`--help`, CPU seconds (< 0.2)", f"{cpu_seconds([*MATRIX, '--help']):.2f}"),
        ("`--plan` of registry.yaml, CPU seconds (< 0.5)", f"{cpu_seconds([*MATRIX, '--limit', '10', '--plan']):.2f}"),
    ]
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
        output = Path(folder)
        names = [f"Bench{i}" for i in range(1, 9)]
        matrix(output, "--models", MODEL, "--benchmarks", names[0])  # indexes and page cache warm for both ways
        matrix(output, "--models", MODEL)
        together, result = matrix(output, "--models", MODEL)
        apart = sum(matrix(output, "--models", MODEL, "--benchmarks", name)[0] for name in names)
        loaded, cells = loads(output, str(result["run"]))
    rows.append(("8 benchmarks in one job, wall seconds", f"{together:.1f}"))
    rows.append(("a container and a load per cell, wall seconds", f"{apart:.1f}"))
    rows.append(("ratio (≥ 5)", f"{apart / together:.1f}"))
    rows.append((f"model loads for {cells} cells", str(loaded)))
    bare, job = overhead()
    rows.append(("bare `docker run` of the runner, wall seconds", f"{bare:.2f}"))
    rows.append(("the same as a job, start to outcome", f"{job:.2f}"))
    rows.append(("more (≤ 0.3)", f"{job - bare:.2f}"))
    print(f"{os.cpu_count()} cores, tiny models on a CPU\n\n| measured | |\n|---|---|")
    print("\n".join(f"| {what} | {value} |" for what, value in rows))


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    main()
