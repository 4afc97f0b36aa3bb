"""A model's own code that is on no package index: folders under `cache/`, on the import path while the model is there."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from lockstep_runner.contract import ContractError


class SourcesOnPath:
    """Puts folders first on `sys.path`, and on PYTHONPATH for processes that the model starts."""

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = [os.path.abspath(folder) for folder in folders]
        self._before = os.environ.get("PYTHONPATH")

    def put(self) -> None:
        """Raises ContractError naming a folder that is not there."""
        for folder in self._folders:
            if not os.path.isdir(folder):
                raise ContractError(f"no folder {os.path.relpath(folder)}, which the model's `sources` need")
        sys.path[:0] = self._folders
        if self._folders:
            os.environ["PYTHONPATH"] = os.pathsep.join([*self._folders, *filter(None, [self._before])])

    def remove(self) -> None:
        """As it was: the scorers must find none of it."""
        sys.path[:] = [entry for entry in sys.path if entry not in self._folders]
        if self._before is not None:
            os.environ["PYTHONPATH"] = self._before
        elif self._folders:
            os.environ.pop("PYTHONPATH", None)
