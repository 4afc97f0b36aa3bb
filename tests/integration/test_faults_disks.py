"""Disks that are full or read-only, on the real engine: one clear line, and after it was mended `resume` goes on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.layout import PROJECT, ProjectLayout
from tests.conftest import Tally
from tests.fixtures import faulty_model
from tests.integration.command import Run, matrix, mounted, start, terminate
from tests.integration.fault_runs import answered, asked, cost, resume, statuses, twice, wait_until
from tests.integration.small_registry import benchmark, guess, pope, write

pytestmark = [pytest.mark.fault, pytest.mark.engine, pytest.mark.usefixtures("fresh_images")]
ROWS = 8


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"this machine lets nobody mount a disk that its engine sees too: {done.stderr.strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own that the engine sees too. A run wants a free GB; nothing of it is taken until it is written."""
    if os.geteuid() != 0:
        pytest.skip("a disk that the engine sees too takes root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=1100m,mode=755", "none", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def used(disk: Path) -> int:
    found = os.statvfs(disk)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def settings(**run: Any) -> dict[str, Any]:
    return {"shm_gb": 0.1, "tmp_gb": 1, "retries": {"attempts": 2, "wait_seconds": 0.1}, **run}


def test_outputs_that_fill_up_in_the_middle(
    disk: Path, tmp_path: Path, containers: Callable[[str], list[str]], request: pytest.FixtureRequest, tally: Tally
) -> None:
    """Neither the container nor the orchestrator can write any more; what they wrote is whole."""
    model = faulty_model.make(tmp_path / "m", seconds=0.3, run="said = 'x' * 9000")
    first = guess(max_new_tokens=8)
    registry = write(
        tmp_path,
        models={"first": first, "m": faulty_model.entry(model)},
        benchmarks={"A": benchmark(pope(tmp_path, "A", slice(ROWS)))},
        run=settings(),
    )
    started = start("--registry", str(registry), "--jobs", "1", outputs=disk)
    request.addfinalizer(lambda: terminate(started))
    wait_until(lambda: sum(asked(started.run, "m").values()) >= 3, started, "3 asked")
    mount("-o", f"remount,size={used(disk) + 20 * 1024}", str(disk))
    said = started.end()
    run = Run(root=started.run.root.resolve())
    assert said.code == 4, said.err
    (line,) = [line for line in said.lines if "nothing that was answered is lost" in line]
    assert "No space left on device" in line
    assert line.endswith(f"mend it, then python run_matrix.py resume latest --output-root {disk}")
    assert containers(run.root.name) == []
    kept = answered(run, "m", "A")
    assert 2 <= len(kept) < ROWS
    assert statuses(run)["first", "A"] == "ok"
    assert statuses(run)["m", "A"] == "infra"

    full = matrix("resume", "--output-root", str(disk))
    assert full.code == 4, full.err
    assert full.lines
    assert answered(run, "m", "A")[: len(kept)] == kept
    assert containers(run.root.name) == []

    mount("-o", "remount,size=1100m", str(disk))
    after = resume(disk)
    assert after.root.resolve() == run.root
    assert answered(after, "m", "A")[: len(kept)] == kept
    tally(**cost(after, {"first": 0, "m": 2}, samples=2 * ROWS))
    assert len(asked(after, "m")) == ROWS
    assert len(twice(after, "m")) <= 2
    assert (len(asked(after, "first")), twice(after, "first")) == (ROWS, [])


def test_outputs_in_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """One that is read-only from the start, and a run in one that was made so afterwards."""
    registry = write(tmp_path, models={"m": guess()}, benchmarks={"A": benchmark(pope(tmp_path, "A", slice(ROWS)))})
    words = ("--registry", str(registry), "--output-root", str(tmp_path / "out"))
    (tmp_path / "out").mkdir()
    before = mounted(tmp_path / "out", "-o ro")
    said = matrix(*words, before=before)
    assert (said.code, len(said.unusual)) == (2, 1), said.err
    assert said.unusual[0].startswith(f"{tmp_path / 'out'}: Read-only file system; choose a folder you can write")

    done = matrix(*words, "--json")
    assert done.code == 0, done.err
    lock = [
        "sh",
        "-c",
        f'mount --bind {tmp_path}/out {tmp_path}/out && mount -o remount,bind,ro {tmp_path}/out && exec "$@"',
    ]
    private = ["unshare", "--map-root-user", "--mount", *lock, "-"]
    again = matrix("resume", "--output-root", str(tmp_path / "out"), before=private)
    assert (again.code, len(again.unusual)) == (4, 1), again.err
    assert "Read-only file system" in again.unusual[0]
    assert "python run_matrix.py resume latest" in again.unusual[0]
    report = matrix("report", "--output-root", str(tmp_path / "out"), before=private)
    assert (report.code, len(report.lines)) == (4, 1), report.err
    assert "Read-only file system: mend it" in report.err
    assert len(asked(done.run, "m")) == ROWS


@pytest.mark.parametrize("options", ["-o size=16k", "-o ro"], ids=["full", "read-only"])
def test_a_cache_that_cannot_take_what_was_read(tmp_path: Path, options: str) -> None:
    """The index of a benchmark is kept in the cache, which is mounted for this command alone."""
    data = pope(tmp_path, "A", slice(ROWS))
    text = data.read_text(encoding="utf-8").replace("Please answer yes or no.", f"Yes or no? {options}")
    data.write_text(text, encoding="utf-8")  # nobody has read this one
    registry = write(tmp_path, models={"m": guess()}, benchmarks={"A": benchmark(data)})
    words = ("--registry", str(registry), "--output-root", str(tmp_path / "out"))
    indexes = ProjectLayout().indexes
    indexes.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("a mount beside an engine's own folders takes root")
    # not in a user namespace, as `mounted`: there a job's folders could not be given to the container's user
    words_of_mount = f'mount -t tmpfs {options} none {indexes} && exec "$@"'
    before = ["unshare", "--mount", "sh", "-c", words_of_mount, "-"]
    if "size" in options:
        before = [*before, "sh", "-c", f'cat /dev/zero > {indexes}/filler 2>/dev/null; exec "$@"', "-"]
    said = matrix(*words, "--json", before=before)
    assert said.code == 4, (said.err, said.out)
    assert len(said.unusual) == 1, said.unusual
    (line,) = said.unusual
    what = "No space left on device" if "size" in options else "Read-only file system"
    assert line.startswith(f"{indexes}/A-"), line
    assert f": {what}; nothing that was answered is lost: mend it, then python run_matrix.py resume latest" in line
    assert PROJECT in indexes.parents
    after = resume(tmp_path / "out")
    assert (len(asked(after, "m")), twice(after, "m")) == (ROWS, [])
