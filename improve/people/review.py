"""People in the loop: a round that waits for review, its approval, and going back to an earlier round.

    OUT/round-01/review.html, review.csv    the accepted samples, to look at and to rate (a table for --ratings)
    OUT/round-01/review.json                who let them in, and which they kept out
    OUT/champion.json                       which round someone went back to

A loop with --review stops after the gates of a round (exit code 75). `vesalius improve approve` lets its samples in,
and the loop's own line continues. All of it is files, written whole, and each act is a line of the ledger.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

from vesalius.data.command.counted import counted
from vesalius.data.record import hold, read_rows, read_state, write_atomic, write_json
from vesalius.eval.pictures import image_uri, shortened
from vesalius.eval.report import Figure, Section, write_page
from vesalius.improve.config import ApproveConfig, RollbackConfig
from vesalius.improve.deciding.promotion import decisions_of, number_of
from vesalius.improve.ledger import Ledger
from vesalius.inference.sample import Sample, stream_samples

MOST_FIGURES = 300
"""Pictures of a review's page, of all strata in turn; the table lists every sample."""
SHORTEST = 8
"""Hexadecimal digits of a digest that are enough to name a sample, where no other begins so."""
COLUMNS = ("sha256", "file", "rater", "level", "realism", "agreement", "artefact", "teach", "comment", "prompt")


def rounds_of(out: Path) -> list[Path]:
    """The rounds of a loop that there are, in order. ValueError where the folder holds no loop."""
    if not (out / "config.json").is_file():
        raise ValueError(f"{out}: no loop there; begin one with `vesalius improve run RECIPE.toml --out {out}`")
    return sorted(p for p in out.glob("round-*") if p.is_dir())


def waiting(folder: Path) -> bool:
    """Whether a round has its verdicts and nobody has let its samples in yet."""
    later = any((folder / name).exists() for name in ("review.json", "accepted/manifest.json"))
    return (folder / "verdicts.jsonl").is_file() and not later


def waiting_round(out: Path) -> int | None:
    """The round of a loop with --review that waits for someone to look at it."""
    if not read_state(out / "config.json", "give another --out").get("review"):
        return None
    return next((number_of(p) for p in rounds_of(out) if waiting(p)), None)


def notice(folder: Path) -> str:
    """What to do about a round that waits."""
    return (
        f"{folder.name} waits for review: look at {folder / 'review.html'}, then "
        f"`vesalius improve approve {folder.parent} [--veto FILE_NAME ...]`, then the same line again"
    )


def verdicts_of(folder: Path) -> Iterator[dict[str, Any]]:
    """The rows of a round's verdicts one by one, for there may be many; none before they are there."""
    path = folder / "verdicts.jsonl"
    yield from read_rows(path) if path.is_file() else ()


def accepted_samples(folder: Path) -> Iterator[Sample]:
    """The samples of a round that its gates let pass, in the order of their prompts."""
    passed = {v["file_name"] for v in verdicts_of(folder) if v["reason"] is None}
    return (s for s in stream_samples(folder / "samples") if s.file_name in passed)


def write_review(folder: Path) -> Path:
    """The page and the table of a round that waits; returns the page's path. The same again is written as it was."""
    strata = {v["file_name"]: v["stratum"] for v in verdicts_of(folder) if v["reason"] is None}
    table, shown = StringIO(newline=""), dict[str, list[Figure]]()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(COLUMNS)
    each = max(1, MOST_FIGURES // max(1, len(set(strata.values()))))
    for sample in accepted_samples(folder):
        stratum = strata[sample.file_name]
        rows.writerow([sample.sha256, f"samples/{sample.file_name}", *[""] * 7, sample.text])
        figures = shown.setdefault(stratum, [])
        if len(figures) < each:
            figures.append(
                Figure(
                    image=image_uri(sample.picture(folder / "samples", units=False)),
                    caption=shortened(sample.text, 240), alt=sample.text,
                    note=f"{sample.file_name} · {sample.sha256[:12]}",
                )
            )  # fmt: skip
    write_atomic(folder / "review.csv", table.getvalue().encode())
    how = [
        f"Let them in with `vesalius improve approve {folder.parent.name}`; keep some out with --veto and the names or "
        "the digits below their pictures.",
        "Or rate them in review.csv (realism and agreement with the text 1 to 5, 5 the best; artefact none, minor or "
        "major; teach yes or no) and give it as --ratings: a 1 or 2, or a major artefact, keeps a sample out.",
    ]
    sections = [Section(title="What to do", text=how)]
    for stratum, figures in sorted(shown.items()):
        num = sum(s == stratum for s in strata.values())
        first = f", {len(figures)} of them shown" if len(figures) < num else ""
        sections.append(Section(title=f"{stratum}: {counted(num, 'sample')}{first}", figures=figures))
    path = folder / "review.html"
    write_page(
        path, f"Review of {folder.name}", f"{counted(len(strata), 'synthetic sample')} passed the gates", sections
    )
    return path


def approve(config: ApproveConfig) -> dict[str, Any]:
    """Let the samples of the round that waits in, but those that are vetoed; once done, the same again changes nothing.

    ValueError where none waits, or a veto names no sample of it.
    """
    with _held(config.folder):
        number = waiting_round(config.folder)
        told = {"by": config.by, "reason": config.reason}
        if number is None:
            return _approved_before(config)
        folder = config.folder / f"round-{number:02d}"
        named = resolve(config.veto, {s.file_name: s.sha256 for s in stream_samples(folder / "samples")}, folder)
        review = {"round": number, **told, "vetoes": named, "time": now()}
        write_json(folder / "review.json", review)
        enter_review(Ledger(config.folder / "ledger.jsonl"), folder)
        passed = sum(v["reason"] is None and v["sha256"] not in named for v in verdicts_of(folder))
        return {**review, "accepted": passed, "unchanged": False}


def _approved_before(config: ApproveConfig) -> dict[str, Any]:
    done = [p for p in rounds_of(config.folder) if (p / "review.json").is_file()]
    if done and not (done[-1] / "decision.json").is_file():
        review = read_review(done[-1])
        names = {s.file_name: s.sha256 for s in stream_samples(done[-1] / "samples")} if config.veto else {}
        if set(resolve(config.veto, names, done[-1])) == set(review["vetoes"]):
            enter_review(Ledger(config.folder / "ledger.jsonl"), done[-1])
            return {**review, "unchanged": True}
        num = counted(len(review["vetoes"]), "veto", "vetoes")
        raise ValueError(
            f"{config.folder}: {done[-1].name} was approved already, with {num}; give further vetoes as ratings "
            "(--ratings), which the next round heeds"
        )
    asked = read_state(config.folder / "config.json", "give another folder").get("review")
    hint = "run the loop's line first, or again" if asked else "only a loop that runs with --review waits"
    raise ValueError(f"{config.folder}: no round waits for review; {hint}")


def resolve(vetoes: Sequence[str], known: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Digest -> file name of the samples that vetoes name by file name or digest. known: file name -> digest.

    ValueError where one names none, or by its first digits several.
    """
    found: dict[str, str] = {}
    for veto in vetoes:
        word = veto.strip().removeprefix("samples/")
        named = {d: n for n, d in known.items() if word in (n, Path(n).name, d.lower())}
        if not named and len(word) >= SHORTEST:
            named = {d: n for n, d in known.items() if d.startswith(word.lower())}
        if len(named) > 1:
            raise ValueError(
                f"--veto {veto}: names {len(named)} samples of {folder.name}; give the whole name or digest"
            )
        if not named:
            names = [n if "/" in word else Path(n).name for n in known]
            near = difflib.get_close_matches(word, [*names, *known.values()], n=1, cutoff=0.5)
            hint = f"; did you mean '{near[0]}'?" if near else f"; {folder / 'review.csv'} lists them"
            raise ValueError(f"--veto {veto}: names no sample of {folder.name}{hint}")
        found |= named
    return dict(sorted(found.items()))


def read_review(folder: Path) -> dict[str, Any]:
    """A round's review.json; without vetoes where there is none."""
    path = folder / "review.json"
    return read_state(path, "remove it, and approve again") if path.is_file() else {"vetoes": {}}


def review_vetoes(folder: Path) -> dict[str, str]:
    """Digest -> reason of the samples of a round that its review kept out."""
    review = read_review(folder)
    why = "; ".join(w for w in (review.get("reason"), review.get("by") and f"by {review['by']}") if w)
    return dict.fromkeys(review["vetoes"], f"review: vetoed{f' ({why})' if why else ''}")


def enter_review(ledger: Ledger, folder: Path) -> None:
    """The ledger's lines on a round's review, once."""
    review = read_review(folder)
    facts = {k: v for k, v in review.items() if k not in ("round", "vetoes")}
    if facts:
        ledger.add("review", review["round"], **facts, vetoes=len(review["vetoes"]))
    enter_vetoes(ledger, folder, review_vetoes(folder))


def enter_vetoes(ledger: Ledger, folder: Path, vetoed: Mapping[str, str]) -> None:
    """The ledger's lines on samples that people kept out of what a round trains on, by digest, once each."""
    ledger.add_all("veto", number_of(folder), ((digest, {"reason": reason}) for digest, reason in vetoed.items()))


def rollback(config: RollbackConfig) -> dict[str, Any]:
    """Stand by an earlier round's adapter, or by a later one again that was promoted; the rounds stay as they are.

    The loop's line goes on from there: its next round draws with this champion and is held against it, and what was
    accepted so far stays in the training data. ValueError where there is no such round, or it was never promoted.
    """
    with _held(config.folder):
        decisions = decisions_of(config.folder)
        if not decisions:
            raise ValueError(f"{config.folder}: round 0 is not finished yet; run the loop's line again")
        champion = stood_by(config.folder, len(decisions), decisions[-1]["champion"])
        promoted = [i for i, d in enumerate(decisions) if d["promoted"]]
        earlier = [i for i in promoted if i < champion]
        if config.to is None and not earlier:
            raise ValueError(f"{config.folder}: round {champion} is the first champion; there is none to go back to")
        to = earlier[-1] if config.to is None else config.to
        if not 0 <= to < len(decisions):
            raise ValueError(f"--to {to}: no such round is decided; there are 0 to {len(decisions) - 1}")
        if to not in promoted:
            why = "; ".join(decisions[to]["reasons"])
            listed = ", ".join(map(str, promoted))
            raise ValueError(f"--to {to}: that round was rolled back itself ({why}); choose one of {listed}")
        former = _champion_file(config.folder)
        unchanged = to == champion
        if not unchanged:
            former = {
                "champion": to, "decided": len(decisions), "number": former.get("number", 0) + 1, "from": champion,
                "by": config.by, "reason": config.reason, "time": now(),
            }  # fmt: skip
            write_json(config.folder / "champion.json", former)
        enter_rollback(Ledger(config.folder / "ledger.jsonl"), config.folder)
        return {**former, "champion": to, "unchanged": unchanged}


def enter_rollback(ledger: Ledger, out: Path) -> None:
    """The ledger's line on the last return to an earlier round, once."""
    told = _champion_file(out)
    if told:
        facts = {k: v for k, v in told.items() if k not in ("champion", "number")}
        ledger.add("rollback", told["champion"], str(told["number"]), **facts)


def stood_by(out: Path, decided: int, champion: int) -> int:
    """The round that a loop stands by after so many decided rounds, of which the last made `champion`: that one, save
    where someone went to another since."""
    told = _champion_file(out)
    return int(told["champion"]) if told.get("decided") == decided else champion


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _champion_file(out: Path) -> dict[str, Any]:
    path = out / "champion.json"
    return read_state(path, "remove it, and go back again") if path.is_file() else {}


def _held(out: Path) -> Any:
    """Keep a running loop out. ValueError where the folder holds none."""
    rounds_of(out)
    return hold(out)
