"""Readers' answers against their key: scores as JSON, Markdown and one page, and ratings that other stages can read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vesalius.data.record import digest_file, write_atomic, write_json
from vesalius.eval.pictures import curve_svg, image_uri
from vesalius.eval.readers.answers import gather, rating_rows
from vesalius.eval.readers.config import ReadersScoreConfig
from vesalius.eval.readers.scores import (
    Answers,
    modalities,
    recognised,
    score_all,
    score_pairs,
    score_reader,
    verdict,
)
from vesalius.eval.readers.study import Shown, read_key, shown_of
from vesalius.eval.report import Figure, Section, Table, check_out, write_page

MOST_CURVES = 8
"""Readers in one plot."""
SHEET = 8
"""Images on each contact sheet."""


def score_study(config: ReadersScoreConfig) -> dict[str, Any]:
    """Check and score answers; writes readers.json, readers.md, readers.html and ratings.jsonl, and returns the JSON.

    ValueError where the study is none or its page was changed, and as `gather`.
    """
    key = read_key(config.study)
    shown = shown_of(key, config.study)
    page = config.study / "page" / "index.html"
    if page.is_file() and digest_file(page) != key.get("page_sha256"):
        raise ValueError(f"{page}: was changed since the key was written; readers may have seen other images")
    out = config.out or config.study / "scores"
    check_out(out, "scores", ["readers.json", "ratings.jsonl"])
    readers = gather(config.answers, key["study"], shown, partial=config.partial)
    if config.dry_run:
        return {"study": key["study"], "readers": {name: {"num": len(a)} for name, a in readers.items()}}
    result = {
        "format": "vesalius-reader-scores-1",
        "study": key["study"],
        "title": key.get("title", ""),
        "num_images": sum(not s.repeat_of for s in shown.values()),
        "num_repeats": sum(bool(s.repeat_of) for s in shown.values()),
        "readers": {name: score_reader(a, shown, seed=config.seed) for name, a in readers.items()},
        "all": score_all(readers, shown, seed=config.seed),
        "pairs": score_pairs(readers, shown, seed=config.seed),
        "recognised": recognised(readers, shown),
        "notes": [*(key.get("notes") or []), *_partial_notes(readers, shown)],
    }
    sections = report_sections(result, readers, shown, config.study / "pictures")
    out.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rating_rows(readers, shown))
    write_atomic(out / "ratings.jsonl", lines.encode())
    write_json(out / "readers.json", result)
    write_atomic(out / "readers.md", markdown(str(key.get("title")), sections).encode())
    num = len(readers)
    subtitle = f"{num} reader{'s' * (num > 1)}, {result['num_images']} images, study {key['study']}"
    write_page(out / "readers.html", f"{key.get('title')}: scores", subtitle, sections)
    return result


def _partial_notes(readers: Mapping[str, Answers], shown: Mapping[str, Shown]) -> list[str]:
    return [
        f"reader '{name}' answered {len(answers)} of {len(shown)} items"
        for name, answers in readers.items()
        if len(answers) < len(shown)
    ]


def report_sections(
    result: Mapping[str, Any], readers: Mapping[str, Answers], shown: Mapping[str, Shown], pictures: Path
) -> list[Section]:
    """Told apart or not, knowing it or not, agreeing or not, and which images gave it away."""
    rows, together = result["readers"], result["all"]
    said = [f"{name}: {verdict(row['accuracy'])}." for name, row in rows.items() if row["accuracy"]]
    if together:
        said.append(f"All {len(rows)} readers, on average: {verdict(together['accuracy'])}.")
    return [
        Section(
            title="Told apart", tables=[accuracy_table(result)],
            text=[
                *said, *(f"Note: {note}." for note in result["notes"]),
                "Sensitivity is the share of synthetic images that were called so, specificity that of real ones. "
                "Intervals are of 95 %: Wilson's for a reader; for all together Wilson's too, with the number of "
                "images alone, so they speak for these readers and not for others.",
            ],
        ),
        Section(title="By modality", tables=[modality_table(result, shown)]),
        Section(
            title="How real, how true to the text", tables=[rating_table(result)],
            text=["Means of the scales from 1 to 5, with Student's interval."],
        ),
        Section(
            title="Do readers know when they know", tables=[calibration_table(result)], plots=_calibration_plot(rows),
            text=[
                "A confidence of 1 stands for 50 %, of 5 for 100 %, as the page says. Overconfidence is the mean "
                "confidence less the accuracy; the Brier score is 0 for the sure and right and 0.25 for one who says "
                "50 % to all.",
            ],
        ),
        Section(
            title="Agreement", tables=[pair_table(result), repeat_table(result)],
            text=[
                _fleiss_line(together),
                "Cohen's kappa of each two readers, with quadratic weights for the scales; intervals by resampling "
                "images. Below: each reader against himself, on images that came twice.",
            ],
        ),
        *_sheets(result["recognised"], readers, shown, pictures),
    ]  # fmt: skip


def _fleiss_line(together: Mapping[str, Any] | None) -> str:
    if together is None:
        return "Fleiss' kappa needs two readers or more who answered the same images."
    if together["fleiss"] is None:
        return "Fleiss' kappa has no value: all readers gave one answer to all images."
    return f"Fleiss' kappa of all readers: {_span(together['fleiss'])}, over {together['num']} images."


def accuracy_table(result: Mapping[str, Any]) -> Table:
    rows = [
        [name, *(_percent(row[k]) for k in ("accuracy", "sensitivity", "specificity")), _number(row["d_prime"]),
         str(row["num"]), f"{row['median_seconds']:.0f} s"]
        for name, row in result["readers"].items() if row["accuracy"]
    ]  # fmt: skip
    if together := result["all"]:
        parts = [_percent(together[k]) for k in ("accuracy", "sensitivity", "specificity")]
        rows.append(["all readers", *parts, "-", str(together["num"]), "-"])
    return Table(head=("reader", "accuracy", "sensitivity", "specificity", "d'", "images", "median time"), rows=rows)


def modality_table(result: Mapping[str, Any], shown: Mapping[str, Shown]) -> Table:
    names = modalities(shown)
    rows = [[name, *(_percent(row["modalities"][m]) for m in names)] for name, row in result["readers"].items()]
    if together := result["all"]:
        rows.append(["all readers", *(_percent(together["modalities"][m]) for m in names)])
    return Table(head=("accuracy", *names), rows=rows)


def rating_table(result: Mapping[str, Any]) -> Table:
    rows = []
    for name, row in result["readers"].items():
        for kind in ("real", "synthetic"):
            artefacts = row["artefacts"][kind]
            counts = f"{artefacts['minor']} minor, {artefacts['major']} major"
            rows.append([f"{name}, {kind}", _span(row["realism"][kind]), _span(row["agreement"][kind]), counts])
    return Table(head=("reader, images", "realism", "agreement with the text", "artefacts"), rows=rows)


def calibration_table(result: Mapping[str, Any]) -> Table:
    rows = []
    for name, row in result["readers"].items():
        levels = {level["confidence"]: level for level in row["calibration"]["levels"]}
        told = [f"{_percent(levels[c])}, n={levels[c]['num']}" if c in levels else "-" for c in range(1, 6)]
        rows.append([name, *told, _number(row["calibration"]["overconfidence"]), _number(row["calibration"]["brier"])])
    heads = [f"right at {c} ({50 + 12.5 * (c - 1):g} %)" for c in range(1, 6)]
    return Table(head=("reader", *heads, "overconfidence", "Brier"), rows=rows)


def _calibration_plot(rows: Mapping[str, Any]) -> list[str]:
    curves = {"as stated": ([0.5, 1.0], [0.5, 1.0])}
    for name, row in list(rows.items())[:MOST_CURVES]:
        levels = row["calibration"]["levels"]
        curves[name] = ([level["stated"] for level in levels], [level["value"] for level in levels])
    return [curve_svg(curves, x="stated probability of being right", y="share right", title="Calibration")]


def pair_table(result: Mapping[str, Any]) -> Table:
    rows = [
        [
            " and ".join(row["readers"]),
            *(_span(row.get(n)) for n in ("answer", "realism", "agreement")),
            str(row["num"]),
        ]
        for row in result["pairs"]
    ]
    return Table(
        head=("readers", "kappa, real or synthetic", "realism", "agreement with the text", "images"), rows=rows
    )


def repeat_table(result: Mapping[str, Any]) -> Table:
    rows = []
    for name, row in result["readers"].items():
        again = row["repeats"]
        if again:
            difference = f"{again['realism_difference']:.2f}"
            rows.append([name, _percent(again["same"]), _span(again["kappa"]), difference, str(again["num"])])
    return Table(head=("reader", "same answer", "kappa", "realism, mean difference", "repeats"), rows=rows)


def _sheets(
    shares: Mapping[str, float], readers: Mapping[str, Answers], shown: Mapping[str, Shown], pictures: Path
) -> list[Section]:
    """Synthetic images alone: no picture of a patient goes into a report."""
    found = []
    for title, items in (
        ("Synthetic images that were recognised most", sorted(shares, key=lambda i: (-shares[i], i))),
        ("Synthetic images that passed for real most", sorted(shares, key=lambda i: (shares[i], i))),
    ):
        figures = []
        for item in items[:SHEET]:
            path = pictures / f"{item}.png"
            if not path.is_file():
                continue
            remarks = [a[item].comment for a in readers.values() if item in a and a[item].comment]
            note = "; ".join([f"called synthetic by {shares[item]:.0%}", *remarks])[:200]
            caption = f"{item}: {shown[item].text[:110]}"
            figures.append(Figure(image=image_uri(path), caption=caption, alt=shown[item].text[:200], note=note))
        if figures:
            found.append(Section(title=title, figures=figures))
    return found


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The same without pictures."""
    lines = [f"# {title}: scores", ""]
    for section in sections:
        if not (section.text or section.tables):
            continue
        lines += [f"## {section.title}", "", *(line for text in section.text for line in (text, ""))]
        for table in section.tables:
            if table.rows:
                lines += [_line(table.head), f"|{'---|' * len(table.head)}", *map(_line, table.rows), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _percent(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    return f"{row['value']:.0%}" + ("" if row["low"] is None else f" ({row['low']:.0%} to {row['high']:.0%})")


def _span(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return "-"
    return f"{row['value']:.2f}" + ("" if row["low"] is None else f" ({row['low']:.2f} to {row['high']:.2f})")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
