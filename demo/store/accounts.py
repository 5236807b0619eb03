"""Who may enter: accounts with passwords (scrypt), and the sessions of their browsers.

Without a login there is one person, `LOCAL`, who is an owner. A password lets them in under that name where there is a
login, too, so that what they made before is theirs still.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import Literal, get_args

from vesalius.demo.sentences import Refusal
from vesalius.demo.store.schema import Store
from vesalius.improve.people.ratings import Level

LOCAL = "local"
Role = Literal["teacher", "rater", "owner"]
"""A rater rates; a teacher makes pictures, cases and quizzes too; an owner also decides on rounds of the loop."""
SESSION_SECONDS = 14 * 24 * 3600
SHORTEST = 10
"""Characters of the shortest password."""
_N, _R, _P = 2**14, 8, 1
_NOBODY = f"{base64.b64encode(bytes(16)).decode()}${base64.b64encode(bytes(64)).decode()}"
"""What is compared with where there is no account: salt and key of no password."""
_NAME = re.compile(r"[\w.@-]{1,40}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Account:
    """One person. level: what they are to raters' agreement."""

    name: str
    role: Role = "teacher"
    level: Level = ""


def add_account(store: Store, account: Account, password: str) -> None:
    """Add a person, or give one a new password, role and level. ValueError where a name or password is none."""
    if not _NAME.fullmatch(account.name):
        raise ValueError(f"account '{account.name[:50]}': expected 1 to 40 of a-z, A-Z, 0-9, '_', '.', '@' and '-'")
    if account.role not in get_args(Role):
        raise ValueError(f"role '{account.role}' is not known; expected one of {', '.join(get_args(Role))}")
    if account.level not in get_args(Level):
        known = ", ".join(filter(None, get_args(Level)))
        raise ValueError(f"level '{account.level}' is not known; expected one of {known}, or none")
    if not SHORTEST <= len(password) <= 1000:
        raise ValueError(f"the password has {len(password)} characters; expected {SHORTEST} or more")
    role = "owner" if account.name == LOCAL else account.role
    with store.write() as db:
        db.execute("DELETE FROM sessions WHERE account = ?", [account.name])
        db.execute(
            "INSERT INTO accounts VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
            "password = excluded.password, role = excluded.role, level = excluded.level",
            [account.name, _hashed(password, secrets.token_bytes(16)), role, account.level, time.time()],
        )


def remove_account(store: Store, name: str) -> None:
    """Shut a person out; what they made stays. ValueError where there is none of that name."""
    with store.write() as db:
        if not db.execute("DELETE FROM accounts WHERE name = ?", [name]).rowcount:
            raise Refusal(f"there is no account '{name}'", f"没有帐号“{name}”")


def accounts_of(store: Store) -> list[Account]:
    """All accounts, by name."""
    with store.read() as db:
        rows = db.execute("SELECT name, role, level FROM accounts ORDER BY name")
        return [Account(name=r["name"], role=r["role"], level=r["level"]) for r in rows]


def find_account(store: Store, name: str) -> Account:
    """The account of a name; `LOCAL` is an owner, with a password or without. ValueError where there is none."""
    found = next((a for a in accounts_of(store) if a.name == name), None)
    if found is None and name == LOCAL:
        return Account(name=LOCAL, role="owner")
    if found is None:
        raise Refusal(f"there is no account '{name}'", f"没有帐号“{name}”")
    return found


def enter(store: Store, name: str, password: str) -> str | None:
    """The secret of a new session; None where name and password do not belong together."""
    with store.read() as db:
        row = db.execute("SELECT password FROM accounts WHERE name = ?", [name]).fetchone()
    # As long for a name that does not exist, so that time does not tell names.
    stored = row["password"] if row else _NOBODY
    right = hmac.compare_digest(stored, _hashed(password[:1000], base64.b64decode(stored.split("$")[0])))
    if not (row and right):
        return None
    secret = secrets.token_urlsafe(32)
    with store.write() as db:
        db.execute("DELETE FROM sessions WHERE ends < ?", [time.time()])
        db.execute("INSERT INTO sessions VALUES (?, ?, ?)", [_digest(secret), name, time.time() + SESSION_SECONDS])
    return secret


def account_of_session(store: Store, secret: str) -> str | None:
    """The name of a session's account; None where there is no such session."""
    with store.read() as db:
        row = db.execute(
            "SELECT account FROM sessions WHERE digest = ? AND ends > ?", [_digest(secret), time.time()]
        ).fetchone()
    return row["account"] if row else None


def leave(store: Store, secret: str) -> None:
    """End a session."""
    with store.write() as db:
        db.execute("DELETE FROM sessions WHERE digest = ?", [_digest(secret)])


def sealed(store: Store, name: str, text: str) -> str:
    """What only this store can say of a text and an account, until its password changes."""
    with store.read() as db:
        row = db.execute("SELECT password FROM accounts WHERE name = ?", [name]).fetchone()
    key = row["password"].encode() if row else secrets.token_bytes(32)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _hashed(password: str, salt: bytes) -> str:
    key = hashlib.scrypt(password.encode(errors="replace"), salt=salt, n=_N, r=_R, p=_P)
    return f"{base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()
