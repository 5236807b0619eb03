"""Where a loop stands, from its files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vesalius.improve.candidates import read_verdicts
from vesalius.improve.ledger import read_ledger


def read_status(folder: Path) -> dict[str, Any]:
    """Where a loop stands, from its files alone. ValueError where the folder holds none, or its ledger was changed."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder}: no loop there; begin one with `vesalius improve run RECIPE.toml --out {folder}`")
    for _ in read_ledger(folder / "ledger.jsonl"):  # says where it was changed
        pass
    rounds: list[dict[str, Any]] = []
    for path in sorted(folder.glob("round-*")):
        decision = json.loads((path / "decision.json").read_text()) if (path / "decision.json").is_file() else None
        verdicts = read_verdicts(path)
        accepted = sum(v["reason"] is None for v in verdicts)
        rounds.append({"round": path.name, "samples": len(verdicts), "accepted": accepted, "decision": decision})
    lines = []
    for row in rounds:
        told = (
            "in progress" if row["decision"] is None else "promoted" if row["decision"]["promoted"] else "rolled back"
        )
        why = f": {'; '.join(row['decision']['reasons'])}" if row["decision"] else ""
        lines.append(f"{row['round']}: {row['accepted']} of {row['samples']} samples accepted, {told}{why}")
    done = [r["decision"] for r in rounds if r["decision"]]
    return {"folder": str(folder), "rounds": rounds, "champion": done[-1]["champion"] if done else None, "lines": lines}


def champion_run(folder: Path) -> Path:
    """The run folder of the adapter that the loop stands by."""
    champion = read_status(folder)["champion"]
    if champion is None:
        raise ValueError(f"{folder}: round 0 is not finished yet; run the loop's line again")
    return folder / f"round-{champion:02d}" / "run"
