"""The blinded queue: which picture a rater sees next, and what they said of it.

    turn = next_turn(store, pool, rater, "one")       the same until it is answered, in any tab and after a reload
    answer(store, rater, turn.ticket, said)           once, however often it is pressed
    go_back(store, rater)                             the last answer is withdrawn, and its picture shown again

A page is told a ticket, which is a random word, and a text. The truth of a ticket is in the store's table `shown`.
What a rater says is first kept there and then written to STORE/ratings.jsonl; what a killed server did not get to write
is written by the next `settle`. Ratings have a key of their own, so writing one twice is as writing it once.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from typing import Any, Literal, get_args

from vesalius.data.datasets.split import place_of
from vesalius.demo.rating.pool import MOST_TEXT, Pool, edge_of, in_order
from vesalius.demo.sentences import Refusal
from vesalius.demo.store.accounts import LOCAL, Account
from vesalius.demo.store.schema import Store
from vesalius.eval.pictures import shortened
from vesalius.eval.readers.choice import Candidate
from vesalius.improve.people.ratings import Artefact, Level, Preference, Rating, parse_rating

Mode = Literal["one", "pair"]
REPEATS = 0.1
"""Share of pictures that a rater sees for the second time."""
GAP = 20
"""Pictures between the two times, at least."""
MOST_COMMENT, MOST_NAME = 500, 40
GONE = (
    "This picture is no longer yours to rate, or was never; reload the page",
    "该图像已不由您评分；请重新载入页面",
)
SHOWN = "SELECT * FROM shown WHERE account = ?"
OF_MODE = f"{SHOWN} AND json_extract(body, '$.mode') = ?"


@dataclass(frozen=True, kw_only=True)
class Rater:
    """One who rates. key: of the table `shown`. seed: of their order, which nobody is told."""

    key: str
    name: str
    level: Level
    seed: str


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One place in a rater's queue. sha256: of one picture, or of two. said: what they said before they went back."""

    ticket: str
    mode: Mode
    text: str
    sha256: tuple[str, ...]
    size: int
    said: Mapping[str, Any]


def rater_of(store: Store, account: Account, name: str = "", level: str = "") -> Rater:
    """Who rates: of a login its account; else the name that the one person here gives, or gave last. ValueError where
    none is known, or a logged-in person gives another."""
    if account.name != LOCAL:
        if name and name != account.name:
            raise Refusal(
                "You rate by the name of your account; log in as who rates", "您以帐号名评分；请以评分者身份登录"
            )
        return dataclasses.replace(_enter(store, account.name, account.level), level=account.level)
    name = " ".join(name.split())
    if level and level not in get_args(Level):
        raise Refusal(
            f"The level is one of {', '.join(filter(None, get_args(Level)))}, or left empty",
            f"级别应为 {'、'.join(filter(None, get_args(Level)))} 之一，或留空",
        )
    if not name:
        with store.read() as db:
            row = db.execute(
                "SELECT account FROM raters WHERE account LIKE ? ORDER BY used DESC LIMIT 1", [f"{LOCAL}:%"]
            ).fetchone()
        if row is None:
            raise Refusal("Give a name or a pseudonym to rate by", "请填写评分所用的姓名或化名")
        return _enter(store, row["account"], "")
    if len(name) > MOST_NAME or not name.isprintable():
        raise Refusal(
            f"The name has {len(name)} characters; at most {MOST_NAME} are kept. Shorten it",
            f"姓名有 {len(name)} 个字符；最多保存 {MOST_NAME} 个。请缩短",
        )
    return _enter(store, f"{LOCAL}:{name}", level)


def _enter(store: Store, key: str, level: str) -> Rater:
    with store.write() as db:
        db.execute(
            "INSERT INTO raters VALUES (?, ?, ?, ?) ON CONFLICT (account) DO UPDATE SET used = excluded.used, "
            "level = CASE excluded.level WHEN '' THEN level ELSE excluded.level END",
            [key, level, secrets.token_hex(8), time.time()],
        )
        row = db.execute("SELECT * FROM raters WHERE account = ?", [key]).fetchone()
    return Rater(key=key, name=key.removeprefix(f"{LOCAL}:"), level=row["level"], seed=row["seed"])


def next_turn(store: Store, pool: Pool, rater: Rater, mode: str, *, real_share: float) -> Turn | None:
    """What a rater is to look at next; None where they have seen all. ValueError where a mode is none."""
    if mode not in get_args(Mode):
        raise Refusal("One picture at a time is 'one', and two are a 'pair'", "逐幅评分为 one，两幅比较为 pair")
    settle(store, rater.key)
    with store.write() as db:  # whole within one: two tabs are given the same
        rows = db.execute(f"{OF_MODE} AND answered IS NULL ORDER BY place", [rater.key, mode]).fetchall()
        for row in rows:
            turn = _turn(row)
            if all(pool.find(d) for d in turn.sha256):
                return turn
            if not json.loads(row["body"]).get("unwritten"):
                db.execute("DELETE FROM shown WHERE ticket = ?", [row["ticket"]])  # its picture was taken away
        last = db.execute("SELECT max(place) FROM shown WHERE account = ?", [rater.key]).fetchone()[0]
        place = 0 if last is None else last + 1
        known = db.execute(OF_MODE, [rater.key, mode])
        seen = [json.loads(r["body"]) | {"place": r["place"], "answered": r["answered"]} for r in known]
        chosen = _next_pair(pool, rater, seen) if mode == "pair" else _next_one(pool, rater, seen, place, real_share)
        if chosen is None:
            return None
        first = chosen.pictures[0]
        text = first.text if mode == "pair" else pool.told(first)  # a pair is of one prompt, and synthetic
        body = {
            "mode": mode, "sha256": [p.sha256 for p in chosen.pictures], "origin": first.origin,
            "repeat": chosen.is_repeat, "text": shortened(text, MOST_TEXT), "size": chosen.size,
        }  # fmt: skip
        ticket = secrets.token_urlsafe(12)
        db.execute("INSERT INTO shown VALUES (?, ?, ?, ?, NULL)", [rater.key, place, ticket, json.dumps(body)])
        return _turn(db.execute("SELECT * FROM shown WHERE ticket = ?", [ticket]).fetchone())


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """What comes next, and at which size in pixels."""

    pictures: tuple[Candidate, ...]
    size: int
    is_repeat: bool = False


def _next_one(
    pool: Pool, rater: Rater, seen: Sequence[Mapping[str, Any]], place: int, real_share: float
) -> _Chosen | None:  # fmt: skip
    """One picture: now and then one of long ago, or a real one in the place of a synthetic one."""
    if place_of(f"{rater.seed}/{place}/repeat") < REPEATS:
        again = {b["sha256"][0] for b in seen if b["repeat"]}
        early = {
            b["sha256"][0]: b["size"]
            for b in seen
            if b["answered"] and place - b["place"] > GAP and b["sha256"][0] not in again and pool.find(b["sha256"][0])
        }
        if early:
            digest = min(early, key=lambda d: place_of(f"{rater.seed}/{d}/again"))
            picture = pool.find(digest)
            assert picture is not None
            return _Chosen(pictures=(picture,), size=early[digest], is_repeat=True)
    known = {b["sha256"][0] for b in seen}
    digest = next((d for d in in_order(pool.synthetic, rater.seed) if d not in known), "")
    if not digest:
        return None
    drawn = pool.synthetic[digest]
    real = pool.stand_in(drawn, known, rater.seed) if place_of(f"{rater.seed}/{place}/real") < real_share else None
    return _Chosen(pictures=(real or drawn,), size=edge_of(drawn))


def _next_pair(pool: Pool, rater: Rater, seen: Sequence[Mapping[str, Any]]) -> _Chosen | None:
    """Two pictures of one prompt that this rater has not compared; every picture once before one comes twice."""
    done = {frozenset(b["sha256"]) for b in seen}
    times = Counter(d for b in seen for d in b["sha256"])
    prompts = {members[0]: members for members in pool.groups.values()}
    pairs = [
        (max(times[a], times[b]), place, place_of(f"{rater.seed}/{a}/{b}"), (a, b))
        for place, first in enumerate(in_order(prompts, rater.seed))
        for a, b in combinations(prompts[first], 2)
        if frozenset((a, b)) not in done
    ]
    if not pairs:
        return None
    *_, side, (a, b) = min(pairs)
    order = (a, b) if int(side * 2**20) % 2 else (b, a)
    pictures = tuple(pool.synthetic[d] for d in order)
    return _Chosen(pictures=pictures, size=min(edge_of(p) for p in pictures))


def answer(store: Store, rater_key: str, ticket: str, said: Mapping[str, Any], level: Level = "") -> None:
    """Keep what a rater says of a ticket of theirs; one that is answered already stays as it is. ValueError where it is
    not theirs, or something lacks or is no judgement."""
    with store.write() as db:
        row = _row(db, rater_key, ticket)
        if row["answered"] is None:
            body = json.loads(row["body"])
            rating = _rating(body, rater_key, level, said)
            body |= {"said": said_of(rating), "key": rating.key}
            body["unwritten"] = [*body.get("unwritten", []), rating.to_json()]
            _keep(db, ticket, body, time.time())
    settle(store, rater_key)


def go_back(store: Store, rater_key: str, ticket: str = "") -> str:
    """Withdraw a rater's last answer, or that of a ticket, so that it is asked again; returns the ticket. ValueError
    where there is none."""
    with store.write() as db:
        if ticket:
            row = _row(db, rater_key, ticket)
        else:
            row = db.execute(f"{SHOWN} AND answered > 0 ORDER BY answered DESC LIMIT 1", [rater_key]).fetchone()
        if row is None:
            raise Refusal(
                "There is nothing to go back to: you have rated no picture yet", "没有可返回的：您还没有评过图像"
            )
        if row["answered"] is not None:
            body = json.loads(row["body"])
            withdrawal = {"withdraws": body.pop("key"), "rater": _name(rater_key), "time": _now()}
            body["unwritten"] = [*body.get("unwritten", []), withdrawal]
            _keep(db, row["ticket"], body, None)
    settle(store, rater_key)
    return str(row["ticket"])


def settle(store: Store, rater_key: str | None = None) -> None:
    """Write to the file of ratings what is kept and not there yet; of one rater, or of all."""
    with store.read() as db:
        rows = db.execute(
            "SELECT * FROM shown WHERE (?1 IS NULL OR account = ?1) AND json_array_length(body, '$.unwritten') > 0 "
            "ORDER BY account, place",
            [rater_key],
        ).fetchall()
    for row in rows:
        written = json.loads(row["body"])["unwritten"]
        for entry in written:
            if key := entry.get("withdraws"):
                if any(r.key == key for r in store.ratings.read()):
                    store.ratings.withdraw(key, entry["rater"], entry["time"])
            else:
                rating = parse_rating(entry, "the store")
                assert isinstance(rating, Rating)
                store.ratings.add(rating)
        with store.write() as db:
            now = db.execute("SELECT * FROM shown WHERE ticket = ?", [row["ticket"]]).fetchone()
            body = json.loads(now["body"])
            body["unwritten"] = [e for e in body["unwritten"] if e not in written]
            _keep(db, row["ticket"], body, now["answered"])


def find_turn(store: Store, rater_key: str, ticket: str) -> Turn:
    """What a ticket of a rater's shows. ValueError where it is not theirs."""
    with store.read() as db:
        return _turn(_row(db, rater_key, ticket))


def rater_key_of(store: Store, account: Account, ticket: str) -> str:
    """Whose a ticket is, where that is the one who asks; here without a login any of the names that were given.
    ValueError where it is another's."""
    with store.read() as db:
        row = db.execute("SELECT account FROM shown WHERE ticket = ?", [ticket]).fetchone()
    if row is None or not (row["account"] == account.name or account.name == LOCAL == row["account"].split(":")[0]):
        raise Refusal.of(GONE)
    return str(row["account"])


def progress(store: Store, pool: Pool, rater: Rater, mode: str, real_share: float) -> dict[str, int]:
    """How many a rater has rated, how many of them in the last twelve hours, and about how many there are in all.

    The last depends on the pool alone: a count of what is left would tell a real picture from a synthetic one.
    """
    with store.read() as db:
        times = [r["answered"] for r in db.execute(f"{OF_MODE} AND answered > 0", [rater.key, mode])]
    if mode == "pair":
        about = sum(len(m) * (len(m) - 1) // 2 for m in pool.groups.values())
    else:
        drawn = len(pool.synthetic)
        about = drawn + min(len(pool.real), round(drawn * real_share / (1 - real_share)))
    recent = time.time() - 12 * 3600
    return {"rated": len(times), "today": sum(t > recent for t in times), "about": max(about, len(times))}


def said_of(rating: Rating) -> dict[str, Any]:
    """What a rating says, for a page that shows it again."""
    names = ("realism", "agreement", "artefact", "teach", "preference", "comment")
    return {name: value for name in names if (value := getattr(rating, name)) not in (None, "")}


def _rating(body: Mapping[str, Any], rater_key: str, level: Level, said: Mapping[str, Any]) -> Rating:
    comment = " ".join(str(said.get("comment") or "").encode(errors="replace").decode().split())
    if len(comment) > MOST_COMMENT:
        raise Refusal(
            f"The comment has {len(comment)} characters; at most {MOST_COMMENT} are kept. Shorten it",
            f"备注有 {len(comment)} 个字符；最多保存 {MOST_COMMENT} 个。请缩短",
        )
    told = {"sha256": body["sha256"][0], "rater": _name(rater_key), "level": level, "time": _now(), "comment": comment}
    told |= {"repeat": body["repeat"], "origin": body["origin"]}
    if body["mode"] == "pair":
        _expect(said, "preference", get_args(Preference))
        told |= {"other": body["sha256"][1], "preference": said["preference"]}
    else:
        for name, known in (
            ("realism", range(1, 6)), ("agreement", range(1, 6)), ("artefact", get_args(Artefact)),
            ("teach", (True, False)),
        ):  # fmt: skip
            _expect(said, name, known)
            told[name] = said[name]
    rating = parse_rating(told, "the answer")
    assert isinstance(rating, Rating)
    return rating


def _expect(said: Mapping[str, Any], name: str, known: Sequence[Any]) -> None:
    value = said.get(name)
    if not any(value == k and type(value) is type(k) for k in known):
        words = ", ".join({True: "yes", False: "no"}[k] if isinstance(k, bool) else str(k) for k in known)
        raise Refusal(f"'{name}' is not answered; say one of {words}", f"“{name}”未作答；请选择：{words}")


def _row(db: sqlite3.Connection, rater_key: str, ticket: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute(f"{SHOWN} AND ticket = ?", [rater_key, ticket]).fetchone()
    if row is None:
        raise Refusal.of(GONE)
    return row


def _turn(row: sqlite3.Row) -> Turn:
    body = json.loads(row["body"])
    return Turn(
        ticket=row["ticket"], mode=body["mode"], text=body["text"], sha256=tuple(body["sha256"]), size=body["size"],
        said=body.get("said", {}),
    )  # fmt: skip


def _keep(db: sqlite3.Connection, ticket: str, body: Mapping[str, Any], answered: float | None) -> None:
    db.execute("UPDATE shown SET body = ?, answered = ? WHERE ticket = ?", [json.dumps(body), answered, ticket])


def _name(rater_key: str) -> str:
    return rater_key.removeprefix(f"{LOCAL}:")


def _now() -> str:
    return datetime.now(UTC).isoformat()
