"""Taking over what earlier runs have done: answers sample by sample, or a finished cell whole. Only equal identities match."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.executors.protocol import Status
from orchestrator.files import replace_file
from orchestrator.identity import Identity
from orchestrator.job import Conditions, ResultFile
from orchestrator.known import Done, Known
from orchestrator.layout import RunLayout
from orchestrator.parts import Content, changed
from orchestrator.plan import Plan, PlannedCell, Reuse
from orchestrator.recheck import recheck
from orchestrator.samples import read_conditions
from orchestrator.untrusted import LARGE, SMALL, NotPlain, is_plain, parse_json, read_plain

PREDICTIONS, CONDITIONS, RESULT, SCORES = "predictions.jsonl", "conditions.json", "result.json", "scores.jsonl"
_ARTEFACTS = {"infer": (PREDICTIONS, CONDITIONS, RESULT), "evaluate": (SCORES, RESULT)}


@dataclass(kw_only=True)
class Taken:
    """Lines of predictions.jsonl as they stand there, by sample, with the conditions that they name."""

    lines: dict[str, str] = field(default_factory=dict)
    conditions: dict[str, Conditions] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)


def with_reuse(plan: Plan, content: Content, known: Known, *, fresh: bool, own: Known | None = None) -> Plan:
    """Every cell with its identity, what of it is there, and why it runs. `own`: the run that is resumed."""
    cells = []
    for planned in plan.cells:
        identity = content.identity(planned.cell, planned.chosen)
        seen = replace(planned, identity=identity)
        if planned.runs:
            reuse = _reuse(seen, sources(seen, known, fresh=fresh, own=own)) if planned.chosen else Reuse()
            seen = replace(seen, reuse=reuse, why=_why(replace(seen, reuse=reuse), known, own, fresh=fresh))
        cells.append(seen)
    return replace(plan, cells=tuple(cells))


def sources(planned: PlannedCell, known: Known, *, fresh: bool, own: Known | None = None) -> list[Done]:
    """Where answers of this identity may be: the resumed run itself first, then others, newest first."""
    wanted = planned.identity.prediction
    if wanted is None:
        return []
    mine = own.by_prediction.get(wanted, []) if own else []
    return [*mine, *([] if fresh else known.by_prediction.get(wanted, []))]


def _reuse(planned: PlannedCell, found: Sequence[Done]) -> Reuse:
    assert planned.chosen is not None
    whole = next((done for done in found if _is_whole(planned, done)), None)
    if whole is not None:
        return Reuse(answered=len(planned.chosen.ids), runs=(whole.name,), whole=whole.name)
    taken = take(found, planned.identity, planned.chosen.ids)
    return Reuse(answered=len(taken.lines), runs=tuple(taken.runs))


def _is_whole(planned: PlannedCell, done: Done) -> bool:
    """Whether this cell stands there finished: proven by its record, or by artefacts that nobody has judged yet."""
    if not is_same(planned, done):
        return False
    if done.record.status is Status.OK:
        return recheck(done.run, done.record).status is Status.OK
    return all(_says_ok(done, kind) for kind in _ARTEFACTS)


def is_same(planned: PlannedCell, done: Done) -> bool:
    """Whether it is this cell, on these samples; the same weights under another name have answers to share, no cells."""
    record, cell = done.record, planned.cell
    named = (record.model, record.benchmark, record.environment)
    return record.identity.score == planned.identity.score and named == (cell.model, cell.benchmark, cell.environment)


def _says_ok(done: Done, kind: str) -> bool:
    folder = done.folder(kind)  # type: ignore[arg-type]
    return folder is not None and _result_ok(done.run, folder)


def _result_ok(run: RunLayout, folder: Path) -> bool:
    try:
        result = ResultFile.model_validate_json(read_plain(folder / RESULT, limit=SMALL, below=run.root))
    except (OSError, ValueError):
        return False
    return result.status == "ok"


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
                _take_from(done.run, folder, identity, wanted, taken)
    return taken


def _take_from(run: RunLayout, folder: Path, identity: Identity, wanted: set[str], taken: Taken) -> None:
    conditions = {
        key: value
        for key, value in read_conditions(folder, below=run.root).items()
        if value.versions.environment_digest == identity.parts["environment"]
        and value.adapter == identity.parts["adapter"]
    }
    content = read_plain(folder / PREDICTIONS, limit=LARGE, below=run.root)
    for piece in content.split(b"\n")[:-1]:  # what follows the last newline is torn
        line = _valid(piece)
        if line is None or line["id"] not in wanted or line["id"] in taken.lines:
            continue
        key = str(line.get("conditions"))
        if key in conditions:
            taken.lines[line["id"]] = piece.decode("utf-8")
            taken.conditions[key] = conditions[key]
            taken.runs[run.root.name] += 1


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
    if not taken.lines:
        return
    content = "".join(line + "\n" for line in taken.lines.values())
    replace_file(folder / PREDICTIONS, content.encode("utf-8"))
    known = {key: value.model_dump(mode="json") for key, value in taken.conditions.items()}
    replace_file(folder / CONDITIONS, json.dumps(known, indent=1).encode())


def copy_cell(done: Done, folders: Mapping[str, Path]) -> None:
    """A finished cell's artefacts into this run's folders, so that the run stands by itself. Raises OSError, NotPlain.

    They are not synced to the disk one by one: what a power cut takes of them, their hashes in the record will show.
    """
    for kind, names in _ARTEFACTS.items():
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


def _why(planned: PlannedCell, known: Known, own: Known | None, *, fresh: bool) -> str:
    """Why it runs, or where it is taken from."""
    reuse, cell = planned.reuse, planned.cell
    key = (cell.model, cell.benchmark, cell.environment)
    last = next(iter([*(own.by_cell.get(key, []) if own else []), *known.by_cell.get(key, [])]), None)
    runs = ", ".join(reuse.runs[:2]) + (" …" if len(reuse.runs) > 2 else "")
    if reuse.whole:
        mine = own is not None and any(done.name == reuse.whole for done in own.by_cell.get(key, []))
        return "done" if mine else f"reused from {runs}"
    if reuse.answered:
        missing = planned.missing
        anew = changed(last.record.identity.parts, planned.identity.parts) if last else ""
        return f"{missing} to answer, {reuse.answered} from {runs}" if missing else _scored(anew, runs)
    if not {"model", "data"} <= planned.identity.parts.keys():
        return "to fetch"
    if fresh and not own:
        return "fresh"
    if last is None:
        return "new"
    if last.record.identity.prediction == planned.identity.prediction is not None:
        return f"again: {last.record.status.value} in {last.name}"
    return changed(last.record.identity.parts, planned.identity.parts) or "new"


def _scored(anew: str, runs: str) -> str:
    return f"scored anew{f' ({anew})' if anew else ''}, answers from {runs}"


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
        if os.path.lexists(folder / RESULT) and not _result_ok(run, folder):
            (folder / RESULT).unlink()
