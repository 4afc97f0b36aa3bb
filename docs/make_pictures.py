"""Draws README's pictures from a run of the demo: `python docs/make_pictures.py [RUN]` after `make demo`."""

from __future__ import annotations

import io
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from rich.console import Console  # noqa: E402
from rich.markdown import Markdown  # noqa: E402

from orchestrator.records.files import read_run  # noqa: E402
from orchestrator.reports import report  # noqa: E402
from orchestrator.reports.table import score_table  # noqa: E402
from orchestrator.runs.folders import find_run  # noqa: E402
from orchestrator.terminal.display import report_files  # noqa: E402
from orchestrator.terminal.scores import print_scores  # noqa: E402

WIDTH = 110


def recorder() -> Console:
    return Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor")


def main() -> None:
    """Write docs/terminal.svg and docs/report.svg."""
    run = find_run(PROJECT / "outputs", sys.argv[1] if len(sys.argv) > 1 else "latest")
    paths = report.build(run)
    console = recorder()
    console.print("$ python run_matrix.py --registry demo/registry.yaml --models all --limit 10", style="bold")
    table = score_table(paths.records, read_run(run))
    print_scores(console, table, files=report_files(run, paths), notes=[*paths.problems, *paths.notes])
    console.save_svg(str(PROJECT / "docs" / "terminal.svg"), title="make demo", font_aspect_ratio=0.61)
    console = recorder()
    text = paths.markdown.read_text(encoding="utf-8")
    console.print(Markdown("\n".join(text.splitlines()[:60])))
    console.save_svg(str(PROJECT / "docs" / "report.svg"), title="EVALUATION_REPORT.md", font_aspect_ratio=0.61)


if __name__ == "__main__":
    main()
