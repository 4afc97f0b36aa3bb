"""pydantic's findings as lines that a user understands: `registry.yaml:17: models.llava.enviroments: unknown field`."""

from __future__ import annotations

import re
import types
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.errors import did_you_mean
from orchestrator.registry.schema import RegistryFile
from orchestrator.registry.source import Document, Path_


def described(document: Document, error: ValidationError) -> list[str]:
    """One line per mistake, in the order of the file."""
    found = (_explain(document, detail) for detail in error.errors(include_url=False))
    return list(dict.fromkeys(document.at(where, what) for where, what in found))


def in_file_order(problems: Iterable[str]) -> list[str]:
    """Problems by line, the files in the order in which they first appear."""
    files: dict[str, int] = {}

    def place(problem: str) -> tuple[int, int]:
        match = re.match(r"(.*?):(\d+): ", problem)
        file, line = (match[1], int(match[2])) if match else ("", 0)
        return files.setdefault(file, len(files)), line

    return sorted(problems, key=place)


def without(data: Mapping[str, Any], bad: set[Path_]) -> dict[str, Any]:
    """A copy of a registry file's data that lacks the places in `bad`: (section,), (section, name[, field])."""
    kept: dict[str, Any] = {}
    for section, content in data.items():
        if (section,) in bad:
            continue
        entries = dict(enumerate(content)) if isinstance(content, list) else content
        if isinstance(entries, dict):
            left = {
                name: _trimmed(entry, {loc[2] for loc in bad if loc[:2] == (section, name) and len(loc) > 2})
                for name, entry in entries.items()
                if (section, name) not in bad
            }
            kept[section] = list(left.values()) if isinstance(content, list) else left
        else:
            kept[section] = content
    return kept


def _trimmed(entry: object, fields: set[Hashable]) -> object:
    return {k: v for k, v in entry.items() if k not in fields} if isinstance(entry, dict) else entry


def _explain(document: Document, detail: ErrorDetails) -> tuple[Path_, str]:
    where: Path_ = detail["loc"]
    kind = detail["type"]
    if kind == "missing":
        return where[:-1], f"the field {where[-1]!r} is missing"
    if kind == "extra_forbidden":
        return where, f"unknown field{_near(where)}"
    if where and where[-1] == "[key]":
        return where[:-1], f"not a name that can be used: {detail['msg']}"
    in_file = where
    while in_file and in_file not in document.lines:
        in_file = in_file[:-1]
    if in_file != where and kind.endswith("_type"):  # one of several allowed types: pydantic lists each
        return in_file, f"{_brief(detail['input'])} is none of: text, a number, true, false"
    return where, _plain(detail)


def _plain(detail: ErrorDetails) -> str:
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context.get("error", detail["msg"]))
    if kind == "literal_error":
        allowed = _quoted(str(context["expected"]))
        return f"{_brief(given)} is not one of {', '.join(allowed)}{did_you_mean(str(given), allowed)}"
    if kind == "string_type":
        numeric = isinstance(given, (int, float))
        return f"{_brief(given)} is not text" + (f'; put it in quotes: "{given}"' if numeric else "")
    if kind in ("list_type", "tuple_type"):
        return f"{_brief(given)} is not a list; write [{given}]" if isinstance(given, str) else "should be a list"
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return f"{_brief(given)} is not a mapping of fields"
    message = detail["msg"].replace("Input should", "should")
    return f"{_brief(given)}: {message[0].lower()}{message[1:]}"


def _quoted(expected: str) -> list[str]:
    return [part.strip().strip("'") for part in expected.replace(" or ", ",").split(",") if part.strip()]


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _near(where: Path_) -> str:
    """`; did you mean 'environments'?`, or which fields there are."""
    known = fields_at(where[:-1])
    near = did_you_mean(str(where[-1]), known)
    return near or (f"; known: {', '.join(known)}" if known else "")


def fields_at(where: Path_) -> list[str]:
    """The names of the fields that the schema knows at a path, in its order."""
    shape: Any = RegistryFile
    for part in where:
        shape = _step(shape, part)
    return list(shape.model_fields) if isinstance(shape, type) and issubclass(shape, BaseModel) else []


def _step(shape: Any, part: object) -> Any:
    if isinstance(shape, type) and issubclass(shape, BaseModel):
        found = shape.model_fields.get(str(part))
        return _bare(found.annotation) if found else None
    arguments = get_args(shape)
    return _bare(arguments[-1]) if get_origin(shape) in (dict, list) and arguments else None


def _bare(annotation: Any) -> Any:
    """Without `Annotated` and `| None`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _bare(arguments[0])
    if origin in (Union, types.UnionType):
        return next((_bare(one) for one in _some(arguments)), None)
    return annotation


def _some(arguments: Sequence[Any]) -> list[Any]:
    return [one for one in arguments if one is not type(None)]
