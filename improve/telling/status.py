"""Where a loop stands, from its files alone."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vesalius.data.command.counted import counted
from vesalius.data.record import read_rows
from vesalius.improve.deciding.promotion import finished, lines_of
from vesalius.improve.ledger import read_ledger
from vesalius.improve.people.review import notice, stood_by, waiting_round

TEST, MARK = "test", "reading.json"
"""Where test is read to, and what tells for whom."""
STEPS = (
    ("run/validation.json", "is evaluated"), ("accepted/manifest.json", "trains"), ("verdicts.jsonl", "adds back"),
    ("samples", "draws and gates"), ("plan.json", "draws"),
)  # fmt: skip
"""What is there of a round that goes on, the latest first, and what it does then."""


def read_status(folder: Path) -> dict[str, Any]:
    """Where a loop stands, from its files alone. ValueError where the folder holds none, or its ledger was changed.

    rounds: of each its samples, how many were accepted, refusals by gate, and its decision; champion: the round that
    the loop stands by; waiting: the one that waits for review; alarm: the last one; ended: why no round follows; test:
    for which round it was read; lines: all of it in words.
    """
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder}: no loop there; begin one with `vesalius improve run RECIPE.toml --out {folder}`")
    for _ in read_ledger(folder / "ledger.jsonl"):  # says where it was changed
        pass
    config = json.loads((folder / "config.json").read_text())
    rounds = [round_status(path) for path in sorted(folder.glob("round-*"))]
    done = [r["decision"] for r in rounds if r["decision"]]
    champion = stood_by(folder, len(done), done[-1]["champion"]) if done else None
    waits = waiting_round(folder)
    alarms = [d["alarm"] for d in done if d.get("alarm")]
    reading = was_read(folder)
    ended = finished(done, int(config.get("patience", 2)))
    lines = [line for row in rounds for line in row["lines"]]
    if waits is not None:
        lines.append(notice(folder / f"round-{waits:02d}"))
    if done and champion != done[-1]["champion"]:
        lines.append(f"someone went to round {champion}")
    if champion is not None:
        lines.append(f"the loop stands by round {champion}")
    if alarms:
        lines.append(f"ALARM: {alarms[-1]}")
    if ended:
        lines.append(ended)
    if reading:
        lines.append(still_holds(reading, champion))
    return {
        "folder": str(folder), "rounds": rounds, "champion": champion, "waiting": waits,
        "alarm": alarms[-1] if alarms else None, "ended": ended, "test": reading and reading["round"], "lines": lines,
    }  # fmt: skip


def round_status(path: Path) -> dict[str, Any]:
    """One round: what was drawn, accepted, refused and decided, or what it is doing."""
    decided = path / "decision.json"
    decision = json.loads(decided.read_text()) if decided.is_file() else None
    refused, num = Counter[str](), 0
    if (path / "verdicts.jsonl").is_file():
        for row in read_rows(path / "verdicts.jsonl"):
            num += 1
            if row["reason"] is not None:
                refused[gate_of(row["reason"])] += 1
    accepted = num - refused.total()
    index = int(path.name.removeprefix("round-"))
    lines = lines_of(decision) if decision else [f"round {index}: {doing(path)}"]
    if num:
        told = ", ".join(f"{gate} {count}" for gate, count in refused.most_common())
        lines.insert(1, f"  {accepted} of {counted(num, 'sample')} accepted" + (f"; refused: {told}" if told else ""))
    return {
        "round": path.name, "samples": num, "accepted": accepted, "refused": dict(refused.most_common()),
        "decision": decision, "lines": lines,
    }  # fmt: skip


def gate_of(reason: str) -> str:
    """The gate of a reason: what stands before its colon."""
    return reason.partition(":")[0]


def doing(path: Path) -> str:
    """What a round that is not decided yet is at, by what it has on disk."""
    return next((words for name, words in STEPS if (path / name).exists()), "begins")


def champion_run(folder: Path) -> Path:
    """The run folder of the adapter that the loop stands by."""
    champion = read_status(folder)["champion"]
    if champion is None:
        raise ValueError(f"{folder}: round 0 is not finished yet; run the loop's line again")
    return folder / f"round-{champion:02d}" / "run"


def was_read(out: Path) -> dict[str, Any] | None:
    """For what test was read in a loop; None where it was not."""
    path = out / TEST / MARK
    if not path.is_file():
        return None
    reading: dict[str, Any] = json.loads(path.read_text())
    return reading


def still_holds(reading: Mapping[str, Any], champion: int | None) -> str:
    """For which round test was read, and whether that is the one that the loop stands by."""
    told = f"test was read for round {reading['round']}"
    if champion == reading["round"]:
        return told
    return f"{told}, and the loop stands by round {champion} since: a second reading would choose by it"
