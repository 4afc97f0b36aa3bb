"""`python -m lockstep_runner`: a job by its file, a quick evaluation by its options, or a check of the environment."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from lockstep_runner import __version__
from lockstep_runner.contract import OUT, ContractError, read_job
from lockstep_runner.failures import failure
from lockstep_runner.files import write_json
from lockstep_runner.machine import prepare_environment
from lockstep_runner.stopping import Stopping

USAGE = f"""\
lockstep_runner {__version__}: evaluates a vision-language model inside its own environment.

  python -m lockstep_runner work/job.json
      run a job that the orchestrator wrote; files as in the package's docstring

  python -m lockstep_runner --model MODEL --data FILE.tsv [--limit N] [--out DIR] …
      stand alone: one model, one benchmark file, a small table; all options: --model --help

  python -m lockstep_runner check …
      compare the installed distributions with a lock; all options: check --help
"""


def main(argv: Sequence[str]) -> int:
    """Dispatch; returns the exit code of the package's contract."""
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if argv else 2
    if argv[0] == "--version":
        print(__version__)
        return 0
    if argv[0] == "check":
        from lockstep_runner import check

        return int(check.main(argv[1:]))
    stopping = Stopping()
    stopping.install()
    try:
        if argv[0].startswith("-"):
            from lockstep_runner import standalone

            return standalone.main(argv, stopping)
        return _job(Path(argv[0]), stopping)
    except ContractError as error:
        print(error, file=sys.stderr)
        if OUT.is_dir():
            write_json(OUT / "error.json", failure(error, phase="start", kind="data"))
        return 2


def _job(path: Path, stopping: Stopping) -> int:
    job = read_job(path)
    prepare_environment(Path.cwd())
    from lockstep_runner.job import run_job

    return run_job(job, stopping)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
