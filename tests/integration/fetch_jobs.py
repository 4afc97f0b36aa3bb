"""Fetch jobs of the real runner, with the real hub client of an environment, against the server beside the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.fetch.files import FetchedItem, FetchFile, FetchRepo, FetchResult, FetchUrl, Marker
from orchestrator.layout import PROJECT
from tests.hub_server import HubServer

REPO = "org/tiny"
WEIGHTS = bytes(range(256)) * 16 * 1024  # 4 MiB: some pieces of what the client writes at once
FILES: Mapping[str, bytes] = {
    "config.json": json.dumps({"model_type": "bert", "hidden_size": 32, "num_attention_heads": 2}).encode(),
    "tokenizer_config.json": b"{}",
    "modeling_tiny.py": b"raise SystemExit('code of a repository ran')\n",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"pickled" * 1000,
    "mm_projector.bin": b"no other format has it",
}


@dataclass
class Fetching:
    """A job's root. `run` starts the runner as the executors do and returns what it left; nothing shows the token."""

    root: Path
    hub: HubServer
    python: Path = Path(sys.executable)
    token: str | None = None
    environ: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    attempts: int = 3
    output: str = ""

    def start(self, *items: FetchRepo | FetchUrl) -> subprocess.Popen[str]:
        work = self.root / "work"
        (work / "out").mkdir(parents=True, exist_ok=True)
        (self.root / "cache").mkdir(exist_ok=True)
        file = FetchFile(
            run_id="r", key="fetch", environment="e", items=list(items), attempts=self.attempts, wait_seconds=0.01
        )
        (work / "job.json").write_text(file.model_dump_json())
        secrets = self.secrets | ({} if self.token is None else {"HF_TOKEN": self.token})
        for name, value in secrets.items():
            (work / "secrets").mkdir(exist_ok=True)
            (work / "secrets" / name).write_text(value + "\n")
        # as the executors' `variables()`: offline by default, and nothing of the caller's
        surroundings = {"PATH": os.environ["PATH"], "HOME": str(self.root), "TMPDIR": str(self.root / "tmp")}
        (self.root / "tmp").mkdir(exist_ok=True)
        offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        known = {"HF_ENDPOINT": self.hub.endpoint, "PYTHONPATH": str(PROJECT / "runner")}
        return subprocess.Popen(
            [str(self.python), "-m", "lockstep_runner", "fetch", "work/job.json"],
            cwd=self.root,
            env={**surroundings, **offline, **known, **self.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *items: FetchRepo | FetchUrl) -> list[FetchedItem]:
        process = self.start(*items)
        self.output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, self.output
        self.shows_no_token()
        return FetchResult.model_validate_json((self.root / "work" / "out" / "fetched.json").read_text()).items

    def one(self, item: FetchRepo | FetchUrl) -> FetchedItem:
        (found,) = self.run(item)
        assert found.status == "ok", found.failure
        return found

    def refused(self, item: FetchRepo | FetchUrl) -> tuple[str, str]:
        """The failure's kind and its line, which is one, and the job's own last word."""
        (found,) = self.run(item)
        assert found.failure is not None, found
        assert "\n" not in found.failure.message
        assert "python run_matrix.py" in found.failure.message or found.failure.kind == "archive"
        assert "Traceback" not in self.output
        assert found.failure.message in self.output
        return found.failure.kind, found.failure.message

    def shows_no_token(self) -> None:
        assert self.hub.token not in self.output
        for path in self.root.rglob("*"):
            if path.is_file() and path.parent.name != "secrets":
                assert self.hub.token.encode() not in path.read_bytes(), path

    @property
    def folder(self) -> Path:
        return self.root / "cache" / "hub" / "models--org--tiny"

    def snapshot(self, commit: str) -> Path:
        return self.folder / "snapshots" / commit

    def marker(self, commit: str) -> Marker:
        return Marker.model_validate_json((self.folder / "lockstep" / f"{commit}.json").read_text())


def tiny(**how: object) -> FetchRepo:
    return FetchRepo.model_validate({"id": "m", "repo": REPO, **how})
