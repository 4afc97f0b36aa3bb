"""VLMEvalKit hands answers from step to step through .xlsx files, which changes them before they are scored.

Written and read again, `=1+1` is 0, `NA`, `None` and an empty text are missing, control characters are escapes, and
text beyond 32,767 characters is cut.
Inside `lossless(folder)` pandas keeps the tables themselves under their file names;
the files are still written in `folder`, as views for people, where a cut says so.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lockstep_runner import kit

_CELL = 32767  # characters, Excel's own limit
_PLAIN = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}


class Tables:
    """Tables by the absolute name of the file that they were to be written to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        self._kept: dict[str, Any] = {}
        import pandas as pd

        self._write = pd.DataFrame.to_excel

    def keep(self, frame: Any, path: Any, **options: Any) -> None:
        name = os.path.abspath(path)
        self._kept[name] = frame.copy(deep=True)
        if Path(name).resolve().parent == self._folder:
            self._view(frame, name)

    def give(self, path: Any, **options: Any) -> Any:
        """Raises FileNotFoundError as pandas does: a table that nobody wrote here is of another run."""
        name = os.path.abspath(path)
        if name not in self._kept:
            raise FileNotFoundError(f"{name}: no table of this name was written in this evaluation")
        return self._kept[name].copy(deep=True)

    def ending(self, end: str) -> Any:
        """The one table whose file name ends so."""
        found = [name for name in self._kept if name.endswith(end)]
        if len(found) != 1:
            raise FileNotFoundError(f"the scorer left {len(found)} tables *{end}, expected one")
        return self.give(found[0])

    def _view(self, frame: Any, name: str) -> None:
        import pandas as pd

        shown = frame.copy()
        for column in shown.select_dtypes(object).columns:
            shown[column] = [_cell(value) for value in shown[column]]
        with pd.ExcelWriter(name, engine="xlsxwriter", engine_kwargs={"options": _PLAIN}) as writer:
            self._write(shown, writer, index=False)


def _cell(value: Any) -> Any:
    """What a sheet can hold of a value: no lone surrogates, and a note where text is cut."""
    if not isinstance(value, str):
        return value
    value = value.encode("utf-8", "replace").decode("utf-8")
    if len(value) <= _CELL:
        return value
    note = f" … [cut here; all {len(value)} characters are in predictions.jsonl]"
    return value[: _CELL - len(note)] + note


@contextlib.contextmanager
def lossless(folder: Path) -> Iterator[Tables]:
    """pandas' `to_excel` and `read_excel` keep and give tables instead of files."""
    import pandas as pd

    tables = Tables(folder)
    keep = lambda frame, path, **options: tables.keep(frame, path, **options)  # noqa: E731  (becomes a method)
    with kit.replaced(pd.DataFrame, "to_excel", keep), kit.replaced(pd, "read_excel", tables.give):
        yield tables
