"""What one call of `run` or `plan` knows before anything starts: registry, selection, inputs, hardware. Starts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orchestrator.gpus import Gpu
from orchestrator.identity import FileHashes
from orchestrator.indexes import Indexes
from orchestrator.inputs import Located, locate_data, locate_model
from orchestrator.job import BenchmarkIndex
from orchestrator.layout import ProjectLayout
from orchestrator.matrix import Selection
from orchestrator.plan import Facts, Limit, Plan, make_plan
from orchestrator.registry.load import Registry


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for on the command line. Terms are those of `matrix.select`."""

    registry: Path
    outputs: Path
    models: tuple[str, ...] = ()
    benchmarks: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    suite: str | None = None
    limit: int | None = None
    limit_mode: str = "spread"
    executor: str = "auto"
    unsandboxed: bool = False
    gpus: str | None = None
    jobs: int | None = None
    seed: int = 0
    timeout_seconds: float | None = None
    fail_fast: bool = False
    command: str = ""


@dataclass(frozen=True, kw_only=True)
class Session:
    """Everything that is known of a request on this machine."""

    request: Request
    layout: ProjectLayout
    environ: Mapping[str, str]
    registry: Registry
    selection: Selection
    limit: Limit
    hashes: FileHashes
    indexes: Indexes
    models: Mapping[str, Located]
    data: Mapping[str, Located]
    gpus: tuple[Gpu, ...]
    isolated: bool  # whether jobs will run in containers, as far as known

    def known_indexes(self) -> dict[str, BenchmarkIndex]:
        return self.indexes.read(self.registry, self.data)

    def plan(self, known: Mapping[str, BenchmarkIndex]) -> Plan:
        """The plan with the indexes that are known so far."""
        facts = Facts(models=self.models, data=self.data, indexes=known, hardware=self._unfit)
        return make_plan(self.registry, self.selection.cells, named=self.selection.named, facts=facts, limit=self.limit)

    def _unfit(self, model: str, environment: str) -> str | None:
        """Why this machine cannot hold the model in this environment: what it needs and what is here."""
        from orchestrator.gpus import unfit

        entry, where = self.registry.models[model], self.registry.environments[environment]
        if not self.isolated and not self.request.unsandboxed and (entry.trust_remote_code or entry.pickled_weights):
            what = "its repository's own code" if entry.trust_remote_code else "pickled weights, which can run code"
            return f"{what} would run outside of a container: say --unsandboxed to allow it, or use containers"
        if entry.gpu.count == 0:
            return None
        return unfit(
            self.gpus,
            count=entry.gpu.count,
            vram_gb=entry.gpu.vram_gb,
            min_driver=where.min_driver,
            gpu_arch=where.gpu_arch,
        )


def open_session(request: Request, environ: Mapping[str, str]) -> Session:
    """Load, select and locate. Raises RegistryError, UsageError or NothingSelected with all mistakes at once."""
    from orchestrator.gpus import inventory
    from orchestrator.matrix import select
    from orchestrator.registry.load import load

    layout = ProjectLayout(outputs=request.outputs)
    registry = load(request.registry)
    selection = select(
        registry,
        models=list(request.models),
        benchmarks=list(request.benchmarks),
        environments=list(request.environments),
        suite=request.suite,
    )
    hashes = FileHashes(layout.hashes)
    benchmarks = tuple(dict.fromkeys(c.benchmark for c in selection.cells))
    models = dict.fromkeys(c.model for c in selection.cells)
    found = {
        name: locate_model(name, registry, environ=environ, hashes=hashes, benchmark_names=benchmarks)
        for name in models
    }
    data = {name: locate_data(name, registry, environ=environ, hashes=hashes) for name in benchmarks}
    indexes = Indexes(layout, hashes)
    hashes.save()
    count = request.limit if request.limit is not None else selection.limit
    return Session(
        request=request,
        layout=layout,
        environ=environ,
        registry=registry,
        selection=selection,
        limit=Limit(count=count, mode="head" if request.limit_mode == "head" else "spread"),
        hashes=hashes,
        indexes=indexes,
        models=found,
        data=data,
        gpus=tuple(inventory(environ=environ, chosen=request.gpus)),
        isolated=request.executor != "venv",
    )
