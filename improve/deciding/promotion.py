"""Whether a round is promoted: nothing worse than round 0 and the champion beyond the interval, something better.

    found = decide(first, champion, challenger, 2)      folders of rounds, which hold their facts
    found = compare(first, champion, challenger, 2)     the same of `Facts`

Many numbers are compared, and luck has more chances the more there are. Where something is *better* the interval is
therefore widened so that all hold at once in 95 of 100 cases (Bonferroni over the numbers that decide): a lucky number
promotes nothing. Where something is *worse* the plain 95 % interval stands: a false alarm costs a round, harm that is
overlooked is trained on. So a decision errs on the side of the champion.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vesalius.improve.deciding.facts import Difference, Fact, Facts, Group, difference, number, read_facts
from vesalius.improve.deciding.guard import alarm

HOW = (
    "Rounds draw the same prompts with the same seeds and are held against the same real images, so their differences "
    "are those of pairs. Worse: the 95 % interval of the difference to round 0 or to the champion lies wholly on the "
    "wrong side. Better: that to the champion lies wholly on the right side, widened for {num} numbers that are "
    "compared at once ({confidence:.2%} each). Promoted is what is worse in nothing and better in something."
)


NEEDED: dict[Group, str] = {
    "validation": "The validation loss", "distance": "The distance to real images (raise --num-eval)",
    "coverage": "The share of real images that samples reach (raise --num-eval)",
}  # fmt: skip
"""What has to be measured for a promotion: what nobody looked at may have become worse."""


def decide(first: Path, champion: Path, challenger: Path, index: int, *, guard: bool = True) -> dict[str, Any]:
    """The decision of a round as JSON, by the facts in the folders of round 0, the champion and the challenger.

    guard: for experiments, without it a round is promoted whatever the facts say; what they say is told all the same.
    """
    between = [read_facts(p) for p in lineage(first, champion)]
    found = compare(
        read_facts(first), read_facts(champion), read_facts(challenger), index, number_of(champion), between=between
    )
    if guard or found["promoted"]:
        return found
    reasons = ["promoted without the guard, for an experiment; it would be rolled back", *found["reasons"]]
    return {**found, "promoted": True, "champion": index, "reasons": reasons}


def lineage(first: Path, champion: Path) -> list[Path]:
    """The rounds that were promoted after round 0 and before the champion, in order."""
    found = []
    for folder in sorted(champion.parent.glob("round-*")):
        if first.name < folder.name < champion.name and (folder / "decision.json").is_file():
            told = json.loads((folder / "decision.json").read_text())
            if told["promoted"]:
                found.append(folder)
    return found


def number_of(folder: Path) -> int:
    return int(folder.name.removeprefix("round-"))


def compare(
    first: Facts,
    champion: Facts,
    challenger: Facts,
    index: int,
    champion_index: int = 0,
    *,
    between: Sequence[Facts] = (),
) -> dict[str, Any]:
    """The decision of a round. between: of the champions between round 0 and this one, for the alarm.

    rows: what was compared, in words and numbers; losses and gains: of them those that are worse and better; alarm:
    why the numbers look as if the gates were gamed, or None; reasons: the decision in words.
    """
    decisive = [f for f in challenger.facts if f.decides and f.name in champion.by_name]
    confidence = 1 - 0.05 / max(1, len(decisive))
    rows = [row_of(f, first, champion, challenger, champion_index, confidence) for f in challenger.facts]
    losses = [r["what"] for r in rows if r["decides"] and r["told"] == "worse"]
    gains = [r["what"] for r in rows if r["decides"] and r["told"] == "better"]
    measured = challenger.by_name
    lacking = [
        f.told for f in champion.facts if f.decides and f.name not in measured and f.group != "usefulness"
    ]  # fmt: skip
    groups = {f.group for f in challenger.facts if f.decides}
    lacking += [told for group, told in NEEDED.items() if group not in groups]
    warning = alarm([first, *between, *([champion] if champion_index else []), challenger])
    promoted = bool(gains) and not losses and not lacking and warning is None
    return {
        "round": index,
        "promoted": promoted,
        "champion": index if promoted else champion_index,
        "reasons": reasons_of(rows, gains, lacking, warning, champion_index),
        "gains": gains,
        "losses": losses,
        "alarm": warning,
        "how": HOW.format(num=len(decisive), confidence=confidence),
        "num_compared": len(decisive),
        "confidence": confidence,
        "rows": rows,
        "notes": list(challenger.notes),
    }


def row_of(
    fact: Fact, first: Facts, champion: Facts, challenger: Facts, champion_index: int, confidence: float
) -> dict[str, Any]:
    """One number of the challenger beside round 0 and the champion, as JSON and in words."""
    beside: dict[str, Difference] = {}
    numbers: dict[str, Fact] = {}
    for name, facts in (("first", first), ("champion", champion)):
        former = facts.by_name.get(fact.name) or (nothing_added(fact) if fact.group == "usefulness" else None)
        if former is not None:
            numbers[name] = former
            paired = facts.paired == challenger.paired
            beside[name] = difference(fact, former, paired=paired)
            if name == "champion" and beside[name].told == "better":
                beside[name] = difference(fact, former, paired=paired, confidence=confidence)
    told, told_of = "not compared", "not measured before"
    if beside:
        worse = [name for name, found in beside.items() if found.told == "worse"]
        told = "worse" if worse else beside["champion"].told if "champion" in beside else "no clear difference"
        told_of = "worse than in round 0" if worse == ["first"] and champion_index else told
    before = numbers.get("champion")
    sentence = f"{fact.told}: {number(before) + ' before, ' if before else ''}{number(fact)} now: {told_of}"
    return {
        "name": fact.name, "what": fact.told, "group": fact.group, "decides": fact.decides, "told": told,
        "words": sentence, "up": fact.up, "share": fact.share, "num": fact.num,
        "now": numbers_of(fact), **{name: numbers_of(f) for name, f in numbers.items()},
        "differences": {name: asdict(found) for name, found in beside.items()},
    }  # fmt: skip


def numbers_of(fact: Fact) -> dict[str, Any]:
    return {"value": fact.value, "low": fact.low, "high": fact.high, "told": number(fact)}


def nothing_added(fact: Fact) -> Fact:
    """What round 0 adds to a classifier, which has no samples."""
    return Fact(
        name=fact.name, told=fact.told, group=fact.group, value=0.0, low=0.0, high=0.0, num=fact.num, up=fact.up,
        share=fact.share,
    )  # fmt: skip


def reasons_of(
    rows: Sequence[Mapping[str, Any]],
    gains: Sequence[str],
    lacking: Sequence[str],
    warning: str | None,
    champion_index: int,
) -> list[str]:
    """The decision in words, what speaks against it first."""
    told = [f"alarm: {warning}"] if warning else []
    told += [r["words"] for r in rows if r["decides"] and r["told"] == "worse"]
    told += [f"{what}: not measured in this round" for what in lacking]
    if told:
        return told
    if not gains:
        return [f"nothing is clearly better than in round {champion_index}, which stays"]
    return [r["words"] for r in rows if r["decides"] and r["told"] == "better"]


def table_of(decision: Mapping[str, Any]) -> list[list[str]]:
    """Rows for a reader: what, in round 0, before, now, in a word. What decides comes first."""
    rows = sorted(decision.get("rows", ()), key=lambda row: not row["decides"])
    return [
        [
            row["what"] + ("" if row["decides"] else " (shown, decides nothing)"),
            *(row[name]["told"] if name in row else "-" for name in ("first", "champion", "now")),
            row["told"],
        ]
        for row in rows
    ]  # fmt: skip


def lines_of(decision: Mapping[str, Any]) -> list[str]:
    """A decision as lines of text, as a terminal shows it."""
    verdict = "promoted" if decision["promoted"] else f"rolled back to round {decision['champion']}"
    lines = [f"round {decision['round']}: {verdict}"]
    lines += [f"  {row['words']}" for row in decision.get("rows", ()) if row["decides"]]
    if decision.get("alarm"):
        lines.append(f"  ALARM: {decision['alarm']}")
    if not decision["promoted"] or not decision.get("rows"):
        lines += [f"  why: {reason}" for reason in decision["reasons"]]
    return lines


def decisions_of(out: Path) -> list[dict[str, Any]]:
    """The decisions of a loop's rounds so far, round 0 first."""
    return [json.loads(path.read_text()) for path in sorted(out.glob("round-*/decision.json"))]


def finished(decisions: Sequence[Mapping[str, Any]], patience: int) -> str | None:
    """Why a loop is to end before its last round: so many rounds in a row were not promoted; None where it goes on.

    decisions: of all rounds so far, round 0 among them or not.
    """
    later = sorted((d for d in decisions if d["round"] > 0), key=lambda d: d["round"])
    if len(later) < patience or any(d["promoted"] for d in later[-patience:]):
        return None
    rounds = "1 round" if patience == 1 else f"{patience} rounds in a row"
    return f"{rounds} without gain: the loop ends"
