"""From an ended job to records: every cell judged from its artefacts, with its identity, conditions and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from orchestrator.executors.protocol import Outcome, Status
from orchestrator.identity import prediction_identity, samples_sha256, score_identity
from orchestrator.jobs import CellStages
from orchestrator.layout import ProjectLayout, RunLayout, slug
from orchestrator.matrix import Cell
from orchestrator.plan import PlannedCell
from orchestrator.record_files import write_record
from orchestrator.records import Identity, Record, StageRef, repro_command
from orchestrator.session import Session
from orchestrator.validity import CellEvidence, CellResult, StageEvidence, judge_cell


@dataclass(frozen=True, kw_only=True)
class Gathering:
    """What all cells of a run share. `described` is what the executor said of each environment."""

    session: Session
    run: RunLayout
    isolated: bool
    described: Mapping[str, Mapping[str, object]]

    def finished(self, place: CellStages, outcomes: Mapping[str, Outcome], *, started: str, finished: str) -> Record:
        """Judge a cell whose jobs have ended and write its record."""
        result = judge_cell(self._evidence(place, outcomes))
        record = self._record(place.planned, result.status, result.reason).model_copy(
            update={
                **_counts(result),
                **self._provenance(place, result),
                "metrics": list(result.metrics),
                "where": result.where,
                "stages": [self._ref(place, "infer"), self._ref(place, "evaluate")],
                "conditions": dict(outcomes[place.infer_job].conditions),
                "started": started,
                "finished": finished,
            }
        )
        write_record(self.run, record)
        return record

    def unstarted(self, planned: PlannedCell, status: Status, reason: str) -> Record:
        """Write the record of a cell that no job took: skipped, or its benchmark could not be opened."""
        record = self._record(planned, status, reason)
        write_record(self.run, record)
        return record

    def _evidence(self, place: CellStages, outcomes: Mapping[str, Outcome]) -> CellEvidence:
        cell, chosen = place.planned.cell, place.planned.chosen
        assert chosen is not None
        return CellEvidence(
            root=self.run.root,
            model=cell.model,
            benchmark=cell.benchmark,
            infer=self._stage(place, "infer", outcomes),
            evaluate=self._stage(place, "evaluate", outcomes),
            ids=frozenset(chosen.ids),
            groups=frozenset(chosen.groups),
            whole=chosen.whole,
            metrics=self.session.registry.benchmarks[cell.benchmark].all_metrics,
        )

    def _stage(
        self, place: CellStages, kind: Literal["infer", "evaluate"], outcomes: Mapping[str, Outcome]
    ) -> StageEvidence:
        environment = self._environment(place, kind)
        job = place.infer_job if kind == "infer" else place.evaluate_job
        folder = place.infer if kind == "infer" else place.evaluate
        return StageEvidence(
            id=f"{slug(place.planned.cell.benchmark)}/{kind}",
            folder=folder,
            out=folder.parent.parent,
            environment=environment,
            transformers=self.session.registry.environments[environment].transformers,
            outcome=outcomes[job],
            log=self.run.job_log(job),
            environment_digest=_text(self.described.get(environment, {}).get("environment_digest")),
        )

    def _environment(self, place: CellStages, kind: Literal["infer", "evaluate"]) -> str:
        if kind == "evaluate" and place.evaluate_job != place.infer_job:
            return place.evaluate_job.rsplit("+", 1)[1]
        return place.planned.cell.environment

    def _ref(self, place: CellStages, kind: Literal["infer", "evaluate"]) -> StageRef:
        folder = place.infer if kind == "infer" else place.evaluate
        return StageRef(
            id=f"{slug(place.planned.cell.benchmark)}/{kind}",
            kind=kind,
            path=folder.relative_to(self.run.root).as_posix(),
            environment=self._environment(place, kind),
        )

    def _record(self, planned: PlannedCell, status: Status, reason: str) -> Record:
        cell, registry = planned.cell, self.session.registry
        entry, located = registry.models[cell.model], self.session.models[cell.model]
        outputs = self.run.root.parent
        several = len({c.environment for c in self.session.selection.cells if c.model == cell.model}) > 1
        return Record(
            run_id=self.run.root.name,
            model=cell.model,
            kind=entry.resolved_kind,
            of=entry.of,
            revision=located.revision,
            pinned=located.pinned,
            benchmark=cell.benchmark,
            environment=cell.environment,
            status=status,
            reason=reason,
            limit=self.session.limit.count,
            limit_mode=self.session.limit.mode,
            samples_sha256=samples_sha256(planned.chosen.ids) if planned.chosen else None,
            isolated=self.isolated,
            command=repro_command(
                cell.model,
                cell.benchmark,
                self.run.root.name,
                cell.environment if several else None,
                None if outputs == ProjectLayout().outputs else str(outputs),
            ),
        )

    def _provenance(self, place: CellStages, result: CellResult) -> dict[str, object]:
        infer, evaluate = result.infer, result.evaluate
        described = self.described.get(place.planned.cell.environment, {})
        values: dict[str, object] = {
            "image": _text(described.get("image")),
            "image_tag": _text(described.get("image_tag")),
            "lock": _text(described.get("lock")),
        }
        if infer:
            values |= {
                "transformers": infer.versions.transformers,
                "versions": infer.versions,
                "adapter": infer.adapter,
                "device": infer.device,
                "gpu": ", ".join(infer.gpus) or None,
                "load_seconds": infer.load_seconds,
                "peak_memory_gb": infer.peak_memory_gb,
                "seconds": infer.seconds + (evaluate.seconds if evaluate else 0),
                "identity": self._identity(place.planned, result),
            }
        if evaluate:
            values |= {"judge": evaluate.judge, "scorer": evaluate.scorer, "signature": evaluate.signature}
        return values

    def _identity(self, planned: PlannedCell, result: CellResult) -> Identity:
        """The identities, from what was read inside; unresolved parts leave them None."""
        cell, infer, evaluate = planned.cell, result.infer, result.evaluate
        environment = infer.versions.environment_digest if infer else None
        if infer is None or environment is None or infer.adapter is None or planned.chosen is None:
            return Identity()
        prediction = prediction_identity(
            environment_digest=environment,
            adapter=infer.adapter,
            model=self._model_identity(cell),
            dataset_sha256=str(self.session.data[cell.benchmark].identity["data"]),
            generation=self._generation(cell),
        )
        if evaluate is None or evaluate.scorer is None:
            return Identity(prediction=prediction)
        score = score_identity(
            prediction=prediction,
            samples=samples_sha256(planned.chosen.ids),
            scorer=evaluate.scorer,
            judge=evaluate.judge or "",
        )
        return Identity(prediction=prediction, score=score)

    def _model_identity(self, cell: Cell) -> dict[str, object]:
        """Content alone: the same weights under another name are the same model. Answers count per benchmark."""
        identity = dict(self.session.models[cell.model].identity)
        answers = identity.get("answers")
        if isinstance(answers, dict):
            identity["answers"] = answers.get(cell.benchmark)
        return identity | {"blind": self.session.registry.models[cell.model].resolved_kind == "blind"}

    def _generation(self, cell: Cell) -> dict[str, object]:
        entry = self.session.registry.models[cell.model]
        return {
            "max_new_tokens": entry.max_new_tokens,
            "seed": self.session.request.seed,
            "settings": dict(entry.settings),
        }


def _counts(result: CellResult) -> dict[str, int | None]:
    return {name: getattr(result, name) for name in ("n", "n_expected", "n_rows", "n_failed", "n_unparsed")}


def _text(value: object) -> str | None:
    return None if value is None else str(value)
