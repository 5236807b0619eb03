"""Loops of `vesalius improve run`, read and decided on through `vesalius.improve` alone.

Who only rates sees none of it, for it tells which pictures are synthetic. A teacher looks; an owner decides. What a
round is to be without is first kept in the store's table `kept_out`, and goes into the loop's folder with the approval,
whole.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vesalius.data.images.image import png_bytes, read_image
from vesalius.data.record import read_state
from vesalius.demo.loop import chinese
from vesalius.demo.page import Desk, Language, text_within
from vesalius.demo.rating.queue import rater_of
from vesalius.demo.sentences import Refusal
from vesalius.demo.store.accounts import Account
from vesalius.improve.config import ApproveConfig
from vesalius.improve.deciding.facts import NAME, number, read_facts
from vesalius.improve.people.review import accepted_samples, approve, resolve, verdicts_of, waiting_round
from vesalius.improve.telling.plots import rounds_svg
from vesalius.improve.telling.report import curve_of, plotted
from vesalius.improve.telling.rounds import texts_of
from vesalius.improve.telling.status import gate_of, read_status

EXAMPLES = 6
"""Pictures of each reason for which a round refused some."""
MOST_WAITING = 300
"""Pictures of a waiting round that the page shows; the round's review.csv lists them all."""
MOST_REASON = 500
WATCHED = ("config.json", "ledger.jsonl", "champion.json", "round-*/*.json*", "round-*/accepted", "round-*/samples")
"""What of a loop's folder changes when it goes on."""
BROKEN = (ValueError, OSError, KeyError, TypeError, AttributeError)
"""What reading files comes to that are half written, gone, or something else."""
log = logging.getLogger(__name__)
_PLOTTING = threading.Lock()  # matplotlib's figures are one for all threads


@dataclass(frozen=True, kw_only=True)
class Example:
    """A sample of a round. reason: why it was refused, "" where it passed."""

    sha256: str
    text: str
    reason: str = ""


def loop_at(desk: Desk, place: int) -> Path:
    """A loop's folder by its place among those that the demo was given. ValueError where there is none, or it
    vanished."""
    folders = desk.config.loop
    if type(place) is not int or not 0 <= place < len(folders):
        raise Refusal(
            f"There is no loop {place}; the demo was given {len(folders)} (--loop), counted from 0",
            f"没有编号为 {place} 的循环；本页有 {len(folders)} 个（--loop），从 0 数起",
        )
    if not folders[place].is_dir():
        raise Refusal(
            f"The folder of the loop '{folders[place].name}' is not there; was it moved or not begun yet?",
            f"循环“{folders[place].name}”的文件夹不存在；是否已移动或尚未开始？",
        )
    return folders[place]


def watcher(account: Account) -> None:
    """ValueError where a person may not look at loops."""
    if account.role == "rater":
        raise Refusal(
            "Raters do not see loops, for they tell which pictures are synthetic",
            "评分者不能查看循环，因为其中会显示哪些图像是合成的",
        )


def owner(account: Account) -> None:
    """ValueError where a person may not decide on rounds."""
    if account.role != "owner":
        raise Refusal(
            "Only an owner decides on rounds; ask one, or whoever keeps this page for that role",
            "只有所有者可以决定轮次；请联系所有者，或请本页管理员授予该角色",
        )


def read_loop(folder: Path) -> dict[str, Any]:
    """Where a loop stands (`vesalius.improve.telling.status`), without the folders of this machine. ValueError where
    its folder holds no loop, or is being written at this moment."""
    try:
        return without_paths(folder, read_status(folder))
    except BROKEN as error:
        raise ValueError(sentence_of(folder, error)) from None


def sentence_of(folder: Path, error: Exception) -> str:
    """What is wrong with a loop's folder, in words for whoever looks at it."""
    if isinstance(error, ValueError) and not isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
        return plain(folder, str(error))
    log.info("a loop cannot be read", exc_info=error)
    return (
        f"The loop '{folder.name}' is being written, or a file of it is damaged ({type(error).__name__}); this page "
        "looks again by itself"
    )


def without_paths(folder: Path, told: dict[str, Any]) -> dict[str, Any]:
    """What a loop tells, with its name in the place of its folder."""
    shown: dict[str, Any] = json.loads(plain(folder, json.dumps(told, ensure_ascii=False)))
    return shown


def plain(folder: Path, text: str) -> str:
    """A text with the name of a loop in the place of its folder."""
    for path in sorted({str(folder), str(folder.absolute()), str(folder.resolve())}, key=len, reverse=True):
        if path not in ("", ".", "/"):
            text = text.replace(path, folder.name)
    return text


def stamp_of(folder: Path) -> str:
    """Changes whenever a loop has written something that a page shows."""
    times = []
    for pattern in WATCHED:
        for path in sorted(folder.glob(pattern)):
            try:
                times.append((path.name, path.stat().st_mtime_ns))
            except OSError:
                continue  # removed meanwhile
    return f"{hash(tuple(times)):x}"


def seconds_ago(folder: Path) -> float:
    """How long ago a loop last wrote to its ledger."""
    path = folder / "ledger.jsonl"
    return time.time() - path.stat().st_mtime if path.is_file() else float("inf")


def examples_of(round_folder: Path) -> dict[str, list[Example]]:
    """Some samples of each gate that refused some, by gate."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in verdicts_of(round_folder):
        if row["reason"] is not None:
            mine = rows.setdefault(gate_of(row["reason"]), [])
            if len(mine) < EXAMPLES:
                mine.append(row)
    texts = texts_of(round_folder, {row["prompt"] for mine in rows.values() for row in mine})
    return {
        gate: [
            Example(
                sha256=row["sha256"], text=texts.get(row["prompt"], row["stratum"]),
                reason=row["reason"].partition(": ")[2] or row["reason"],
            )
            for row in mine
        ]
        for gate, mine in rows.items()
    }  # fmt: skip


def waiting_of(folder: Path) -> int | None:
    """The round of a loop that waits for review; None where none does, or its folder cannot be read."""
    try:
        return waiting_round(folder)
    except BROKEN:
        return None


def waiting_samples(folder: Path, index: int) -> Iterator[Example]:
    """What of a waiting round passed its gates."""
    for sample in accepted_samples(round_folder(folder, index)):
        yield Example(sha256=sample.sha256, text=sample.text)


def round_folder(folder: Path, index: int) -> Path:
    """The folder of a round."""
    return folder / f"round-{index:02d}"


def picture_of(desk: Desk, account: Account, place: int, index: int, digest: str) -> bytes:
    """The picture of a loop's sample by its digest, written anew. ValueError where it is none of that round, or this
    person may not see it."""
    watcher(account)
    folder = round_folder(loop_at(desk, place), index)
    name = _names(folder, _written(folder / "verdicts.jsonl")).get(digest)
    if name is None:
        raise Refusal("This round has no such sample; reload the page", "本轮没有这个样本；请刷新页面")
    path = (folder / "samples" / name).resolve()
    if not path.is_relative_to((folder / "samples").resolve()):
        raise Refusal("This round has no such sample; reload the page", "本轮没有这个样本；请刷新页面")
    return png_bytes(read_image(path))


def kept_out(desk: Desk, folder: Path, index: int) -> set[str]:
    """Digests of what an owner wants a waiting round to be without."""
    with desk.store.read() as db:
        rows = db.execute("SELECT sha256 FROM kept_out WHERE folder = ? AND round = ?", [str(folder.resolve()), index])
        return {row["sha256"] for row in rows}


def keep_out(desk: Desk, account: Account, *, loop: int = 0, sample: str = "", on: bool = True) -> dict[str, Any]:
    """Keep a sample of the round that waits out of it, or let it in again; nothing is written to the loop before the
    approval. sample: file name or digest. ValueError where no round waits, or it has no such sample."""
    owner(account)
    folder = loop_at(desk, loop)
    index = _waiting(folder)
    passed = {s.file_name: s.sha256 for s in accepted_samples(round_folder(folder, index))}
    try:
        (digest,) = resolve([text_within(sample, 300, "The sample")], passed, round_folder(folder, index))
    except ValueError as error:
        raise ValueError(plain(folder, str(error)).removeprefix("--veto ")) from None
    with desk.store.write() as db:
        if on:
            db.execute(
                "INSERT INTO kept_out VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [str(folder.resolve()), index, digest, account.name, time.time()],
            )
        else:
            db.execute(
                "DELETE FROM kept_out WHERE folder = ? AND round = ? AND sha256 = ?",
                [str(folder.resolve()), index, digest],
            )
    num = len(kept_out(desk, folder, index))
    return {"round": index, "sample": digest, "out": bool(on), "kept_out": num, "let_in": len(passed) - num}


def approve_round(
    desk: Desk, account: Account, *, loop: int = 0, reason: str = "", expected: int | None = None
) -> dict[str, Any]:
    """Let the samples of the round that waits in, but those that are kept out (`vesalius improve approve`).

    expected: how many the page shows as kept out. ValueError where no round waits, where the loop is running, or where
    someone else has changed what is kept out since.
    """
    owner(account)
    folder = loop_at(desk, loop)
    index = _waiting(folder)
    out = sorted(kept_out(desk, folder, index))
    if expected is not None and expected != len(out):
        raise Refusal(
            f"{len(out)} samples are kept out by now, and your page shows {expected}; look again",
            f"现已排除 {len(out)} 个样本，而您的页面显示 {expected} 个；请重新查看",
        )
    try:
        by = rater_of(desk.store, account).name
    except ValueError:
        by = account.name  # the one person here, who has given no name
    why = " ".join(text_within(reason, MOST_REASON, "The reason").split())
    try:
        review = approve(ApproveConfig(folder=folder, veto=tuple(out), by=by, reason=why))
    except ValueError as error:
        raise ValueError(plain(folder, str(error))) from None
    with desk.store.write() as db:
        db.execute("DELETE FROM kept_out WHERE folder = ? AND round = ?", [str(folder.resolve()), index])
    return without_paths(folder, {**review, "kept_out": len(out)})


def curves_of(folder: Path, language: Language = "en") -> list[tuple[str, str]]:
    """Numbers over the rounds as SVG, each with what it shows in words; none before two rounds are decided."""
    paths = [p for p in sorted(folder.glob(f"round-*/{NAME}")) if (p.parent / "decision.json").is_file()]
    return _curves(tuple(paths), tuple(_written(p) for p in paths), language) if len(paths) > 1 else []


@lru_cache(maxsize=16)
def _curves(paths: tuple[Path, ...], _stamp: object, language: Language) -> list[tuple[str, str]]:
    facts, refused = {}, []
    for path in paths:
        decision = read_state(path.parent / "decision.json", "run the loop's line again")
        facts[decision["round"]] = read_facts(path.parent)
        if not decision["promoted"]:
            refused.append(decision["round"])
    say = chinese.told if language == "zh" else None
    drawn = []
    for one in plotted(facts):
        better = "higher" if one.up else "lower"
        with _PLOTTING:
            svg = rounds_svg(
                curve_of(facts, one.name), title=one.told, better=better, percent=one.share, refused=refused, told=say
            )
        known = [(f"round {i}", number(f.by_name[one.name])) for i, f in sorted(facts.items()) if one.name in f.by_name]
        title, way, *rounds = map(say or str, (one.told, f"{better} is better", *(name for name, _ in known)))
        told = [f"{name} {value}" for name, (_, value) in zip(rounds, known, strict=True)]
        drawn.append((svg, f"{title}，{way}：{'；'.join(told)}" if say else f"{title}, {way}: {'; '.join(told)}"))
    return drawn


def _waiting(folder: Path) -> int:
    try:
        index = waiting_round(folder)
    except (ValueError, OSError) as error:
        raise ValueError(plain(folder, str(error))) from None
    if index is None:
        raise Refusal(
            "No round of this loop waits for review; only a loop that runs with --review waits",
            "该循环没有等待审核的轮次；只有以 --review 运行的循环才会等待",
        )
    return index


@lru_cache(maxsize=32)
def _names(folder: Path, _stamp: object) -> dict[str, str]:
    """File names of a round's samples by their digests."""
    return {row["sha256"]: row["file_name"] for row in verdicts_of(folder)}


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0
