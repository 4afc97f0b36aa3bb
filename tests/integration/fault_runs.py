"""What tests of faults share: who was asked what and how often, and a container that is killed in the middle."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from orchestrator.executors import project_name
from orchestrator.layout import PROJECT
from tests.integration.command import Run, Started, matrix
from tests.integration.small_registry import pope

ENVIRONMENT = "tf-4.37"
Docker = Callable[..., str]


def asked(run: Run, model: str) -> Counter[str]:
    """How often each sample was given to the model, by `stage sample`, over all starts of its job."""
    path = run.root / model / ENVIRONMENT / "events.jsonl"
    content = path.read_text(encoding="utf-8") if path.exists() else ""
    whole = content[: content.rfind("\n") + 1].splitlines()  # the last may be half written
    found = (json.loads(line) for line in whole)
    return Counter(f"{e['stage']} {e['sample']}" for e in found if e["phase"] == "infer" and e["sample"])


def twice(run: Run, model: str) -> list[str]:
    """Samples that were given to the model more than once; more than twice is never right."""
    counts = asked(run, model)
    assert max(counts.values(), default=0) <= 2, counts
    return [sample for sample, times in counts.items() if times > 1]


def answered(run: Run, model: str, benchmark: str) -> list[str]:
    """The ids in a cell's predictions, in their order."""
    path = run.root / model / ENVIRONMENT / benchmark / "infer" / "predictions.jsonl"
    return [line["id"] for line in run.lines(str(path))] if path.exists() else []


def cost(run: Run, in_flight: Mapping[str, int], *, samples: int) -> dict[str, int]:
    """For `tally`: what is lost of the samples that were wanted of these models, and what was asked once too often.

    `in_flight`: by model, how many had been asked but not answered when something happened.
    """
    files = [file for model in in_flight for file in (run.root / model / ENVIRONMENT).glob("*/infer/predictions.jsonl")]
    there = sum(len({line["id"] for line in run.lines(str(file))}) for file in files)
    again = sum(max(0, len(twice(run, model)) - count) for model, count in in_flight.items())
    return {"samples": samples, "lost": samples - there, "twice": again}


def statuses(run: Run) -> dict[tuple[str, str], str]:
    """By model and benchmark."""
    return {(model, name): record["status"] for (model, _, name), record in run.records.items()}


def wait_until(what: Callable[[], object], started: Started, said: str) -> None:
    """Until it is true. Fails when the matrix ends before, or after a long time."""
    while not what():
        assert started.process.poll() is None, started.process.communicate()
        assert time.monotonic() < started.limit, said
        time.sleep(0.02)


def resume(outputs: Path, *, run: str = "latest", environ: Mapping[str, str] | None = None) -> Run:
    """Go on with a run, which must then be ok in all cells but those that the registry excludes."""
    said = matrix("resume", run, "--output-root", str(outputs), "--json", environ=environ)
    assert said.code == 0, (said.err, said.out[-3000:])
    left = {cell: r["reason"] for cell, r in said.run.records.items() if r["status"] != "ok"}
    assert all(reason.startswith("excluded: ") for reason in left.values()), left
    assert said.json["problems"] == []
    return said.run


def container_of(docker: Docker, started: Started, job: str) -> str:
    """Id of the container that works on a job; empty where none does."""
    labels = {"project": project_name(PROJECT), "run": started.run.root.resolve().name, "job": job}
    filters = [f"--filter=label=org.lockstep.{name}={value}" for name, value in labels.items()]
    return docker("ps", "--quiet", "--no-trunc", *filters).strip()


def kill_in_the_middle(docker: Docker, started: Started, model: str, after: Iterable[int]) -> None:
    """`docker kill`, each time when so many samples were given to the model."""
    for count in after:

        def reached(count: int = count) -> bool:
            return sum(asked(started.run, model).values()) >= count

        wait_until(reached, started, f"{count} asked")
        docker("kill", container_of(docker, started, f"{model}@{ENVIRONMENT}"))


def many(folder: Path, rows: int) -> Path:
    """A benchmark of many rows, so that a fast model is never done before something happens."""
    header, first, *_ = pope(folder, "one").read_text(encoding="utf-8").splitlines()
    path = folder / "many.tsv"
    picture = first.split("\t", 1)[1]
    path.write_text("\n".join([header, *(f"{i}\t{picture}" for i in range(rows))]) + "\n", encoding="utf-8")
    return path
