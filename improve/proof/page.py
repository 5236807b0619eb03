"""What the arms of the proof come to together: a page, the same as Markdown, and the curves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.data.command.counted import counted
from vesalius.data.command.fields import Settled
from vesalius.data.record import write_atomic
from vesalius.eval.pictures import curve_svg
from vesalius.eval.report import Section, Table, to_markdown, write_page
from vesalius.improve.proof.arms import LOOPS, differences, end_of, with_interval

TITLE = "Is the loop worth it?"
CURVES = ("hard prompts", "obedience", "distance", "coverage", "gates")
"""Groups of facts of which the mean over all facts is drawn round by round."""
BESIDE = ("longer", "repeated")


@dataclass(frozen=True, kw_only=True)
class ProofPageConfig(Settled):
    """The arms' results as one page."""

    results: tuple[Path, ...]
    """result.json of each arm and seed"""
    out: Path
    """folder of the page: proof.md, proof.html, curves.svg"""


def write_proof(config: ProofPageConfig) -> Path:
    """Write the page; returns the Markdown. ValueError where no loop is among the results, or one is there twice."""
    results = [json.loads(path.read_text()) for path in config.results]
    keys = [(r["arm"], r["seed"]) for r in results]
    if twice := [k for i, k in enumerate(keys) if k in keys[:i]]:
        raise ValueError(f"--results: arm {twice[0][0]} of seed {twice[0][1]} is there twice; give each once")
    if not any(arm == "loop" for arm, _ in keys):
        raise ValueError("--results: no arm 'loop' is among them, which the others are held against")
    results.sort(key=lambda r: (r["arm"], r["seed"]))
    sections = [runs_section(results), change_section(results), worth_section(results)]
    plots = [p for group in CURVES if (p := curves_of(results, group))]
    if plots:
        sections.append(Section(title="Round by round", text=[CURVES_TEXT], plots=plots))
    config.out.mkdir(parents=True, exist_ok=True)
    subtitle = f"{counted(len(results), 'run')} of {counted(len({arm for arm, _ in keys}), 'arm')}"
    for number, plot in enumerate(plots):
        write_atomic(config.out / f"curves-{number}.svg", plot.encode())
    write_page(config.out / "proof.html", TITLE, subtitle, sections)
    path = config.out / "proof.md"
    write_atomic(path, to_markdown(TITLE, subtitle + ".", sections).encode())
    return path


CURVES_TEXT = (
    "Mean over seeds and over all facts of a group; the arm without gates, real data and guard goes on with each round "
    "whatever it is worth, so that it shows what the others are kept from."
)


def runs_section(results: Sequence[dict[str, Any]]) -> Section:
    """What each run was: rounds, what they accepted, what was promoted, alarms, time."""
    rows = []
    for result in results:
        later = [r for r in result["rounds"] if r["round"]]
        rows.append([
            result["arm"], str(result["seed"]), str(result["steps"]),
            ", ".join(f"{r['accepted']} of {r['asked']}" for r in later) or "-",
            ", ".join("promoted" if r["promoted"] else "rolled back" for r in later) or "-",
            "; ".join(f"round {r['round']}: {r['alarm']}" for r in later if r["alarm"]) or "-",
            f"{result['seconds'] / 60:.0f}",
        ])  # fmt: skip
    head = ("arm", "seed", "steps a round", "accepted", "rounds", "alarm", "minutes")
    return Section(title="Runs", tables=[Table(head=head, rows=rows)])


def names_of(results: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Facts that decide, by name, in order."""
    found: dict[str, dict[str, Any]] = {}
    for result in results:
        for name, fact in end_of(result)["facts"].items():
            if fact["decides"]:
                found.setdefault(name, fact)
    return found


def change_section(results: Sequence[dict[str, Any]]) -> Section:
    """How much better each fact is at the end of each arm than in the loop's round 0 of the same seed."""
    facts, arms = names_of(results), list(dict.fromkeys(r["arm"] for r in results))
    first = [r["rounds"][0]["facts"] for r in results if r["arm"] == "loop"]
    rows = []
    for name, fact in facts.items():
        known = [f[name]["value"] for f in first if name in f]
        base = told(sum(known) / len(known), fact) if known else "-"
        found = differences(results, name)
        rows.append([fact["told"], base, *(change(found.get(arm, []), fact) for arm in arms)])
    return Section(
        title="Better than round 0, by how much",
        text=[
            "Mean over seeds with its 95 % interval (Student's t); above 0 is better whichever way a number counts. "
            "In bold where the interval leaves out 0. Points of a hundred where a share is meant."
        ],
        tables=[Table(head=("what", "round 0", *arms), rows=rows)],
    )


def worth_section(results: Sequence[dict[str, Any]]) -> Section:
    """The loop against its compute spent otherwise, seed by seed."""
    facts = names_of(results)
    seeds = {arm: [r["seed"] for r in results if r["arm"] == arm] for arm in ("loop", *BESIDE)}
    rows = []
    for name, fact in facts.items():
        found = differences(results, name)
        row = [fact["told"]]
        for arm in BESIDE:
            ours, theirs = (dict(zip(seeds[a], found.get(a, []), strict=False)) for a in ("loop", arm))
            row.append(change([ours[s] - theirs[s] for s in ours if s in theirs], fact))
        rows.append(row)
    return Section(
        title="The loop against the same compute without it",
        text=["How much better the loop ends than the other arm of the same seed; as above."],
        tables=[Table(head=("what", *(f"loop over {arm}" for arm in BESIDE)), rows=rows)],
    )


def change(values: Sequence[float], fact: dict[str, Any]) -> str:
    if not values:
        return "-"
    mean, low, high = with_interval(values)
    text = f"{told(mean, fact, signed=True)}"
    if low > float("-inf"):
        text += f" ({told(low, fact, signed=True)} to {told(high, fact, signed=True)})"
        if low > 0 or high < 0:
            text = f"**{text}**"
    return text


def told(value: float, fact: dict[str, Any], *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.1f}" if fact["share"] else f"{value:{sign}.4f}"


def curves_of(results: Sequence[dict[str, Any]], group: str) -> str | None:
    """The mean of a group's facts over rounds and seeds, each loop a curve; None where no round has such a fact."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for arm in LOOPS:
        mine = [r for r in results if r["arm"] == arm]
        xs: list[float] = []
        ys: list[float] = []
        for index in range(max((len(r["rounds"]) for r in mine), default=0)):
            values = [
                fact["value"] for r in mine if index < len(r["rounds"])
                for fact in r["rounds"][index]["facts"].values() if fact["group"] == group
            ]  # fmt: skip
            if values:
                xs.append(index)
                ys.append(sum(values) / len(values))
        if len(xs) > 1:
            curves[arm] = (xs, ys)
    return curve_svg(curves, x="round", y=group, title=f"{group}, by round") if curves else None


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(ProofPageConfig, write_proof)
