"""Logging in as somebody tries it who guesses passwords: sessions, and how often one may try."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import pytest

from vesalius.demo.guard.tries import MOST_FROM_ONE, Tries
from vesalius.demo.store.accounts import Account, account_of_session, add_account, enter, remove_account
from vesalius.demo.store.schema import Store

WORD = "correct horse battery"


@pytest.fixture
def store(tmp_path: Any) -> Store:
    store = Store(tmp_path / "store")
    add_account(store, Account(name="anna"), WORD)
    return store


def test_a_new_password_or_no_account_ends_all_sessions(store: Store) -> None:
    first = enter(store, "anna", WORD)
    add_account(store, Account(name="anna"), WORD + "2")
    second = enter(store, "anna", WORD + "2")
    assert first
    assert second
    assert [account_of_session(store, s) for s in (first, second)] == [None, "anna"]
    remove_account(store, "anna")
    assert account_of_session(store, second) is None


def test_a_session_ends_and_is_kept_as_a_digest(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = enter(store, "anna", WORD)
    assert secret
    assert all(word.encode() not in store.path.read_bytes() for word in (secret, WORD))
    later = time.time() + 15 * 24 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    assert account_of_session(store, secret) is None


def test_time_does_not_tell_which_names_there_are(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    scrypt = hashlib.scrypt
    monkeypatch.setattr(hashlib, "scrypt", lambda *a, **k: (calls.append(""), scrypt(*a, **k))[1])
    counts = []
    for name in ("anna", "nobody", "x" * 100, "\ud800"):
        calls.clear()
        assert enter(store, name.encode(errors="replace").decode(), "wrong") is None
        counts.append(len(calls))
    assert counts == [1, 1, 1, 1]


def guess(tries: Tries, name: str, host: str, times: int, device: str = "") -> None:
    for _ in range(times):
        tries.enter(name, "wrong", host, device)


def test_guesses_are_bounded_and_a_known_browser_is_not_locked_out_by_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vesalius.demo.guard.tries.enter", lambda store, name, word: "secret" if word == WORD else None)
    tries = Tries(store)
    device = tries.device("anna")
    guess(tries, "anna", "10.0.0.1", MOST_FROM_ONE)
    with pytest.raises(BlockingIOError, match="wait five minutes"):
        tries.enter("anna", WORD, "10.0.0.1", "")
    assert tries.enter("anna", WORD, "10.0.0.2", "") == "secret"  # anna elsewhere
    assert tries.enter("anna", WORD, "10.0.0.1", device) == "secret"  # anna beside the guesser
    for i in range(3, 13):
        guess(tries, "anna", f"10.0.0.{i}", 9)
    with pytest.raises(BlockingIOError):  # too many in all for this name
        tries.enter("anna", WORD, "10.0.0.99", "")
    assert tries.enter("anna", WORD, "10.0.0.99", device) == "secret"
    with pytest.raises(BlockingIOError):  # another's cookie is worth nothing
        tries.enter("anna", WORD, "10.0.0.99", tries.device("bert"))
    guess(tries, "anna", "10.0.1.1", MOST_FROM_ONE, device)
    with pytest.raises(BlockingIOError):  # nor does a known browser guess without end
        tries.enter("anna", WORD, "10.0.1.1", device)


def test_one_address_does_not_try_names_without_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vesalius.demo.guard.tries.enter", lambda *_: None)
    tries = Tries(store)
    for i in range(50):
        tries.enter(f"name{i}", "wrong", "10.0.0.1", "")
    with pytest.raises(BlockingIOError):
        tries.enter("another", "wrong", "10.0.0.1", "")
    assert tries.enter("another", "wrong", "10.0.0.2", "") is None


def test_a_new_password_makes_known_browsers_strangers(store: Store) -> None:
    tries = Tries(store)
    device = tries.device("anna")
    assert len(tries._limits("anna", "10.0.0.1", device)) == 1
    add_account(store, Account(name="anna"), WORD + "2")
    assert len(tries._limits("anna", "10.0.0.1", device)) == 4
