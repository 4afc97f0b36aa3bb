"""The command lines of `status`, `logs` and `cancel`."""

from __future__ import annotations

import argparse
from typing import TypeVar

_P = TypeVar("_P", bound=argparse.ArgumentParser)


def add_parsers(verbs: argparse._SubParsersAction[_P]) -> None:
    """Adds them to the verbs of the command line."""
    status = verbs.add_parser("status", help="what runs now, for how long and on which GPU; what waits for what")
    status.add_argument("run", nargs="?", default=None, help="run id or its unique start (default: all at work)")
    status.add_argument("--json", action="store_true", help="print JSON on standard output, nothing else")
    logs = verbs.add_parser("logs", help="what a model's jobs printed, also while they run")
    logs.add_argument("model")
    logs.add_argument("--environment", help="only of this environment")
    logs.add_argument("--run", default="latest", help="run id or its unique start (default: latest)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the jobs have ended, or Ctrl-C")
    logs.add_argument("-n", "--lines", type=_count, metavar="N", help="only the last N lines of each")
    cancel = verbs.add_parser("cancel", help="stop a run that is at work, or what a killed one left at work")
    cancel.add_argument("run", help="run id or its unique start, or latest")
    for parser in (status, logs, cancel):
        parser.add_argument("--output-root", default="outputs", help="where runs are kept (default: outputs)")


def _count(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)
