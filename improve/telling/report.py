"""The page of a loop: where it stands, what was decided and why, in words, curves and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vesalius.data.command.counted import counted
from vesalius.data.command.page import write_html
from vesalius.data.record import read_rows
from vesalius.eval.fidelity.metrics import share
from vesalius.eval.pictures import curve_svg, image_uri, shortened
from vesalius.eval.report import Figure, Table
from vesalius.improve.deciding.facts import MIN_PROMPTS, NAME, Fact, Facts, read_facts
from vesalius.improve.deciding.promotion import HOW, table_of
from vesalius.improve.people.review import notice, read_review
from vesalius.improve.telling.plots import Curve, gamed_svg, rounds_svg
from vesalius.improve.telling.rounds import asked_tables, refusal_sheets, refusal_tables
from vesalius.improve.telling.status import TEST, read_status, still_holds
from vesalius.inference.sample import load_samples

MOST_PAIRS = 12
HEAD = ("what", "round 0", "before", "now", "compared")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a decision: its cells, and whether it is better, worse, or shown alone."""

    cells: Sequence[str]
    kind: str


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Pictures; paired: two and two side by side; folded: what stands in their place until it is opened."""

    figures: Sequence[Figure]
    paired: bool = False
    folded: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One heading of the page. verdict: after its title, green where good. head, rows: a decision."""

    title: str
    anchor: str
    verdict: str = ""
    good: bool = True
    text: Sequence[str] = ()
    more: Sequence[str] = ()
    head: Sequence[str] = HEAD
    rows: Sequence[Row] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[str] = ()
    folded_plots: Sequence[str] = ()
    sheets: Sequence[Sheet] = ()
    links: Sequence[tuple[str, str]] = field(default=())


def write_report(folder: Path) -> Path:
    """Write OUT/report.html from the files of the rounds that there are; returns its path."""
    status = read_status(folder)
    rounds = [folder / r["round"] for r in status["rounds"] if r["decision"]]
    decisions = {folder / r["round"]: r["decision"] for r in status["rounds"] if r["decision"]}
    parts = [
        *tested(folder, status),
        glance(status),
        *(decided(path, decisions[path]) for path in reversed(rounds) if decisions[path]["round"] > 0),
        *curves(decisions, status),
        *pictures(folder, rounds, status["champion"]),
        *(part for path in reversed(rounds) for part in gated(path)),
        training(rounds),
        record(folder, rounds),
    ]
    path = folder / "report.html"
    write_html(
        path, "vesalius.improve.telling", "report.html", title="Self-improvement loop",
        subtitle=f"{counted(len(rounds), 'round')} in {folder.resolve().name}",
        alarms=[f"Round {d['round']}: {d['alarm']}" for d in decisions.values() if d.get("alarm")],
        stand=stand(status), notes=[n for n in (status["ended"], at_hand(folder, status)) if n], parts=parts,
    )  # fmt: skip
    return path


def stand(status: Mapping[str, Any]) -> str:
    """The loop in one sentence."""
    done = [r["decision"] for r in status["rounds"] if r["decision"] and r["decision"]["round"] > 0]
    promoted = sum(d["promoted"] for d in done)
    told = f"The loop stands by round {status['champion']}" + (", the data alone" if not status["champion"] else "")
    return f"{told}: {promoted} of {counted(len(done), 'round')} promoted." if done else f"{told}."


def at_hand(folder: Path, status: Mapping[str, Any]) -> str | None:
    """A round that waits for a person, or is not decided yet."""
    if status["waiting"] is not None:
        name = f"round-{status['waiting']:02d}"
        return f"{notice(folder / name)}."
    row = next((r for r in status["rounds"] if r["decision"] is None), None)
    return f"{row['lines'][0].capitalize()}." if row else None


def glance(status: Mapping[str, Any]) -> Part:
    """A line per round."""
    rows = []
    for row in status["rounds"]:
        if decision := row["decision"]:
            first = decision["round"] == 0
            verdict = "begins" if first else "promoted" if decision["promoted"] else "rolled back"
            kind = "shown" if first else "better" if decision["promoted"] else "worse"
            accepted = f"{row['accepted']} of {row['samples']}" if row["samples"] else "-"
            why = "; ".join(decision["reasons"])
            rows.append(Row(cells=[f"round {decision['round']}", accepted, shortened(why, 240), verdict], kind=kind))
    return Part(title="Rounds", anchor="rounds", head=("round", "samples accepted", "why", "decision"), rows=rows)


def decided(path: Path, decision: Mapping[str, Any]) -> Part:
    """The decision of a round as a table in words."""
    verdict = "promoted" if decision["promoted"] else f"rolled back to round {decision['champion']}"
    return Part(
        title=f"Round {decision['round']}", anchor=path.name, verdict=verdict, good=decision["promoted"],
        text=decision["reasons"], rows=rows_of(decision), more=[decision.get("how", HOW), *decision.get("notes", ())],
        tables=[*strata_tables(path), *numbers(decision)],
        links=[("How this round was evaluated", f"{path.name}/eval/report.html")],
    )  # fmt: skip


def rows_of(decision: Mapping[str, Any]) -> list[Row]:
    told = sorted(decision.get("rows", ()), key=lambda row: not row["decides"])
    kinds = [row["told"] if row["decides"] and row["told"] in ("better", "worse") else
             "" if row["decides"] else "shown" for row in told]  # fmt: skip
    signs = {"better": "▲ better", "worse": "▼ worse"}
    return [
        Row(cells=[*cells[:-1], signs.get(cells[-1], cells[-1])], kind=kind)
        for cells, kind in zip(table_of(decision), kinds, strict=True)
    ]


def strata_tables(path: Path) -> list[Table]:
    """What was right by stratum, the worst first, beside round 0; folded."""
    now, first = read_facts(path), read_facts(path.with_name("round-00"))
    former = {s.name: s for s in first.strata}
    large = sorted((s for s in now.strata if s.num_prompts >= MIN_PROMPTS), key=lambda s: (s.value, s.name))
    rows = [
        [
            s.name,
            f"{100 * former[s.name].value:.0f} %" if s.name in former else "-",
            f"{100 * s.value:.0f} %",
            str(s.num_prompts),
        ]
        for s in large
    ]
    head = ("stratum", "right in round 0", "right now", "prompts")
    return [Table(head=head, rows=rows, folded=f"By stratum: {len(rows)}")] if rows else []


def numbers(decision: Mapping[str, Any]) -> list[Table]:
    """The numbers behind the words, folded."""
    rows = []
    for row in decision.get("rows", ()):
        digits = 3 if row["share"] else 5
        now = row["now"]
        cells = [row["what"], f"{now['value']:.{digits}f} ({now['low']:.{digits}f} to {now['high']:.{digits}f})"]
        for name in ("first", "champion"):
            found = row["differences"].get(name)
            told = "-"
            if found:
                told = f"{found['value']:+.{digits}f} ({found['low']:+.{digits}f} to {found['high']:+.{digits}f})"
                told += "" if found["paired"] else ", not paired"
            cells.append(told)
        rows.append([*cells, str(row["num"])])
    head = ("what", "now (95 %)", "gain over round 0 (interval)", "gain over the champion (interval)", "n")
    return [Table(head=head, rows=rows, folded="The numbers and their intervals")] if rows else []


def curves(decisions: Mapping[Path, Mapping[str, Any]], status: Mapping[str, Any]) -> list[Part]:
    """The gates beside the witness; each number that decides over the rounds, with its band, questions apart folded."""
    facts = {d["round"]: read_facts(p) for p, d in decisions.items() if (p / NAME).is_file()}
    if not facts:
        return []
    refused = [d["round"] for d in decisions.values() if not d["promoted"]]
    plots, folded = [*gates_and_witness(facts), *acceptance(status)], list[str]()
    for one in plotted(facts):
        plot = rounds_svg(
            curve_of(facts, one.name), title=one.told, better="higher" if one.up else "lower",
            percent=one.share, refused=refused,
        )  # fmt: skip
        (folded if one.group == "obedience" and one.decides else plots).append(plot)
    told = ["Bands are 95 % intervals of each round alone; two rounds are compared in pairs, which tells more."]
    told += ["Crosses are rounds that were rolled back."] if refused else []
    return [Part(title="Over the rounds", anchor="curves", text=told, plots=plots, folded_plots=folded)]


def plotted(facts: Mapping[int, Facts]) -> Iterator[Fact]:
    """The numbers whose curves are shown, each as the first round that has it tells it."""
    names = dict.fromkeys(f.name for each in facts.values() for f in each.facts if f.group != "gates")
    for name in names:
        one = next(each.by_name[name] for each in facts.values() if name in each.by_name)
        if one.decides or name == "obedience/all":
            yield one


def acceptance(status: Mapping[str, Any]) -> list[str]:
    """The share of candidates that the gates let pass, by round."""
    known = [(i, r["accepted"], r["samples"]) for i, r in enumerate(status["rounds"]) if r["samples"] and r["decision"]]
    if not known:
        return []
    shares = [share([1.0] * accepted + [0.0] * (num - accepted)) for _, accepted, num in known]
    curve = [i for i, *_ in known], [s.value for s in shares], [s.low for s in shares], [s.high for s in shares]
    title = "Candidates that the gates accept"
    return [rounds_svg(curve, title=title, better="", percent=True, refused=[])]


def curve_of(facts: Mapping[int, Facts], name: str) -> Curve:
    known = [(r, each.by_name[name]) for r, each in sorted(facts.items()) if name in each.by_name]
    return (
        [r for r, _ in known], [f.value for _, f in known], [f.low for _, f in known], [f.high for _, f in known]
    )  # fmt: skip


def gates_and_witness(facts: Mapping[int, Facts]) -> list[str]:
    """The two curves of which gamed gates are known, per modality's distance."""
    liked = curve_of(facts, "gates")
    names = dict.fromkeys(f.name for each in facts.values() for f in each.of("distance") if f.name.startswith("kid/"))
    if not liked[0]:
        return []
    return [
        gamed_svg(liked, curve_of(facts, name), f"distance of {name.partition('/')[2]}, by the witness")
        for name in names
    ]


def pictures(folder: Path, rounds: Sequence[Path], champion: int | None) -> list[Part]:
    """What the last champion draws beside round 0, for the same prompts and seeds."""
    last = folder / f"round-{champion or 0:02d}"
    last = last if champion else rounds[-1]
    if not (last / "eval-samples" / "metadata.jsonl").is_file():
        return []
    first, number = folder / "round-00", int(last.name.removeprefix("round-"))
    ours = load_samples(last / "eval-samples")[:MOST_PAIRS]
    if last == first:
        figures = [figure_of(first, s.file_name, s.text, "") for s in ours]
        return [Part(title="What round 0 draws", anchor="pictures", sheets=[Sheet(figures=figures)])]
    theirs = load_samples(first / "eval-samples")[:MOST_PAIRS]
    figures = []
    for before, after in zip(theirs, ours, strict=True):
        figures += [
            figure_of(first, before.file_name, before.text, "round 0", bad=True),
            figure_of(last, after.file_name, "", f"round {number}"),
        ]
    title = f"The same prompts and seeds: round 0 beside round {number}"
    return [Part(title=title, anchor="pictures", sheets=[Sheet(figures=figures, paired=True)])]


def figure_of(path: Path, name: str, text: str, note: str, *, bad: bool = False) -> Figure:
    return Figure(
        image=image_uri(path / "eval-samples" / name),
        caption=shortened(text, 160),
        alt=text or note,
        note=note,
        bad=bad,
    )


def reviewed(path: Path) -> list[str]:
    """Who let a round's samples in, and how many they kept out; nothing where nobody was asked."""
    if not (path / "review.json").is_file():
        return []
    review = read_review(path)
    who = f" by {review['by']}" if review.get("by") else ""
    why = f" ({review['reason']})" if review.get("reason") else ""
    return [f"Approved{who}; {counted(len(review['vetoes']), 'sample')} kept out{why}."]


def gated(path: Path) -> list[Part]:
    """What a round asked for, kept and refused."""
    if not (path / "verdicts.jsonl").is_file():
        return []
    number = int(path.name.removeprefix("round-"))
    sheets = [Sheet(figures=figures, folded=title) for title, figures in refusal_sheets(path)]
    return [
        Part(
            title=f"Round {number}: what was asked for, kept and refused",
            anchor=f"{path.name}-gates",
            text=reviewed(path),
            tables=[*refusal_tables(path), *asked_tables(path)],
            sheets=sheets,
        )
    ]


def tested(folder: Path, status: Mapping[str, Any]) -> list[Part]:
    """What test says, which was read once; first on the page, for it is what the loop is worth."""
    path = folder / TEST / "report.json"
    if not path.is_file():
        return []
    report = json.loads(path.read_text())
    pages = [("round 0", "round-00"), (f"round {report['round']}", "champion")]
    links = [
        (f"How {words} was evaluated on test", f"{TEST}/{name}/eval/report.html")
        for words, name in pages
        if (folder / TEST / name / "eval" / "report.html").is_file()
    ]
    told = (
        f"{len(report['better'])} better and {len(report['worse'])} worse than round 0 of "
        f"{sum(r['decides'] for r in report['rows'])} numbers."
    )
    if not report["round"]:
        told = "The loop stands by round 0, so there is nothing to compare it with."
    since = [] if report["round"] == status["champion"] else [f"{still_holds(report, status['champion'])}."]
    rows = [Row(cells=[c for i, c in enumerate(row.cells) if i != 2], kind=row.kind) for row in rows_of(report)]
    return [
        Part(
            title=f"Test, read once: round {report['round']}",
            anchor="test",
            text=[told, *since],
            head=tuple(h for h in HEAD if h != "before"),
            rows=rows,
            more=[report["how"], *report["notes"]],
            links=links,
        )
    ]


def training(rounds: Sequence[Path]) -> Part:
    """Losses of the trainings."""
    losses: dict[str, tuple[list[float], list[float]]] = {}
    validation: dict[str, tuple[list[float], list[float]]] = {}
    for path in rounds:
        rows = list(read_rows(path / "run" / "losses.jsonl"))
        window = max(1, len(rows) // 25)
        chunks = [rows[i : i + window] for i in range(0, len(rows), window)]
        losses[path.name] = ([c[-1]["step"] for c in chunks], [sum(r["loss"] for r in c) / len(c) for c in chunks])
        points = json.loads((path / "run" / "validation.json").read_text())
        validation[path.name] = ([p["step"] for p in points], [p["loss"] for p in points])
    return Part(
        title="Training", anchor="training",
        text=["Training loss is averaged over windows; validation loss is on all of val, and decides nothing."],
        plots=[
            curve_svg(validation, x="step", y="loss", title="Validation loss"),
            curve_svg(losses, x="step", y="loss", title="Training loss"),
        ],
    )  # fmt: skip


def record(folder: Path, rounds: Sequence[Path]) -> Part:
    """Where all of this is written down, and the hash by which a change is seen."""
    last = {"hash": "none yet"}
    num = 0
    for num, last in enumerate(read_rows(folder / "ledger.jsonl"), start=1):  # noqa: B007 (the last one is meant)
        pass
    told = (
        f"The ledger has {counted(num, 'line')}; the hash of the last is {last['hash']}. Write it down elsewhere: "
        "whoever changes a line changes it."
    )
    links = [("ledger.jsonl", "ledger.jsonl"), ("config.json", "config.json")]
    for path in rounds:
        names = (NAME, "eval/report.html", "review.html")
        links += [(f"{path.name}/{name}", f"{path.name}/{name}") for name in names if (path / name).is_file()]
    return Part(title="Ledger", anchor="ledger", text=[told], links=links)
