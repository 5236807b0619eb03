"""The test split, read once: after the last round, for the report, and for one adapter.

    OUT/test/reading.json          whose adapter, over which data: written before anything of test is opened
    OUT/test/champion/ round-00/   samples, evaluation and facts of both
    OUT/test/report.json           what the champion is worth, beside round 0

Numbers of test choose nothing: a second reading for another adapter would make a choice of them, and is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vesalius.data.record import digest_file, write_json
from vesalius.improve.config import ImproveConfig
from vesalius.improve.deciding.evaluation import evaluate_at
from vesalius.improve.deciding.facts import NAME, Facts, read_facts
from vesalius.improve.deciding.promotion import compare, number_of
from vesalius.improve.deciding.reference import write_parts
from vesalius.improve.material import Material
from vesalius.improve.telling.status import MARK, TEST, was_read

REPORT = "report.json"


def report_test(config: ImproveConfig, material: Material, champion: Path) -> dict[str, Any]:
    """Read test for the champion (the folder of its round) and round 0; returns what OUT/test/report.json holds.

    What was begun is taken up. ValueError where test was read in this loop for another adapter or other data, before
    anything is opened.
    """
    folder = config.out / TEST
    first = config.out / "round-00"
    reading = reading_of(champion, first, material)
    refuse_second(config.out, reading)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / MARK).is_file():
        write_json(folder / MARK, reading)
    if not (folder / REPORT).is_file():
        reference = write_parts(folder / "reference", {"train": material.train, "test": material.test})
        read = {"round-00": facts_of(config, folder / "round-00", first / "run", material, reference)}
        if champion != first:
            read["champion"] = facts_of(config, folder / "champion", champion / "run", material, reference)
        write_json(folder / REPORT, told_of(read, reading))
    report: dict[str, Any] = json.loads((folder / REPORT).read_text())
    return report


def read_once(config: ImproveConfig, material: Material, champion: Path) -> dict[str, Any] | None:
    """`report_test` where a loop ends; None where test was read for another adapter before further rounds, and so is
    not read again (`still_holds` tells people)."""
    before = was_read(config.out)
    first = config.out / "round-00"
    if before is not None and before["adapters"] != reading_of(champion, first, material)["adapters"]:
        return None
    return report_test(config, material, champion)


def facts_of(config: ImproveConfig, folder: Path, run: Path, material: Material, reference: Path) -> Facts:
    if not (folder / NAME).is_file():
        evaluate_at(config, folder, run, material.test, reference, "test").write(folder)
    return read_facts(folder)


def told_of(read: dict[str, Facts], reading: dict[str, Any]) -> dict[str, Any]:
    """The report: each number of the champion beside round 0's. It is no decision."""
    first = read["round-00"]
    champion = read.get("champion", first)
    found = compare(first, first, champion, reading["round"])
    return {
        **reading,
        "rows": found["rows"],
        "better": found["gains"],
        "worse": found["losses"],
        "how": "Read once, after the last round; no choice rests on it. " + found["how"].partition(" Promoted is")[0],
        "notes": list(champion.notes),
    }


def reading_of(champion: Path, first: Path, material: Material) -> dict[str, Any]:
    """Whose adapter test is read for, over which data."""
    adapters = {name: digest_of(path / "run") for name, path in (("champion", champion), ("round-00", first))}
    return {"round": number_of(champion), "adapters": adapters, "data": material.digests}


def digest_of(run: Path) -> str:
    """sha256 of an adapter's weights."""
    weights = run / "adapter" / "adapter_model.safetensors"
    if not weights.is_file():
        raise ValueError(f"{run}: holds no adapter; run the loop's line again to finish its round")
    return digest_file(weights)


def refuse_second(out: Path, reading: dict[str, Any]) -> None:
    """ValueError where test was read for another adapter, or over other data."""
    before = was_read(out)
    if before is None:
        return
    if before["data"] != reading["data"]:
        raise ValueError(f"{out / TEST}: test was read over other data than these; begin a new loop with another --out")
    if before["adapters"] != reading["adapters"]:
        raise ValueError(
            f"{out / TEST}: test was read for the adapter of round {before['round']}, and a second reading for that "
            f"of round {reading['round']} would choose by it; begin a new loop with another --out and test split"
        )
