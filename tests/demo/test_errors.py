"""Errors of the page: each says in a sentence what is wrong, and what was expected."""

from __future__ import annotations

import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import HTTPException

from vesalius.demo import DemoConfig
from vesalius.demo.cases.case import Case
from vesalius.demo.checking.check_rates import _held_out
from vesalius.demo.compare import ladders
from vesalius.demo.create import choices
from vesalius.demo.create.choices import Wish
from vesalius.demo.export import archive
from vesalius.demo.guard import tries
from vesalius.demo.loop import loops
from vesalius.demo.orders import MAX_TEXT, Ask, Order
from vesalius.demo.page import Desk, Model, account_of, plainly
from vesalius.demo.rating.routes import answered
from vesalius.demo.server import check_port
from vesalius.demo.store import accounts
from vesalius.demo.store.accounts import LOCAL, Account
from vesalius.demo.store.cases import find_cases, save_case
from vesalius.demo.store.schema import Store
from vesalius.demo.tabs.cases_api import taken_in
from vesalius.demo.tabs.compare import _number

OWNER = Account(name=LOCAL, role="owner")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk on loopback, without a worker; its loop is an empty folder."""
    (tmp_path / "loop").mkdir()
    config = DemoConfig(store=tmp_path / "store", loop=(tmp_path / "loop",))
    model = Model(base="tiny", base_digest="b", adapter_digest=None, image_size=32, steps=1, guidance=1.0)
    return Desk(config=config, store=Store(config.store), model=model, support=None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"port": 0}, "--port 0: expected 1 to 65535"),
        ({"max_jobs": 0}, "--max-jobs 0: expected at least 1"),
        ({"real_share": 0.8}, r"--real-share 0\.8: expected a share from 0 to 0\.75"),
    ],
)
def test_numbers_of_a_demo_that_cannot_be_are_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DemoConfig(**fields)


def test_rates_need_records_that_are_held_out(phantoms: Path) -> None:
    with pytest.raises(ValueError, match="no record of split 'none' there that is held out; give another dataset"):
        _held_out(phantoms, "none")


def test_what_no_text_says_is_to_be_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "wordings", lambda *_: ())
    with pytest.raises(ValueError, match="no training text says this of CT; describe it in your own words"):
        choices.wording(Wish(modality="CT", organ="chest"), "en")


def test_a_ladder_whose_words_cannot_be_read_again_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    start = ladders.start_of("Chest CT with a 14 mm nodule in the left lung.", seed=1, modality=None, support=None)
    monkeypatch.setattr(ladders, "worded", lambda *_: None)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the sentence is one of the page's words
        ladders.ladder(start, "right", None)
    assert str(caught.value) == ladders._said("unreadable", "en")


def test_an_entry_that_is_not_there_or_too_large_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "case.zip", "w") as file:
        file.writestr("case.json", "{}")
    monkeypatch.setattr(archive, "MOST_ENTRY", 1)
    with zipfile.ZipFile(tmp_path / "case.zip") as file:
        with pytest.raises(ValueError, match=r"This ZIP file lacks a\.png; export the case again"):
            archive._entry(file, "a.png")
        with pytest.raises(ValueError, match=r"case\.json: is larger than 0 MB"):
            archive._entry(file, "case.json")


def test_who_logs_in_where_many_do_is_told_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "AT_ONCE", 0)
    monkeypatch.setattr(tries, "WAIT_SECONDS", 0)
    with pytest.raises(BlockingIOError, match="Many are logging in; try again"):
        tries.Tries(desk.store).enter("ada", "password", None, None)


def test_a_sample_out_of_a_loop_s_folder_is_none_of_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "_names", lambda *_: {"d": "../../../secret.png"})
    monkeypatch.setattr(loops, "_written", lambda *_: 0)
    with pytest.raises(ValueError, match="This round has no such sample"):
        loops.picture_of(desk, OWNER, 0, 1, "d")


def test_a_loop_whose_files_are_damaged_cannot_be_decided_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(folder: Path) -> None:
        raise ValueError(f"{folder}/round-01/plan.json: damaged; start anew")

    monkeypatch.setattr(loops, "waiting_round", damaged)
    with pytest.raises(ValueError, match="damaged; start anew") as caught:
        loops.keep_out(desk, OWNER, sample="a.png")
    assert str(desk.config.loop[0].parent) not in str(caught.value)


def test_who_is_not_logged_in_where_one_has_to_be_is_told(desk: Desk) -> None:
    config = DemoConfig(store=desk.config.store, host="0.0.0.0")
    strange: Any = SimpleNamespace(config=config, store=desk.store)
    with pytest.raises(ValueError, match=r"[Ll]og in"):
        account_of(strange, None)


def test_an_action_that_tells_as_it_goes_has_its_errors_told_too() -> None:
    def steps() -> Iterator[int]:
        yield 1
        raise ValueError("The seed is no number")

    going = plainly(steps)()
    assert next(going) == 1
    with pytest.raises(Exception, match="The seed is no number"):
        next(going)


def test_a_page_of_another_site_may_not_ask() -> None:
    request: Any = SimpleNamespace(headers={"sec-fetch-site": "cross-site"})
    with pytest.raises(HTTPException) as caught:
        answered(request, dict)
    assert (caught.value.status_code, caught.value.detail) == (403, "Only this page may ask that")


def test_an_import_without_a_file_and_a_range_without_numbers_are_told(desk: Desk) -> None:
    with pytest.raises(ValueError, match="No file came; give a ZIP file that the tab 'Cases' exported"):
        taken_in(desk, None, None)
    with pytest.raises(ValueError, match="The range: expected a number"):
        _number("many", "The range")


def test_accounts_that_cannot_be_are_named(desk: Desk) -> None:
    for name, password, message in (
        ("no name", "long enough to pass", "account 'no name': expected 1 to 40 of a-z"),
        ("ada", "short", "the password has 5 characters; expected"),
    ):
        with pytest.raises(ValueError, match=message):
            accounts.add_account(desk.store, Account(name=name, role="owner"), password)
    for ask in (accounts.find_account, accounts.remove_account):
        with pytest.raises(ValueError, match="there is no account 'nobody'"):
            ask(desk.store, "nobody")


def test_who_works_without_a_login_may_be_given_a_password_and_stays_an_owner(desk: Desk) -> None:
    case = save_case(desk.store, accounts.LOCAL, Case(title="Made before there was a login"))
    assert accounts.enter(desk.store, accounts.LOCAL, "a long password") is None
    accounts.add_account(desk.store, Account(name=accounts.LOCAL, role="rater", level="fellow"), "a long password")
    secret = accounts.enter(desk.store, accounts.LOCAL, "a long password") or ""
    found = accounts.find_account(desk.store, accounts.account_of_session(desk.store, secret) or "")
    assert (found.name, found.role, found.level) == ("local", "owner", "fellow")
    assert [c.id for c in find_cases(desk.store, found.name)] == [case.id]


def test_orders_that_are_too_long_are_told() -> None:
    ask = Ask(prompt="Chest CT.", seed=1, modality="CT")
    with pytest.raises(ValueError, match=r"The negative prompt has .* characters; at most .* are read. Shorten it"):
        Order(asks=(ask,), steps=1, guidance=1.0, negative="x" * (MAX_TEXT + 1))
    with pytest.raises(ValueError, match=r"The prompt has .* characters; at most .* are read. Shorten it"):
        Order(asks=(Ask(prompt="CT " * MAX_TEXT, seed=1, modality="CT"),), steps=1, guidance=1.0)


def test_a_port_that_is_taken_is_told(desk: Desk) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ValueError, match=r"cannot be listened on .*; give another --port or --host"):
            check_port(DemoConfig(store=desk.config.store, port=port))
