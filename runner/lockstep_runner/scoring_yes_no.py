"""Yes or no: POPE, MME, HallusionBench. Rules of ms-vlmeval 0.0.18, dataset/utils/yorn.py."""

from __future__ import annotations

from typing import Any

from lockstep_runner.rules import PERCENT
from lockstep_runner.scoring import Answers, Found, ScorerError, agree, mean, run_kit

UNKNOWN = "Unknown"
_CATEGORY_MAX = 200.0  # MME: accuracy and accuracy+ of a category, 100 each


def score(answers: Answers) -> Found:
    """All values 0…100 but MME's sums, which are points."""
    returned, tables = run_kit(answers)
    judged = tables.ending("_auxmatch.xlsx")
    read = {str(name): str(said) for name, said in zip(judged["index"], judged["extracted"])}
    right = {str(name): float(score) for name, score in zip(judged["index"], judged["score"])}
    units = {}
    for unit, ids in answers.units.items():
        said = [read[name] for name in ids]
        units[unit] = (mean([right[name] for name in ids]), ",".join(said), UNKNOWN in said)
    found = Found({}, dict(units))
    {"yes_no": _pope, "mme": _mme, "hallusion": _hallusion}[answers.benchmark.kind](
        answers, found, returned, judged, right
    )
    return found


def _pope(answers: Answers, found: Found, returned: Any, judged: Any, right: dict[str, float]) -> None:
    """A row of several categories counts once in each, also in the overall numbers: POPE_rating explodes them first."""
    overall = returned[returned["split"] == "Overall"].iloc[0]
    found.metrics = {
        "f1": float(overall["Overall"]),
        "accuracy": float(overall["acc"]),
        "precision": float(overall["precision"]),
        "recall": float(overall["recall"]),
    }
    times = [len(str(category).split(",")) for category in judged["category"]]
    yes = sum(n for n, said in zip(times, judged["extracted"]) if said == "Yes")
    found.metrics["yes_ratio"] = PERCENT * yes / sum(times)
    hits = sum(n * right[str(name)] for n, name in zip(times, judged["index"]))
    agree(PERCENT * hits / sum(times), found.metrics["accuracy"], "accuracy")


def _mme(answers: Answers, found: Found, returned: Any, judged: Any, right: dict[str, float]) -> None:
    """A category's points are accuracy + share of images with both questions right; the official number sums them."""
    here = {str(category) for category in judged["category"]}
    lacking = sorted({str(category) for category in answers.benchmark.dataset.data["category"]} - here)
    if lacking:
        raise ScorerError(
            f"MME needs every category; the sample set lacks {', '.join(lacking)}: "
            "its sum would be lower without a word"
        )
    row = returned.iloc[0]
    points = {category: float(row[category]) for category in here}
    total = float(row["perception"]) + float(row["reasoning"])
    agree(sum(points.values()), total, "sum")
    found.metrics = {
        "sum": total,
        "perception": float(row["perception"]),
        "reasoning": float(row["reasoning"]),
        "percent_of_max": PERCENT * total / (_CATEGORY_MAX * len(points)),
        "accuracy": PERCENT * mean(list(right.values())),
    }
    for unit, (share, parsed, unparsed) in found.units.items():
        both = 1.0 if share == 1.0 else 0.0
        found.units[unit] = (((share or 0.0) + both) / 2, parsed, unparsed)


def _hallusion(answers: Answers, found: Found, returned: Any, judged: Any, right: dict[str, float]) -> None:
    overall = returned[returned["split"] == "Overall"].iloc[0]
    found.metrics = {name: float(overall[name]) for name in ("aAcc", "fAcc", "qAcc")}
    agree(PERCENT * mean(list(right.values())), found.metrics["aAcc"], "aAcc")
