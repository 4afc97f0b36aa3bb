"""Evaluate one model on one file without an orchestrator: index, choose, infer, evaluate, a small table.

The usual job folder is made in a scratch folder out of links, so that nothing of the user's is written but `--out`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from lockstep_runner import machine
from lockstep_runner.adapters import ADAPTERS
from lockstep_runner.contract import JOB_SCHEMA, OUT, ContractError, Job, Model, Stage, read_job, slug
from lockstep_runner.files import DataError, dumps, read_json, write_json
from lockstep_runner.stopping import Stopping

_BASELINES = ("random-choice", "most-frequent")
_EPILOG = """\
MODEL is a folder with a checkpoint, the name of a repository in a hub cache (HF_HUB_CACHE, or HF_HOME/hub, or
~/.cache/huggingface/hub; nothing is downloaded), a model name of VLMEvalKit, random-choice or most-frequent.

example, in the folder that holds both: docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/here" IMAGE \\
             --model checkpoints/step4000 --data MMBench_DEV_EN.tsv --limit 10
"""


def main(argv: Sequence[str], stopping: Stopping) -> int:
    """Parse, run, print. Exit code 0 where every sample was answered and scored, 1 where not, 2 for a wrong call."""
    options = _parser().parse_args(["--help"] if "--help" in argv else argv)  # also where an option wants a value
    try:
        data = _existing(options.data, "--data")
        model, links = _model(options)
        out = _made(options.out.absolute() / slug(model.name))
        links += [(data, f"cache/data/{data.name}"), (out, str(OUT))]
        with tempfile.TemporaryDirectory(prefix="lockstep-job-") as root:
            _link(Path(root), links)
            os.chdir(root)
            machine.prepare_environment(Path(root))
            try:
                _look_for(model)
                return _evaluate(model, options, f"cache/data/{data.name}", out, stopping)
            finally:
                os.chdir(out)
    except (ContractError, DataError) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or options.out}: {error.strerror}; choose another folder with --out", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    """argparse, but a wrong call is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{message}; all options: --model --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m lockstep_runner", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="folder, repository or name; see below")
    parser.add_argument(
        "--data", required=True, type=Path, metavar="FILE.tsv", help="a benchmark in VLMEvalKit's format"
    )
    parser.add_argument("--dataset", help="VLMEvalKit's name for the benchmark (default: the file's name without .tsv)")
    parser.add_argument("--limit", type=_positive, metavar="N", help="scored units (default: all)")
    parser.add_argument("--limit-mode", choices=("spread", "head"), default="spread", help="head: the first N rows")
    parser.add_argument("--out", type=Path, default=Path("outputs"), metavar="DIR", help="default: outputs")
    parser.add_argument("--adapter", choices=tuple(ADAPTERS), help="default: what MODEL looks like")
    parser.add_argument("--revision", help="of a repository in the hub cache (default: main)")
    parser.add_argument("--answers", type=Path, metavar="FILE.jsonl", help="for --adapter replay")
    parser.add_argument("--trust-remote-code", action="store_true", help="run code that the repository brings")
    parser.add_argument("--blind", action="store_true", help="withhold the images")
    parser.add_argument("--prompt", help="template with {question} and the image token, for --adapter hf")
    parser.add_argument("--max-new-tokens", type=_positive, default=128, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _model(options: argparse.Namespace) -> tuple[Model, list[tuple[Path, str]]]:
    """The model, and the links that make its files appear under `cache/`."""
    name: str = options.model.rstrip("/")
    folder = Path(name)
    adapter = options.adapter or _guess(name, folder)
    fields: dict[str, Any] = {}
    links: list[tuple[Path, str]] = []
    if folder.is_dir() and adapter not in _BASELINES:
        if adapter == "hf" and not (folder / "config.json").is_file():
            raise DataError(f"--model {name}: the folder has no config.json; name the folder of a checkpoint")
        name = folder.resolve().name
        fields["path"] = f"cache/models/{slug(name)}"
        links.append((folder.resolve(), fields["path"]))
    elif adapter in ("hf", "remote-code"):
        if not (_hub() / f"models--{name.replace('/', '--')}").is_dir():
            raise DataError(
                f"--model {name}: no such folder, and no such repository in the hub cache {_hub()}; mount the folder, "
                "or the cache (-v CACHE:/hub -e HF_HUB_CACHE=/hub), and write the path that it has inside"
            )
        fields.update(repo=name, revision=options.revision)
    elif adapter == "vlmevalkit":
        fields["harness_name"] = name
    if adapter == "replay":
        answers = _existing(options.answers or Path("--answers"), "--answers")
        fields["answers"] = f"cache/{answers.name}"
        links.append((answers, fields["answers"]))
    hub = _hub()
    if hub.is_dir():
        links.append((hub, "cache/hub"))
    if options.prompt is not None:
        fields["settings"] = {"prompt": options.prompt.replace("\\n", "\n")}
    common = {key: getattr(options, key) for key in ("blind", "trust_remote_code", "max_new_tokens", "seed")}
    return Model(name=name, adapter=adapter, **common, **fields), links


def _guess(name: str, folder: Path) -> str:
    if name in _BASELINES:
        return name
    return "hf" if folder.is_dir() or "/" in name else "vlmevalkit"


def _hub() -> Path:
    home = Path(os.environ.get("HF_HOME", Path(os.path.expanduser("~"), ".cache", "huggingface")))
    return Path(os.environ.get("HF_HUB_CACHE", home / "hub")).absolute()


def _look_for(model: Model) -> None:
    """A name that VLMEvalKit does not have is said before anything else is done."""
    if model.adapter == "vlmevalkit":
        from lockstep_runner.adapters.vlmevalkit import wrapper_of

        try:
            wrapper_of(model)
        except ContractError as error:
            said = str(error).partition(": ")[2]
            raise DataError(f"--model {model.name}: no such folder, and {said}") from error


def _made(out: Path) -> Path:
    """The folder, made and writable. In a container it should be a mounted one: else it is gone with the container."""
    out.mkdir(parents=True, exist_ok=True)
    if not os.access(out, os.W_OK):
        raise DataError(f"{out}: uid {os.getuid()} may not write there; choose another folder with --out, or --user")
    inside = any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv"))
    if inside and out.stat().st_dev == Path("/").stat().st_dev:
        print(f"warning: {out} is in no mounted folder, so it is gone with the container", file=sys.stderr)
    return out


def _existing(path: Path, option: str) -> Path:
    if not path.is_file():
        raise DataError(f"{option}: no such file: {path}")
    return path.absolute()


def _link(root: Path, links: list[tuple[Path, str]]) -> None:
    for source, target in links:
        place = root / target
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source)


def _evaluate(model: Model, options: argparse.Namespace, data: str, out: Path, stopping: Stopping) -> int:
    from lockstep_runner.job import run_job
    from lockstep_runner.quick_spec import quick_spec

    spec = quick_spec(options.dataset, data)
    index = Stage(kind="index", id=f"{spec['name']}/index", benchmark=spec)
    code = run_job(_job(model, [index]), stopping)
    result = read_json(index.folder / "result.json") if code == 0 else {"status": "failed", "failure": None}
    if result["status"] != "ok":
        return code or 1
    samples = _chosen(read_json(index.folder / "index.json"), options.limit, options.limit_mode)
    whole = len(samples) == result["n_rows"]
    infer = Stage(kind="infer", id=f"{spec['name']}/infer", benchmark=spec, samples=samples)
    predictions = str(infer.folder)
    score = Stage("evaluate", f"{spec['name']}/evaluate", spec, samples, predictions, whole)
    job = _job(model, [infer, score])
    _refuse_another(out, model, spec)
    _write_job(job)
    code = run_job(read_job(Path("work/job.json")), stopping)
    return code or _said(read_json(score.folder / "result.json"), out)


def _job(model: Model, stages: list[Stage]) -> Job:
    versions = machine.versions()
    name = f"transformers {versions['transformers']}"
    return Job("standalone", f"{model.name}@standalone", name, str(versions["transformers"]), tuple(stages), model)


def _chosen(index: dict[str, Any], limit: int | None, mode: str) -> tuple[str, ...]:
    """Sample ids in the file's order: of the first `limit` units in the index's order, or (head) the first rows."""
    rows = index["samples"]
    if mode == "head":
        return tuple(row["id"] for row in rows[:limit])
    groups = set(index["order"][:limit])
    return tuple(row["id"] for row in rows if row["group"] in groups)


def _refuse_another(out: Path, model: Model, spec: dict[str, Any]) -> None:
    """Answers in the folder are taken over, so they must be of this model, these settings and this file."""
    path = out / spec["name"] / "evaluation.json"
    this = json.loads(dumps({"model": dataclasses.asdict(model), "benchmark": spec}))  # as the file has it
    if path.is_file() and read_json(path) != this:
        raise DataError(f"{path.parent}: holds another evaluation of {model.name}; choose another folder with --out")
    write_json(path, this)


def _write_job(job: Job) -> None:
    stages = []
    for stage in job.stages:
        kept = dataclasses.asdict(stage)
        if stage.kind == "infer":
            del kept["predictions"], kept["whole"]
        stages.append(kept)
    said = {**dataclasses.asdict(job), "schema_version": JOB_SCHEMA, "stages": stages}
    Path("work/job.json").write_text(json.dumps(said), encoding="utf-8")


def _said(result: dict[str, Any], out: Path) -> int:
    """Print the scores and where everything is."""
    if result["status"] != "ok":
        print(f"failed: {result['failure']['message']}", file=sys.stderr)
        return 1
    print(f"\n{result['model']} on {result['benchmark']}, transformers {result['versions']['transformers']}")
    for metric in result["metrics"]:
        print(f"  {metric['id']:<28} {metric['value']:>10.4f}   n={metric['n']}")
    print(f"  failed samples: {result['n_failed']} of {result['n_rows']}, unreadable answers: {result['n_unparsed']}")
    for path in sorted(out.glob("*_results.*")):
        print(path)
    print(out / result["benchmark"])
    return 1 if result["n_failed"] else 0
