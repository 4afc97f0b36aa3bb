"""Captions against references: corpus BLEU-4 by sacrebleu, whose signature says how. Needs no VLMEvalKit."""

from __future__ import annotations

from lockstep_runner.scoring import Answers, Found


def score(answers: Answers) -> Found:
    """`bleu`, 0…100, of the whole sample set: a unit has no score of its own (corpus BLEU is no mean)."""
    from sacrebleu.metrics import BLEU

    ids = [name for names in answers.units.values() for name in names]
    references = [answers.benchmark.references(name) for name in ids]
    most = max(len(found) for found in references)
    streams = [[found[place] if place < len(found) else None for found in references] for place in range(most)]
    bleu = BLEU()
    value = bleu.corpus_score([answers.predictions[name] for name in ids], streams).score
    units = {
        unit: (None, " | ".join(answers.predictions[name].strip() for name in names), False)
        for unit, names in answers.units.items()
    }
    return Found({"bleu": float(value)}, dict(units), signature=str(bleu.get_signature()))
