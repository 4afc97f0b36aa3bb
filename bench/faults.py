"""Injects every fault that the tests know and prints what was lost: `make bench-faults` (needs an engine and the environments).

The numbers are those of the tests: each case with the marker `fault` injects one, and says through `tally` what it cost.
`bench/faults.py faults`, `bad` or `resume` makes a part of the table.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
FAULTS = "fault and not heavy"
TOLD = ("samples", "lost", "twice", "faults")
RANDOM, EXAMPLES = "tests/unit/test_properties.py", "100"  # of each property; other ones each time
# What is harmed, by the names of test files; a file that is not here comes under its docstring.
HARMED = {
    "the orchestrator, with -9, in each phase; two runs at once": ("test_killed", "test_executors_adopt"),
    "runs: Ctrl-C once and twice, SIGTERM, SIGHUP, a deadline, killed jobs": ("test_signals", "test_faults_stops"),
    "a container: killed, removed, out of memory, hung, deaf, chattering, its image gone": ("test_executors_faults",),
    "the engine: stopped, killed, restarted": ("test_executors_second_engine",),
    "the model: out of memory, a lost GPU, hangs, an end without a word": ("test_runner_faults", "test_faults_models"),
    "the machine: its clock set back, its engine lost, its image removed, its GPUs held by others": (
        "test_faults_machine",
    ),
    "disks and folders: full, read-only, not there": ("test_bad_input", "test_faults_disks"),
    "files of a run: torn, doubled, foreign, of another format": ("test_reuse_runs",),
    "downloads: cut, killed, refused for a while": ("test_fetch_hub", "test_fetch_refusals"),
}
# Of each file all cases, but those that injects a fault instead. A case may hold many mistakes: a registry full of them is one.
BAD = {
    "command lines, registries, settings": (
        "tests/unit/test_registry_mistakes.py",
        "tests/unit/test_registry_load.py",
        "tests/unit/test_hostile_files.py",
        "tests/integration/test_bad_input.py",
    ),
    "models, data and what they leave": (
        "tests/integration/test_bad_run.py",
        "tests/unit/test_validity_faults.py",
        "tests/unit/test_validity_failed.py",
        "tests/unit/test_recheck.py",
        "tests/unit/test_untrusted.py",
        "tests/unit/test_records.py",
    ),
    "hubs, archives, downloads": ("tests/integration/test_fetch_refusals.py", "tests/unit/test_fetch_url.py"),
}


Rows = list[tuple[str, str]]


@dataclass(kw_only=True)
class Count:
    """Test cases that were tried, and what they told of samples."""

    tried: int = 0
    bad: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    examples: int = 0

    @property
    def injected(self) -> int:
        """One a case, where the file's cases do not look at one run together and say how many it had."""
        return self.told["faults"] or self.tried

    @property
    def survived(self) -> int:
        return max(0, self.injected - len(self.bad))


def run_tests(*words: str, **environ: str) -> ET.Element:
    """One run of pytest, as its own report tells it. Raises RuntimeError where it could not even begin."""
    with tempfile.TemporaryDirectory(prefix="lockstep-bench-") as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", f"--junitxml={report}", *words]
        done = subprocess.run(command, cwd=PROJECT, stdout=sys.stderr, check=False, env=os.environ | environ)
        if done.returncode not in (0, 1):
            raise RuntimeError(f"pytest {' '.join(words)} ended with {done.returncode}")
        return ET.parse(report).getroot()


def count(report: ET.Element) -> dict[str, Count]:
    """By test file."""
    found: dict[str, Count] = {}
    for case in report.iter("testcase"):
        one = found.setdefault(case.get("file", ""), Count())
        skipped = case.find("skipped")
        if skipped is not None:
            one.skipped[skipped.get("message", "")] += 1
            continue
        one.tried += 1
        if case.find("failure") is not None or case.find("error") is not None:
            one.bad.append(case.get("name", ""))
        for told in case.iter("property"):
            if told.get("name") in TOLD:
                one.told[told.get("name", "")] += int(told.get("value", "0"))
    for told in report.iter("property"):
        name = told.get("name", "")
        if name.startswith("hypothesis-statistics-"):
            file = name.removeprefix("hypothesis-statistics-").split("::")[0]
            found[file].examples += _examples(base64.b64decode(told.get("value", "")).decode())
    return found


def _examples(statistics: str) -> int:
    return sum(int(number) for number in re.findall(r"(\d+) passing", statistics))


def _title(file: str) -> str:
    """What is harmed there; else the first words of the file's docstring, up to a colon or the end of the sentence."""
    for title, names in HARMED.items():
        if Path(file).stem in names:
            return title
    text = (PROJECT / file).read_text(encoding="utf-8").split('"""')[1]
    return re.split(r":\s|\.\s|\.$", text.strip(), maxsplit=1)[0]


def _by_title(counts: dict[str, Count]) -> Rows:
    injected = Counter[str]()
    for file, one in counts.items():
        injected[_title(file)] += one.injected
    titles = sorted(injected, key=lambda title: [*HARMED, title].index(title))
    return [(f"– {title}", str(injected[title])) for title in titles if injected[title]]


def _sum(counts: Iterable[Count]) -> Count:
    total = Count()
    for one in counts:
        total.tried += one.tried
        total.bad += one.bad
        total.skipped += one.skipped
        total.told += one.told
        total.examples += one.examples
    return total


def faults() -> tuple[Rows, list[str]]:
    """The table's rows, and the cases that were not survived."""
    counts = count(run_tests("tests/integration", "-m", FAULTS))
    total = _sum(counts.values())
    rows = [
        ("**faults injected**", f"**{sum(one.injected for one in counts.values())}**"),
        *_by_title(counts),
        (
            "**survived**: what the test wants to be shown is shown, all else is kept",
            f"**{sum(one.survived for one in counts.values())}**",
        ),
        ("samples followed through a fault, one by one", str(total.told["samples"])),
        ("**samples lost**", f"**{total.told['lost']}**"),
        ("**duplicate executions**: asked again though the answer was there", f"**{total.told['twice']}**"),
    ]
    rows += [(f"not tried here: {why}", str(number)) for why, number in total.skipped.items()]
    random = count(run_tests(RANDOM, LOCKSTEP_EXAMPLES=EXAMPLES))[RANDOM]
    rows.append(
        (f"random histories of faults (hypothesis, fake executor), {len(random.bad)} failed", str(random.examples))
    )
    return rows, [*total.bad, *random.bad]


def bad() -> tuple[Rows, list[str]]:
    """The table's rows, and the cases that were not answered as they should be."""
    counts = count(run_tests(*(file for files in BAD.values() for file in files), "-m", "not fault and not heavy"))
    total = _sum(counts.values())
    rows = [
        ("**bad inputs tried**", f"**{total.tried}**"),
        *((f"– {title}", str(sum(counts[f].tried for f in files if f in counts))) for title, files in BAD.items()),
        ("answered as they should be", str(total.tried - len(total.bad))),
    ]
    return rows, total.bad


def resume() -> tuple[Rows, list[str]]:
    """The table's rows."""
    from bench.resumed import measure

    found = measure()
    rows = [
        (f"`resume` of a finished run of {found.cells} cells, wall seconds (< 1)", f"{found.seconds:.2f}"),
        ("containers that it started", str(found.containers)),
    ]
    return rows, []


PARTS: dict[str, Callable[[], tuple[Rows, list[str]]]] = {"faults": faults, "bad": bad, "resume": resume}


def main(words: list[str]) -> None:
    """Prints the parts that are named, or all. Exits 1 where a fault was not survived or a bad input not answered."""
    parts = [PARTS[name]() for name in words or PARTS]
    print("| measured | |\n|---|---|")
    print("\n".join(f"| {what} | {value} |" for rows, _ in parts for what, value in rows))
    failed = [name for _, names in parts for name in names]
    if failed:
        sys.exit("not as it should be: " + ", ".join(failed))


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    main(sys.argv[1:])
