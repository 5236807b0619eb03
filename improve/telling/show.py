"""One round of a loop, told from its files: what was asked for, what was refused and why, what was decided."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.data.command.counted import counted
from vesalius.improve.asking.plan import read_plan
from vesalius.improve.candidates.pool import pool_facts
from vesalius.improve.deciding.promotion import lines_of as decision_lines
from vesalius.improve.people.preferences import num_pairs
from vesalius.improve.people.review import notice, read_review, review_vetoes, rounds_of, verdicts_of, waiting_round

NO_SCORE = ("prompt", "seed", "depth")
MOST = 12
"""Lines of one list that are told."""
PLACES = ("review.html", "review.csv", "samples", "accepted", "eval/report.html", "run")


def show_round(out: Path, number: int) -> dict[str, Any]:
    """A round's facts, with `lines` for people. ValueError where the loop has no such round."""
    there = [p.name for p in rounds_of(out)]
    folder = out / f"round-{number:02d}"
    if folder.name not in there:
        raise ValueError(f"{out}: has no round {number}; it has {', '.join(there) or 'none yet'}")
    plan = read_plan(folder)
    strata = strata_of(verdicts_of(folder), {} if plan is None else plan.quotas)
    decided = folder / "decision.json"
    facts: dict[str, Any] = {
        "round": number,
        "strata": strata,
        "skipped": {} if plan is None else plan.skipped,
        "samples": sum(row["samples"] for row in strata.values()),
        "accepted": sum(row["accepted"] for row in strata.values()),
        "refused": dict(
            Counter(v["reason"].partition(":")[0] for v in verdicts_of(folder) if v["reason"]).most_common()
        ),
        "vetoed": {**review_vetoes(folder), **pool_facts(folder).get("vetoed", {})},
        "review": read_review(folder) if (folder / "review.json").is_file() else None,
        "waiting": waiting_round(out) == number,
        "ratings": pool_facts(folder).get("agreement"),
        "pairs": num_pairs(out, number),
        "scores": score_summary(verdicts_of(folder)),
        "decision": json.loads(decided.read_text()) if decided.is_file() else None,
        "paths": {name: str(folder / name) for name in PLACES if (folder / name).exists()},
    }
    return {**facts, "lines": lines_of(facts, folder)}


def strata_of(verdicts: Iterable[Mapping[str, Any]], quotas: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Stratum -> prompts, samples, accepted ones and quota."""
    prompts: dict[str, set[Any]] = defaultdict(set)
    samples, accepted = Counter[str](), Counter[str]()
    for each in verdicts:
        prompts[each["stratum"]].add(each["prompt"])
        samples[each["stratum"]] += 1
        accepted[each["stratum"]] += each["reason"] is None
    return {
        name: {
            "prompts": len(prompts[name]), "samples": samples[name], "accepted": accepted[name],
            "quota": quotas.get(name),
        }
        for name in sorted({*prompts, *quotas})
    }  # fmt: skip


def score_summary(verdicts: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """Score -> of accepted and of refused samples the 5th, 50th and 95th percentile."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: {"accepted": [], "refused": []})
    for each in verdicts:
        kind = "refused" if each["reason"] else "accepted"
        for name, value in each.items():
            if isinstance(value, int | float) and not isinstance(value, bool) and name not in NO_SCORE:
                found[name][kind].append(float(value))
    return {
        name: {kind: np.percentile(values, (5, 50, 95)).round(5).tolist() for kind, values in kinds.items() if values}
        for name, kinds in found.items()
    }


def lines_of(facts: Mapping[str, Any], folder: Path) -> list[str]:
    """What a round came to, in words."""
    lines = [f"{folder.name}: {facts['accepted']} of {counted(facts['samples'], 'sample')} passed"]
    strata = list(facts["strata"].items())
    asked_for = []
    for name, row in strata:
        quota = f" (at most {row['quota']})" if row["quota"] is not None else ""
        asked = counted(row["prompts"], "prompt")
        asked_for.append(f"  {name}: {row['accepted']}{quota} of {counted(row['samples'], 'sample')} under {asked}")
    lines += _first(asked_for)
    lines += _first([f"  not asked for: {name}, {why}" for name, why in facts["skipped"].items()])
    lines += [f"refused by {gate}: {num}" for gate, num in facts["refused"].items()]
    scores = []
    for name, kinds in facts["scores"].items():
        told = [f"{kind} {row[1]:.3g} ({row[0]:.3g} to {row[2]:.3g})" for kind, row in kinds.items()]
        scores.append(f"  {name}: {', '.join(told)}")
    lines += _first(scores)
    lines += _first([f"kept out: {digest[:12]}, {reason}" for digest, reason in facts["vetoed"].items()])
    if facts["pairs"]:
        lines.append("learnt from pairs: " + ", ".join(f"{num} of {name}" for name, num in facts["pairs"].items()))
    told_ratings = pool_facts(folder).get("told")
    lines += [f"ratings: {told_ratings}"] if told_ratings else []
    decision = facts["decision"]
    if facts["waiting"]:
        lines.append(notice(folder))
    elif decision is None:
        lines.append("not decided yet; the loop's line continues")
    else:
        lines += decision_lines(decision)
    return [*lines, *(f"{name}: {path}" for name, path in facts["paths"].items())]


def _first(lines: list[str]) -> list[str]:
    """The first lines of a list, and how many more there are, and where all are."""
    rest = len(lines) - MOST
    return lines if rest <= 0 else [*lines[:MOST], f"  ... and {rest} more of these; --json has them all"]
