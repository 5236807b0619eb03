"""Teaching cases, each its owner's, and the drafts of those that are being written.

A search looks for every word of it in a column of all that a case says, folded. That finds parts of words and two
Chinese characters, which an index of trigrams does not, and of a thousand cases takes some milliseconds.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from vesalius.demo.cases.case import MOST_WORDS, Case, case_of, folded, plain
from vesalius.demo.sentences import Refusal
from vesalius.demo.store.schema import Store

MOST_CASES = 2000
"""Cases that one person may keep."""
MOST_DRAFTS = 20


class CaseChanged(Refusal):
    """A save that would undo another one."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A case that was being written when the browser was closed. seen: the stamp of the case that it began from."""

    case: Case
    seen: float
    kept: float


def save_case(store: Store, account: str, case: Case, *, seen: float = 0.0) -> Case:
    """Keep a case: a new one where it has no id, else the changed one in place of that of the stamp `seen`.

    ValueError where it is empty, or it or a picture is not this person's; `CaseChanged` where it was saved meanwhile.
    """
    if case.is_empty:
        raise Refusal("The case is empty; write something, or add a picture", "病例是空的；请填写内容或添加图像")
    with store.write() as db:
        old = None if not case.id else _row(db, account, case.id)
        if old is not None and old["updated"] != seen:
            raise CaseChanged(
                "This case was changed meanwhile, in another window or by a script. Save yours as a copy, or open the "
                "newer one; what you wrote is still here",
                "该病例已在另一窗口或由脚本修改。请将您的内容另存为副本，或打开较新的版本；您写的内容仍在此处",
            )
        there = _modalities(db, account, [image.picture for image in case.images])
        before = set() if old is None else {image["picture"] for image in json.loads(old["body"])["images"]}
        if gone := [i.picture for i in case.images if i.picture not in there and i.picture not in before]:
            raise Refusal(
                f"{len(gone)} of the pictures are no longer here, or are someone else's; remove them",
                f"其中 {len(gone)} 幅图像已不在此处，或属于他人；请移除",
            )
        now = round(time.time(), 3)
        if old is None:
            (count,) = db.execute("SELECT COUNT(*) FROM cases WHERE account = ?", [account]).fetchone()
            if count >= MOST_CASES:
                raise Refusal(
                    f"You have {count} cases, which is as many as are kept; delete some",
                    f"您有 {count} 个病例，已达上限；请删除一些",
                )
            kept = replace(case, id=secrets.token_urlsafe(9), created=now, updated=now)
        else:
            kept = replace(case, created=old["created"], updated=max(now, round(old["updated"] + 0.001, 3)))
        told = f",{','.join(dict.fromkeys(there[i.picture] for i in kept.images if i.picture in there))},"
        db.execute(
            "INSERT INTO cases (id, account, title, body, created, updated, searched, modalities, level) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET title = excluded.title, "
            "body = excluded.body, updated = excluded.updated, searched = excluded.searched, "
            "modalities = excluded.modalities, level = excluded.level",
            [
                kept.id, account, kept.title, json.dumps(kept.body(), ensure_ascii=False), kept.created, kept.updated,
                folded(f"{kept.written}\n{told}"), told, kept.level,
            ],
        )  # fmt: skip
        db.execute("DELETE FROM drafts WHERE account = ? AND case_id = ?", [account, case.id])
    return kept


def find_case(store: Store, account: str, case: str) -> Case:
    """A person's case. ValueError where they have none of that name, whoever else may."""
    with store.read() as db:
        return _case(_row(db, account, case))


def find_cases(
    store: Store, account: str, *, text: str = "", level: str = "", modality: str = "", most: int = 200
) -> list[Case]:
    """A person's cases that say all words of a text, those that say them in the title first, then the newest."""
    words = folded(plain(text, MOST_WORDS, "The search")).split()[:20]
    where = "".join(" AND instr(searched, ?)" for _ in words)
    values: list[Any] = [account, *words]
    if level:
        where, values = f"{where} AND level = ?", [*values, level]
    if modality:
        where, values = f"{where} AND instr(modalities, ?)", [*values, f",{modality},"]
    # The title is the first line of what is searched.
    first = " AND ".join("instr(substr(searched, 1, instr(searched, char(10))), ?) > 0" for _ in words)
    order = f"({first}) DESC, updated DESC" if words else "updated DESC"
    with store.read() as db:
        rows = db.execute(
            f"SELECT * FROM cases WHERE account = ?{where} ORDER BY {order} LIMIT ?",
            [*values, *words, most],
        )
        return [_case(row) for row in rows]


def duplicate_case(store: Store, account: str, case: str) -> Case:
    """A copy of a person's case, whose pictures are the same."""
    old = find_case(store, account, case)
    mark = "（副本）" if old.language == "zh" else " (copy)"
    there = {image.picture for image in old.images}
    with store.read() as db:
        there &= set(_modalities(db, account, sorted(there)))
    images = tuple(image for image in old.images if image.picture in there)
    return save_case(store, account, replace(old, id="", title=f"{old.title[:190]}{mark}", images=images))


def delete_case(store: Store, account: str, case: str) -> None:
    """Delete a case; its pictures stay. ValueError where they have none of that name."""
    with store.write() as db:
        _row(db, account, case)
        db.execute("DELETE FROM cases WHERE id = ? AND account = ?", [case, account])
        db.execute("DELETE FROM drafts WHERE case_id = ? AND account = ?", [case, account])


def keep_draft(store: Store, account: str, case: Case, *, seen: float) -> None:
    """Keep what is being written; one draft for each case, and one for a new case."""
    with store.write() as db:
        db.execute(
            "INSERT OR REPLACE INTO drafts (account, case_id, body, seen, kept) VALUES (?, ?, ?, ?, ?)",
            [account, case.id, json.dumps(case.body(), ensure_ascii=False), seen, time.time()],
        )
        db.execute(
            "DELETE FROM drafts WHERE account = ? AND case_id NOT IN "
            "(SELECT case_id FROM drafts WHERE account = ? ORDER BY kept DESC LIMIT ?)",
            [account, account, MOST_DRAFTS],
        )


def newest_draft(store: Store, account: str, case: str | None = None) -> Draft | None:
    """A person's newest draft, or that of one case; None where there is none."""
    with store.read() as db:
        row = db.execute(
            "SELECT * FROM drafts WHERE account = ? AND case_id = COALESCE(?, case_id) ORDER BY kept DESC LIMIT 1",
            [account, case],
        ).fetchone()
    if row is None:
        return None
    return Draft(case=replace(case_of(json.loads(row["body"])), id=row["case_id"]), seen=row["seen"], kept=row["kept"])


def set_aside(store: Store, account: str) -> Case | None:
    """Make the draft of a new case a case, so that the next new one does not overwrite it; None where there is none."""
    draft = newest_draft(store, account, "")
    if draft is None or draft.case.is_empty:
        return None
    with store.read() as db:
        there = _modalities(db, account, [image.picture for image in draft.case.images])
    images = tuple(image for image in draft.case.images if image.picture in there)
    return save_case(store, account, replace(draft.case, images=images))


def drop_draft(store: Store, account: str, case: str) -> None:
    """Forget the draft of a case."""
    with store.write() as db:
        db.execute("DELETE FROM drafts WHERE account = ? AND case_id = ?", [account, case])


def _row(db: sqlite3.Connection, account: str, case: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute("SELECT * FROM cases WHERE id = ? AND account = ?", [case, account]).fetchone()
    if row is None:
        raise Refusal("This case is no longer here, or is someone else's", "该病例已不在此处，或属于他人")
    return row


def _case(row: sqlite3.Row) -> Case:
    return replace(case_of(json.loads(row["body"])), id=row["id"], created=row["created"], updated=row["updated"])


def _modalities(db: sqlite3.Connection, account: str, pictures: Sequence[str]) -> dict[str, str]:
    """The modality of each of these pictures that is there and this person's."""
    marks = ",".join("?" * len(pictures))
    rows = db.execute(
        f"SELECT id, json_extract(sample, '$.modality') FROM pictures WHERE account = ? AND id IN ({marks})",
        [account, *pictures],
    )
    return dict(rows.fetchall())
