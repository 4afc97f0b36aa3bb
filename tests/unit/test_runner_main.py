"""The runner's command line, and that it stays a guest: nothing but the standard library is imported with it."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lockstep_runner import __version__, check, machine, rules, standalone
from lockstep_runner.__main__ import main
from lockstep_runner.contract import Model
from lockstep_runner.files import DataError
from lockstep_runner.quick_spec import quick_spec

from orchestrator.layout import PROJECT

IMPORT_ALL = """
import importlib, pathlib, sys
before = set(sys.modules)
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.py")):
    name = ".".join(path.relative_to(sys.argv[1]).with_suffix("").parts)
    importlib.import_module("lockstep_runner." + name if name != "__init__" else "lockstep_runner")
new = {name.split(".")[0] for name in set(sys.modules) - before}
print(sorted(new - set(sys.stdlib_module_names) - {"lockstep_runner"}))
"""


@pytest.fixture
def signals_restored() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, function in before.items():
        signal.signal(number, function)


def test_all_modules_import_the_standard_library_alone() -> None:
    package = PROJECT / "runner" / "lockstep_runner"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "runner")}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, str(package)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.usefixtures("signals_restored")
def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--model MODEL --data FILE.tsv" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["--model", "--help"])  # what the other texts say
    assert "--max-new-tokens N" in capsys.readouterr().out
    assert main([]) == 2
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.endswith(f"{__version__}\n")


def test_check_is_another_programme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "main", lambda argv: 7 if list(argv) == ["--lock", "x"] else 0)
    assert main(["check", "--lock", "x"]) == 7


@pytest.mark.usefixtures("signals_restored")
def test_a_job_that_cannot_be_read_is_one_line_and_an_error_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work" / "out").mkdir(parents=True)
    (tmp_path / "work" / "job.json").write_text('{"schema_version": 9}')
    assert main(["work/job.json"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("work/job.json: schema 9 is newer")
    assert said.count("\n") == 1
    assert json.loads((tmp_path / "work/out/error.json").read_text())["kind"] == "data"


def test_the_process_is_offline_and_writes_only_to_scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "HF_MODULES_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "USER"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "MPLCONFIGDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, "before")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "scratch"))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "mpl"))
    (tmp_path / "cache" / "hub").mkdir(parents=True)
    before = dict(os.environ)
    machine.prepare_environment(tmp_path)
    after = dict(os.environ)
    os.environ.clear()
    os.environ.update(before)
    assert after["HF_HUB_OFFLINE"] == after["TRANSFORMERS_OFFLINE"] == after["HF_DATASETS_OFFLINE"] == "1"
    assert after["HF_HUB_CACHE"] == after["HUGGINGFACE_HUB_CACHE"] == str(tmp_path / "cache" / "hub")
    assert after["HF_HOME"].startswith(str(tmp_path / "scratch"))
    assert (after["XDG_CACHE_HOME"], after["USER"]) == ("before", "lockstep")
    assert Path(after["HF_MODULES_CACHE"]).is_dir()


class FakeCuda:
    """torch.cuda of a machine with two GPUs, of which the first held 2 GB and the second 3 GB at most."""

    peaks = (2_000_000_000, 3_000_000_000)

    def __init__(self) -> None:
        self.reset: list[int] = []

    def is_available(self) -> bool:
        return True

    def device_count(self) -> int:
        return len(self.peaks)

    def max_memory_allocated(self, index: int) -> int:
        return self.peaks[index]

    def reset_peak_memory_stats(self, index: int) -> None:
        self.reset.append(index)

    def get_device_name(self, index: int) -> str:
        return f"GPU {index}"


def test_with_gpus_memory_and_names_are_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.devices() == ("cpu", [])
    assert 0 < machine.peak_memory_gb() < 100
    cuda = FakeCuda()
    torch = SimpleNamespace(cuda=cuda, version=SimpleNamespace(cuda="12.1"))
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert machine.devices() == ("cuda", ["GPU 0", "GPU 1"])
    assert machine.peak_memory_gb() == 5.0
    machine.reset_peak()
    assert cuda.reset == [0, 1]
    assert machine.versions()["cuda"] == "12.1"


def test_a_sample_is_seeded_by_itself_not_by_what_came_before() -> None:
    import random

    drawn = []
    for order in (("a", "b"), ("b", "a")):
        for name in order:
            machine.seed_all(3, name)
            drawn.append((name, random.random()))
    assert len(set(drawn)) == 2


ROWS: list[dict[str, Any]] = [{"id": f"r{i}", "group": f"g{i // 2}"} for i in range(6)]
INDEX = {"samples": ROWS, "order": ["g2", "g0", "g1"]}


@pytest.mark.parametrize(
    ("limit", "mode", "chosen"),
    [
        (1, "spread", "r4 r5"),
        (2, "spread", "r0 r1 r4 r5"),
        (None, "spread", "r0 r1 r2 r3 r4 r5"),
        (9, "spread", "r0 r1 r2 r3 r4 r5"),
        (3, "head", "r0 r1 r2"),
        (None, "head", "r0 r1 r2 r3 r4 r5"),
    ],
)
def test_a_limit_is_units_of_the_order_and_head_is_rows(limit: int | None, mode: str, chosen: str) -> None:
    assert standalone._chosen(INDEX, limit, mode) == tuple(chosen.split())


@pytest.mark.usefixtures("signals_restored")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data", "none.tsv"], "--data: no such file: none.tsv"),
        (["--adapter", "replay", "--data", "here.tsv", "--answers", "none.jsonl"], "--answers: no such file"),
        (["--data", "here.tsv"], "--model org/name: no such folder, and no such repository in the hub cache"),
        (["--data", "here.tsv", "--adapter", "hf", "--model", "."], "--model .: the folder has no config.json"),
        (["--data", "here.tsv", "--adapter", "replay", "--answers", "here.tsv", "--out", "here.tsv"], "here.tsv"),
    ],
)
def test_a_wrong_call_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.tsv").touch()
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert main(["--model", "org/name", *options]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


@pytest.mark.usefixtures("signals_restored")
def test_a_limit_below_one_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--model", "m", "--data", "x.tsv", "--limit", "0"])
    assert (
        capsys.readouterr().err
        == "argument --limit: '0' is not a whole number from 1 on; all options: --model --help\n"
    )


@pytest.mark.parametrize(
    ("kind", "by"), [("mme", "category,image_path"), ("circular", "rule:circular"), ("yes_no", None)]
)
def test_a_file_alone_is_grouped_as_the_catalogue_groups_it(
    kind: str, by: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """registry.yaml says the same of MME, MMBench and POPE."""
    monkeypatch.setattr(rules, "scored_as", lambda name: kind)
    (tmp_path / "X.tsv").write_text("index\tcategory\n", encoding="utf-8")
    spec = quick_spec(None, str(tmp_path / "X.tsv"))
    assert (spec["dataset"], spec["type"], spec["group_by"], spec["category_by"]) == ("X", kind, by, "category")


def test_a_folder_is_gone_on_with_by_the_same_call_alone(tmp_path: Path) -> None:
    model, given = Model(name="m", adapter="random-choice", sources=("a",)), {"name": "B"}
    standalone._refuse_another(tmp_path, model, given)
    standalone._refuse_another(tmp_path, model, given)
    with pytest.raises(DataError, match="holds another evaluation of m; choose another folder with --out"):
        standalone._refuse_another(tmp_path, dataclasses.replace(model, seed=1), given)
