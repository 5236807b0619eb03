"""What the page says of fidelity: conclusions first, then the tables they rest on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vesalius.eval.fidelity.diversity import NAMES
from vesalius.eval.pictures import intervals_svg
from vesalius.eval.report import Section, Table


def fidelity_sections(result: Mapping[str, Any]) -> list[Section]:
    """Conclusions and tables; then parts of the set, where there are some; then what measured it."""
    found = [
        Section(
            title="Fidelity and diversity",
            text=[
                *result["lonely"],
                "Beside every number stands the floor: that of training images against the same real images, as a "
                "generator can hardly be expected nearer than what it learnt from. There is a conclusion only where "
                "all detectors agree beyond the intervals.",
            ],
            more=[*halves_told(result), *sizes_told(result)],
            tables=[conclusions_table(result), distance_table(result), reach_table(result), pairs_table(result)],
            plots=distance_plots(result),
        )
    ]
    if result["groups"] or result["group_notes"]:
        found.append(
            Section(
                title="By finding and group",
                text=[
                    "Coverage is the share of the group's real images that have a sample in their neighbourhood. "
                    + (
                        f"All detectors find less of it than real images have: {'; '.join(result['neglected'])}."
                        if result["neglected"]
                        else "Of no group do all detectors find less of it than real images have."
                    ),
                    *result["group_notes"],
                ],
                tables=[groups_table(result)] if result["groups"] else [],
            )
        )
    windows = {d["window"]: d["window_told"] for d in result["detectors"]}
    text = [*(f"Window '{name}': {told}." for name, told in windows.items()), *needs_told(result)]
    half = [d["name"] for d in result["detectors"] if d.get("precision") == "bfloat16"]
    text += [f"As the pictures are many, {' and '.join(half)} computed in bfloat16."] if half else []
    found.append(Section(title="What measured it", text=text, tables=[detectors_table(result)]))
    return found


def distance_plots(result: Mapping[str, Any]) -> list[str]:
    """KID over its floor, one plot a detector: their scales differ."""
    plots = []
    for detector in result["detectors"]:
        rows = [r for r in result["rows"] if r["detector"] == detector["name"] and "kid" in r]
        if rows:
            values = {r["modality"]: (r["kid"]["value"], r["kid"]["low"], r["kid"]["high"]) for r in rows}
            floors = {r["modality"]: (r["floor"]["low"], r["floor"]["high"]) for r in rows}
            plots.append(intervals_svg(values, floors, x="KID (95 %)", title=f"Distance by {detector['name']}"))
    return plots


def halves_told(result: Mapping[str, Any]) -> list[str]:
    """Where the floor is another than that of training images."""
    names = list(dict.fromkeys(row["modality"] for row in result["rows"] if set(row["halves"]) - set(row["needs"])))
    if not names:
        return []
    return [
        f"For {', '.join(names)} there are too few training images, for some metric or for all: there the floor is "
        "that of one half of the real images against the other, which may share patients and so be too low."
    ]


def needs_told(result: Mapping[str, Any]) -> list[str]:
    """How many images each metric needs that was not computed, and how many there were."""
    lines: dict[str, list[str]] = {}
    for row in result["rows"]:
        for what, need in row["needs"].items():
            line = f"{what} by {row['detector']} needs {need['samples']} samples and {need['real']} real images"
            lines.setdefault(line, []).append(f"{row['modality']} has {row['num_samples']} and {row['num_real']}")
    return [f"{line}: {', '.join(there)}." for line, there in lines.items()]


def sizes_told(result: Mapping[str, Any]) -> list[str]:
    """A line where pictures differ in size or mode within or between the sets."""
    lines = []
    for word in ("sizes", "modes"):
        ours, theirs = result[word]["samples"], result[word]["real"]
        if len({*ours, *theirs}) > 1:
            named = f"samples {frequent(ours)}; real images {frequent(theirs)}"
            lines.append(f"The pictures differ in {word}: {named}.")
    return lines


def frequent(counts: Mapping[str, int], most: int = 3) -> str:
    """The most frequent values with their counts."""
    told = [f"{value} ({num})" for value, num in list(counts.items())[:most]]
    return ", ".join(told) + (" and others" if len(counts) > most else "")


def conclusions_table(result: Mapping[str, Any]) -> Table:
    told = {(c["modality"], c["question"]): c["conclusion"] for c in result["conclusions"]}
    rows = [
        [m, *(told.get((m, question), "no conclusion: too few images") for question in ("distance", "diversity"))]
        for m in dict.fromkeys(row["modality"] for row in result["rows"])
    ]
    return Table(head=("modality", "as near as real images?", "as diverse?"), rows=rows)


def distance_table(result: Mapping[str, Any]) -> Table:
    rows = []
    for row in result["rows"]:
        frechet, floor = row.get("frechet"), row.get("frechet_floor")
        rows.append([
            row["modality"], row["detector"], interval(row.get("kid"), 4), interval(row.get("floor"), 4),
            interval(frechet and frechet["endless"], 2), interval(floor and floor["endless"], 2),
            str(row["num_samples"]), str(row["num_real"]),
        ])  # fmt: skip
    head = ("modality", "detector", "KID (95 %)", "real against real", "FD, endless (95 %)", "real against real",
            "samples", "real")  # fmt: skip
    return Table(head=head, rows=rows)


def reach_table(result: Mapping[str, Any]) -> Table:
    rows = []
    for row in result["rows"]:
        cells = [beside(row.get(name), 1 if name == "vendi" else 2) for name in NAMES]
        if "coverage" not in row:
            continue  # how many images it takes stands below
        each = str(row["coverage"]["num_a"])
        rows.append([row["modality"], row["detector"], *cells, each])
    head = ("modality", "detector", *(f"{name} (real)" for name in NAMES), "images a draw")
    return Table(head=head, rows=rows, folded=f"Precision, recall, density, coverage, Vendi score ({len(rows)} rows)")


def pairs_table(result: Mapping[str, Any]) -> Table:
    rows = []
    for row in result["within_prompt"]:
        ours, theirs = row["samples"], row["real"]
        by = {"label": "of one label", "modality": "of the modality (no label known)"}[row["by"]]
        rows.append([
            row["modality"], interval(ours, 3) if ours else row["note"], interval(theirs, 3), by,
            str(ours["num"]) if ours else "0", str(theirs["num"]) if theirs else "0",
        ])  # fmt: skip
    head = ("modality", "MS-SSIM within a prompt", "of real pairs", "which are", "prompts", "labels")
    return Table(head=head, rows=rows, folded=f"Likeness within a prompt ({len(rows)} rows)")


def groups_table(result: Mapping[str, Any]) -> Table:
    rows = []
    for row in result["groups"]:
        ours, floor = row.get("coverage"), row.get("coverage_floor")
        rows.append([
            f"{row['modality']}, {row['group']}", row["detector"], interval(row.get("kid"), 4),
            interval(row.get("floor"), 4), interval(ours, 2), interval(floor, 2), str(row["num_samples"]),
            str(row["num_real"]),
        ])  # fmt: skip
    head = (
        "group",
        "detector",
        "KID (95 %)",
        "real against real",
        "coverage (95 %)",
        "by real images",
        "samples",
        "real",
    )
    return Table(head=head, rows=rows, folded=f"{len(rows)} rows")


def detectors_table(result: Mapping[str, Any]) -> Table:
    rows = [
        [
            d["name"], d["digest"][:12] or "unknown", resize_told(d), d["window"],
            str(d["num_features"]), f"{d['num_samples']} and {d['num_real']}",
        ]
        for d in result["detectors"]
    ]  # fmt: skip
    return Table(head=("detector", "digest", "resize", "window", "features", "samples and real"), rows=rows)


def interval(row: Mapping[str, Any] | None, digits: int) -> str:
    if row is None:
        return "-"
    if row.get("num") == 1:
        return f"{row['value']:.{digits}f} (of one alone)"
    return f"{row['value']:.{digits}f} ({row['low']:.{digits}f} to {row['high']:.{digits}f})"


def beside(row: Mapping[str, Any] | None, digits: int) -> str:
    """A value with half its interval, and that of real images."""
    if row is None:
        return "-"
    half = row["high"] - row["value"]
    return f"{row['value']:.{digits}f} \u00b1 {half:.{digits}f} ({row['floor']['value']:.{digits}f})"


def resize_told(detector: Mapping[str, Any]) -> str:
    own = "" if detector["resize"] == "none" else f", then {detector['resize']}"
    return f"Lanczos to {detector['image_size']}{own}"
