"""Multiple choice: vanilla, circular, NaturalBench. Tables and rules of ms-vlmeval 0.0.18, dataset/image_mcq.py."""

from __future__ import annotations

from typing import Any

from lockstep_runner import kit
from lockstep_runner.scoring import Answers, Found, agree, mean, run_kit


def score(answers: Answers) -> Found:
    """`accuracy` (0…1) of questions; for circular data of those right in all rotations, and of single rotations."""
    with kit.replaced(kit.module("utils.multiple_choice"), "track_progress_rich", _in_turn):
        returned, tables = run_kit(answers)
    judged = tables.ending("_exact_matching_result.xlsx")
    hits = {str(name): float(hit) for name, hit in zip(judged["index"], judged["hit"])}
    letters = _letters(answers)
    circular = answers.benchmark.kind == "circular"
    units = {}
    for unit, ids in answers.units.items():
        read = [letters[name] for name in ids]
        value = hits[unit] if circular else mean([hits[name] for name in ids])
        units[unit] = (value, ",".join(letter or "?" for letter in read), None in read)
    name = "circular_accuracy" if circular else "accuracy"
    found = Found({name: mean(list(hits.values()))}, dict(units))
    if circular:
        found.metrics["vanilla_accuracy"] = _vanilla(answers, letters)
    _splits(found, name, returned, judged)
    return found


def _in_turn(function: Any, tasks: Any, save: str, keys: list[Any], **_: Any) -> list[Any]:
    """In place of the scorer's threads, which wait for each other in steps of 0.1 s and write all results at each."""
    results = [function(**task) for task in tasks]
    kit.module("image_base").dump(dict(zip(keys, results)), save)
    return results


def _letters(answers: Answers) -> dict[str, str | None]:
    """What VLMEvalKit reads out of each answer; None where it reads nothing."""
    choice = kit.module("utils.multiple_choice")
    frame = answers.frame()
    if "MMMU" in answers.benchmark.dataset_name:
        frame = choice.MMMU_preproc(frame)
    found = {}
    with kit.plain_surroundings(answers.raw):
        for position in range(len(frame)):
            row = frame.iloc[position]
            found[str(row["index"])] = choice.prefetch_answer(row) or None
    return found


def _vanilla(answers: Answers, letters: dict[str, str | None]) -> float:
    frame = answers.frame()
    return mean([float(letters[str(name)] == answer) for name, answer in zip(frame["index"], frame["answer"])])


def _splits(found: Found, name: str, returned: Any, judged: Any) -> None:
    """The kit's Overall is one number a split; where there is one split it is the number."""
    overall = dict(zip(returned["split"], returned["Overall"]))
    if len(overall) == 1:
        agree(found.metrics[name], float(next(iter(overall.values()))), name)
    if "split" not in judged:
        return
    for split, value in overall.items():
        if isinstance(split, str):
            found.metrics[f"{name}_{split}"] = float(value)
            found.counts[f"{name}_{split}"] = int((judged["split"] == split).sum())


def naturalbench(answers: Answers) -> Found:
    """`g_acc`, `q_acc`, `i_acc`, `acc` (0…1): two questions on two images. VLMEvalKit wants all 1,900."""
    returned, _ = run_kit(answers)
    rules = kit.module("utils.naturalbench")
    frame = answers.frame()
    found = {
        str(name): rules.extract_answer(said, kind)
        for name, said, kind in zip(frame["index"], frame["prediction"], frame["type"])
    }
    units = {}
    for unit, read in answers.of_rows(found).items():
        named = dict(zip(("q0_i0", "q0_i1", "q1_i0", "q1_i1"), read))
        value = float(rules.get_scores({0: named})["G_Acc"])
        units[unit] = (value, ",".join("?" if one == -1 else str(one) for one in read), -1 in read)
    agree(mean([value for value, _, _ in units.values()]), float(returned["G_Acc"]), "g_acc")
    return Found({name.lower(): float(value) for name, value in returned.items()}, dict(units))
