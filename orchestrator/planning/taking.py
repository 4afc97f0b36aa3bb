"""Answers and finished cells of earlier runs, taken out of their files and put where a job or a report will find them."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from orchestrator.files import replace_file
from orchestrator.job import Conditions, ResultFile
from orchestrator.layout import RunLayout
from orchestrator.planning.identity import Identity
from orchestrator.records.known import Done
from orchestrator.records.samples import read_conditions
from orchestrator.untrusted import LARGE, SMALL, NotPlain, is_plain, parse_json, read_plain

PREDICTIONS, CONDITIONS, RESULT, SCORES = "predictions.jsonl", "conditions.json", "result.json", "scores.jsonl"
ARTEFACTS = {"infer": (PREDICTIONS, CONDITIONS, RESULT), "evaluate": (SCORES, RESULT)}


@dataclass(kw_only=True)
class Taken:
    """Lines of predictions.jsonl as they stand there, by sample, with the conditions that they name."""

    lines: dict[str, str] = field(default_factory=dict)
    conditions: dict[str, Conditions] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)


def take(found: Iterable[Done], identity: Identity, ids: Sequence[str]) -> Taken:
    """Valid answers for `ids`, of each sample the first that is found. Raises nothing: what cannot be read is not taken."""
    taken = Taken()
    wanted = set(ids)
    for done in found:
        if len(taken.lines) == len(wanted):
            break
        folder = done.folder("infer")
        if folder is not None:
            with suppress(OSError, ValueError):
                _take_from(done, folder, identity, wanted, taken)
    return taken


def is_changed(done: Done) -> bool:
    """Whether the answers are others than those that its record was judged by: then none of them proves anything."""
    folder = done.folder("infer")
    said = (
        done.record.artefacts.get(f"{folder.relative_to(done.run.root).as_posix()}/{PREDICTIONS}") if folder else None
    )
    if folder is None or said is None:
        return False
    try:
        return sha256(read_plain(folder / PREDICTIONS, limit=LARGE, below=done.run.root)).hexdigest() != said
    except (OSError, ValueError):
        return True


def _take_from(done: Done, folder: Path, identity: Identity, wanted: set[str], taken: Taken) -> None:
    run = done.run
    if is_changed(done):
        return
    conditions = {
        key: value
        for key, value in read_conditions(folder, below=run.root).items()
        if value.versions.environment_digest == identity.parts["environment"]
        and value.adapter == identity.parts["adapter"]
    }
    content = read_plain(folder / PREDICTIONS, limit=LARGE, below=run.root)
    pieces = [(line, piece) for piece in content.split(b"\n")[:-1] if (line := _valid(piece))]  # the rest is torn
    contradicted = _contradicted(pieces)
    for line, piece in pieces:
        sample, key = str(line["id"]), str(line.get("conditions"))
        if sample in wanted and sample not in taken.lines and key in conditions and sample not in contradicted:
            taken.lines[sample] = piece.decode("utf-8")
            taken.conditions[key] = conditions[key]
            taken.runs[run.root.name] += 1


def _contradicted(pieces: Sequence[tuple[dict[str, object], bytes]]) -> set[str]:
    """Samples that stand there with two different answers: nobody knows which is the model's."""
    first: dict[str, object] = {}
    return {
        str(line["id"]) for line, _ in pieces if first.setdefault(str(line["id"]), line["answer"]) != line["answer"]
    }


def _valid(piece: bytes) -> dict[str, object] | None:
    """A line with an answer; failed samples are asked again."""
    try:
        line = parse_json(piece)
    except ValueError:
        return None
    if not isinstance(line, dict) or line.get("error") is not None:
        return None
    return line if isinstance(line.get("id"), str) and isinstance(line.get("answer"), str) else None


def seed(folder: Path, taken: Taken) -> None:
    """Put answers where a job will find them: it asks only for what is missing. Raises OSError."""
    if not taken.lines and not os.path.lexists(folder / PREDICTIONS):
        return
    content = "".join(line + "\n" for line in taken.lines.values())
    replace_file(folder / PREDICTIONS, content.encode("utf-8"))
    known = {key: value.model_dump(mode="json") for key, value in taken.conditions.items()}
    replace_file(folder / CONDITIONS, json.dumps(known, indent=1).encode())


def set_aside(folder: Path) -> None:
    """Answers that were changed after they were judged: out of every job's sight, not lost. Raises OSError."""
    (folder / PREDICTIONS).replace(folder / f"{PREDICTIONS}.changed")


def copy_cell(done: Done, folders: Mapping[str, Path]) -> None:
    """A finished cell's artefacts into this run's folders, so that the run stands by itself. Raises OSError, NotPlain.

    They are not synced to the disk one by one: what a power cut takes of them, their hashes in the record will show.
    """
    for kind, names in ARTEFACTS.items():
        source = done.folder(kind)  # type: ignore[arg-type]
        if source is None:
            raise FileNotFoundError(f"{done.name} has no {kind} stage")
        shutil.rmtree(folders[kind], ignore_errors=True)
        for name in names:
            _copy(done.run, source / name, folders[kind] / name)
        for path in sorted((source / "raw").glob("*")):  # the scorer's own tables, for people
            if is_plain(path, below=done.run.root):
                with suppress(NotPlain):
                    _copy(done.run, path, folders[kind] / "raw" / path.name)


def _copy(run: RunLayout, source: Path, target: Path) -> None:
    content = read_plain(source, limit=LARGE, below=run.root)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


def answered_under(run: RunLayout, folder: Path) -> tuple[Counter[str], dict[str, Conditions]]:
    """How many answers of a stage name which conditions, and these; nothing where the files cannot be read."""
    counts: Counter[str] = Counter()
    try:
        conditions = read_conditions(folder, below=run.root)
        content = read_plain(folder / PREDICTIONS, limit=LARGE, below=run.root)
    except (OSError, ValueError):
        return counts, {}
    for piece in content.split(b"\n")[:-1]:
        line = _valid(piece)
        if line is not None and line.get("conditions") in conditions:
            counts[str(line["conditions"])] += 1
    return counts, conditions


def clear(run: RunLayout, infer: Path, evaluate: Path) -> None:
    """Take away what an earlier attempt left that did not end well, so that no verdict can rest on it. Answers stay."""
    for folder in (infer, evaluate):
        if os.path.lexists(folder / RESULT) and not result_ok(run, folder):
            (folder / RESULT).unlink()


def result_ok(run: RunLayout, folder: Path) -> bool:
    try:
        result = ResultFile.model_validate_json(read_plain(folder / RESULT, limit=SMALL, below=run.root))
    except (OSError, ValueError):
        return False
    return result.status == "ok"
