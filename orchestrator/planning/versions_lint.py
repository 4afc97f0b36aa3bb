"""`schemas/versions.json`: of which code each declared version of the runner is, so that no answer changes unsaid.

For each adapter, and for scoring, it holds the version and a SHA-256 of every part of the runner that decides its
answers (or scores). The hash is of the syntax tree without docstrings, comments and VERSION lines, the same under every
Python. Parts are found by imports: a new module that an adapter imports is a part of it.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args

from orchestrator.files import replace_file
from orchestrator.job import ModelSpec
from orchestrator.layout import PROJECT
from orchestrator.planning.versions import RUNNER, adapter_module, declared

FILE = PROJECT / "schemas" / "versions.json"
COMMAND = "python run_matrix.py schemas"
ACCEPT = f"{COMMAND} --accept"
Entries = dict[str, dict[str, Any]]

# what all adapters share of modules that are about other things too; else whole modules count
_ASKING = (
    *(f"adapters/__init__.py:{name}" for name in ("settings_of", "asked", "text_of", "images_of")),
    "infer.py:Inference._one",
    "infer.py:Inference._text",
    "machine.py:seed_all",
    "benchmark.py",
)
_SCORING = ("scoring.py", "evaluate.py:evaluate", "benchmark.py")
# modules that carry files, failures and progress, and parts of which are named above
_NEUTRAL = frozenset(
    f"{name}.py"
    for name in ("__init__", "adapters/__init__", "contract", "failures", "files", "infer", "machine", "evaluate")
)


def entries(runner: Path = RUNNER) -> Entries:
    """What the file should hold: `adapter hf` → its version and its parts' hashes."""
    found: Entries = {}
    for kind in get_args(ModelSpec.model_fields["adapter"].annotation):
        module = adapter_module(kind, runner)
        found[f"adapter {kind}"] = _entry(runner, module, (f"adapters/{module.name}", *_ASKING))
    found["scoring"] = _entry(runner, runner / "scoring.py", _SCORING)
    return found


def _entry(runner: Path, module: Path, seeds: tuple[str, ...]) -> dict[str, Any]:
    parts = dict.fromkeys(seeds)
    todo = [seed for seed in seeds if ":" not in seed]
    while todo:
        for name in _imported(runner, runner / todo.pop()):
            if name not in parts and name not in _NEUTRAL:
                parts[name] = None
                todo.append(name)
    return {"version": declared(module), "parts": {part: _hash(runner, part) for part in sorted(parts)}}


def _imported(runner: Path, module: Path) -> Iterator[str]:
    """The runner's own modules that a module imports anywhere in it, as file names."""
    for name in _names(module.read_text(encoding="utf-8")):
        _, mine, rest = name.partition(f"{runner.name}.")
        path = rest.replace(".", "/")
        if mine:
            yield from (p for p in (f"{path}.py", f"{path}/__init__.py") if (runner / p).is_file())


@cache
def _names(source: str) -> tuple[str, ...]:
    """Of modules, and of what may be modules, in import statements."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def _hash(runner: Path, part: str) -> str:
    """Of a module, or of the function or class that stands after its colon. Raises ValueError where that is gone."""
    name, _, inside = part.partition(":")
    found = _digest((runner / name).read_text(encoding="utf-8"), inside)
    if found is None:
        raise ValueError(
            f"runner/lockstep_runner/{name} has no {inside}; orchestrator/planning/versions_lint.py names it"
        )
    return found


@cache  # adapters share most of their parts
def _digest(source: str, inside: str) -> str | None:
    node: ast.AST = ast.parse(source)
    for wanted in inside.split(".") if inside else ():
        children = [child for child in ast.iter_child_nodes(node) if getattr(child, "name", None) == wanted]
        if not children:
            return None
        node = children[0]
    return hashlib.sha256(repr(_plain(node)).encode()).hexdigest()


def _plain(value: object) -> object:
    """A tree of tuples. Empty fields are left out: which there are changes from Python to Python."""
    if isinstance(value, list):
        return tuple(_plain(item) for item in value if not _is_version(item))
    if not isinstance(value, ast.AST):
        return value
    fields = {name: field for name, field in ast.iter_fields(value) if field is not None and field != []}
    if isinstance(value, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
        value
    ):
        fields["body"] = value.body[1:]
    return (type(value).__name__, *((name, _plain(field)) for name, field in fields.items()))


def _is_version(node: object) -> bool:
    return isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "VERSION" for t in node.targets)


def unsaid(known: Mapping[str, Any], now: Entries) -> list[str]:
    """One line for each part that changed under a version that did not."""
    lines = []
    for name, entry in now.items():
        before = known.get(name)
        if before is None or before["version"] != entry["version"]:
            continue
        old, new = before["parts"], entry["parts"]
        for part in sorted(part for part in old.keys() | new.keys() if old.get(part) != new.get(part)):
            lines.append(_line(name, part, entry["version"]))
    return lines


def _line(name: str, part: str, version: str) -> str:
    own = "scoring.py" if name == "scoring" else f"adapters/{adapter_module(name.split()[1]).name}"
    shown = f"{RUNNER.relative_to(PROJECT).as_posix()}/{part.replace(':', ', ')}"
    whose = "its VERSION" if part == own else f"the VERSION of {own}"
    remedy = f"raise it, then {COMMAND} (or {ACCEPT} where nothing that it gives can change)"
    return f'{name}: {shown} changed and {whose} is still "{version}": {remedy}'


def check(file: Path = FILE, runner: Path = RUNNER) -> list[str]:
    """One line for each mistake; empty where the file is right."""
    known = _read(file)
    if known is None:
        return [f"schemas/{file.name} is missing: {COMMAND}"]
    now = entries(runner)
    return unsaid(known, now) or ([] if known == now else [f"schemas/{file.name} is stale: {COMMAND}"])


def write(file: Path = FILE, runner: Path = RUNNER, *, accept: bool = False) -> tuple[bool, list[str]]:
    """Whether it was written, and why it was refused. `accept`: someone says that no answer and no score changes."""
    known, now = _read(file), entries(runner)
    refused = [] if accept or known is None else unsaid(known, now)
    if refused or known == now:
        return False, refused
    text = json.dumps({"$comment": f"generated by `{COMMAND}`; do not edit", **now}, indent=1) + "\n"
    replace_file(file, text.encode())
    return True, []


def _read(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return {name: entry for name, entry in known.items() if name != "$comment"}
