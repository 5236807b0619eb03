"""The tab 'Loop': what is told of a loop's files, to whom, and what an owner decides."""

from __future__ import annotations

import html
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from gradio_client.exceptions import AppError

from vesalius.data.record import hold, read_state
from vesalius.demo.loop import loops
from vesalius.demo.loop.page import WORDS, page_of
from vesalius.demo.page import Desk
from vesalius.demo.store.accounts import Account, add_account, enter, find_account
from vesalius.improve.ledger import Ledger, read_ledger
from vesalius.improve.people.review import accepted_samples, review_vetoes, waiting_round
from vesalius.inference.sample import load_samples

JudgedLoop = Callable[..., Path]
DeskOf = Callable[..., Desk]
PageOf = Callable[..., tuple[Desk, TestClient]]
OWNER, TEACHER, RATER = (Account(name=n, role=r) for n, r in (("o", "owner"), ("t", "teacher"), ("r", "rater")))  # type: ignore[arg-type]


@pytest.fixture
def waits(judged_loop: JudgedLoop) -> Path:
    """A loop whose round 1 waits for review."""
    out = judged_loop(1, review=True)
    Ledger(out / "ledger.jsonl").add("begin", 0)
    return out


def desk_with(desk_of: DeskOf, *folders: Path) -> Desk:
    return desk_of(rate=(), real=(), loop=folders)


def html_of(desk: Desk, account: Account = OWNER) -> str:
    return str(page_of(desk, account, "en")["html"])


def test_a_round_is_told_with_its_refusals_by_reason_and_pictures_of_each(desk_of: DeskOf, waits: Path) -> None:
    desk = desk_with(desk_of, waits)
    page = html_of(desk)
    for words in (
        "Round 1 waits for review", "3 samples passed the gates", "3 let in, 0 kept out", "Refused by 'agreement'",
        "less than real images do", "Refused by 'copy'", "nearer to a training image", "3 of 12 samples passed",
    ):  # fmt: skip
        assert words in page
    samples = load_samples(waits / "round-01" / "samples")
    assert all(f"/loops/0/1/{s.sha256}.png" in page for s in samples)
    assert page.count('alt="Synthetic: not for diagnosis. Chest CT with ') == len(samples)
    assert str(waits.parent) not in page


def test_a_page_that_is_known_already_is_not_sent_again(desk_of: DeskOf, waits: Path) -> None:
    desk = desk_with(desk_of, waits)
    told = page_of(desk, OWNER, "en")
    assert page_of(desk, OWNER, "en", stamp=told["stamp"]) == {"stamp": told["stamp"]}
    loops.keep_out(desk, OWNER, sample=next(accepted_samples(waits / "round-01")).sha256)
    assert "2 let in, 1 kept out" in page_of(desk, OWNER, "en", stamp=told["stamp"])["html"]


def test_only_an_owner_decides_and_who_only_rates_sees_nothing(page_of: PageOf, waits: Path) -> None:
    desk, page = page_of(rate=(), real=(), loop=(waits,), host="0.0.0.0")
    heads = {}
    for account in (OWNER, TEACHER, RATER):
        add_account(desk.store, account, "a long password")
        heads[account.role] = {"authorization": f"Bearer {enter(desk.store, account.name, 'a long password')}"}
    first = next(accepted_samples(waits / "round-01"))
    picture = f"/loops/0/1/{first.sha256}.png"
    assert [page.get(picture, headers=h).status_code for h in heads.values()] == [200, 200, 404]
    assert [page.get("/loops/page", headers=h).status_code for h in heads.values()] == [200, 200, 400]
    assert page.get(picture).status_code == page.get("/loops/page").status_code == 401
    assert "loop-approve" not in page.get("/loops/page", headers=heads["teacher"]).json()["html"]
    for role in ("teacher", "rater"):
        for path, told in (("keep_out", {"sample": first.sha256}), ("approve", {})):
            answer = page.post(f"/loops/{path}", json=told, headers=heads[role])
            assert answer.status_code == 400
            assert "Only an owner" in answer.json()["error"]
    assert waiting_round(waits) == 1


def test_only_a_loops_own_samples_are_served_and_without_their_recipe(page_of: PageOf, waits: Path) -> None:
    _, page = page_of(rate=(), real=(), loop=(waits,))
    first = next(accepted_samples(waits / "round-01"))
    told = page.get(f"/loops/0/1/{first.sha256}.png")
    assert told.status_code == 200
    assert b"tEXt" not in told.content
    assert b"iTXt" not in told.content
    for path in (
        f"/loops/1/1/{first.sha256}.png", f"/loops/0/2/{first.sha256}.png", "/loops/0/1/made-up.png",
        "/loops/0/1/%2e%2e%2f%2e%2e%2fconfig.png", f"/loops/-1/1/{first.sha256}.png",
    ):  # fmt: skip
        assert page.get(path).status_code == 404


def test_an_owner_keeps_samples_out_and_approves_the_round_as_the_command_does(desk_of: DeskOf, waits: Path) -> None:
    desk = desk_with(desk_of, waits)
    first, second, _ = accepted_samples(waits / "round-01")
    assert loops.keep_out(desk, OWNER, sample=first.file_name)["kept_out"] == 1
    assert loops.keep_out(desk, OWNER, sample=second.sha256[:12])["kept_out"] == 2
    assert loops.keep_out(desk, OWNER, sample=second.sha256, on=False)["let_in"] == 2
    with pytest.raises(ValueError, match="names no sample of round-01"):
        loops.keep_out(desk, OWNER, sample="made-up")
    assert not (waits / "round-01" / "review.json").exists()
    with pytest.raises(ValueError, match="1 samples are kept out by now, and your page shows 0"):
        loops.approve_round(desk, OWNER, expected=0)
    told = loops.approve_round(desk, OWNER, reason="blurred", expected=1)
    assert (told["round"], told["accepted"], told["kept_out"]) == (1, 2, 1)
    review = read_state(waits / "round-01" / "review.json", "")
    assert (review["by"], review["reason"], list(review["vetoes"])) == ("o", "blurred", [first.sha256])
    assert list(review_vetoes(waits / "round-01")) == [first.sha256]
    events = [e["event"] for e in read_ledger(waits / "ledger.jsonl")]
    assert (events.count("review"), events.count("veto")) == (1, 1)
    assert loops.kept_out(desk, waits, 1) == set()
    with pytest.raises(ValueError, match="No round of this loop waits"):
        loops.approve_round(desk, OWNER)
    assert "Approved by o; 1 sample kept out (blurred)." in html_of(desk)


def test_a_running_loop_is_left_alone_and_nothing_is_written_half(desk_of: DeskOf, waits: Path) -> None:
    desk = desk_with(desk_of, waits)
    before = (waits / "ledger.jsonl").read_bytes()
    with hold(waits), pytest.raises(ValueError, match=r"^loop: another run is writing there"):
        loops.approve_round(desk, OWNER)
    assert (waits / "ledger.jsonl").read_bytes() == before
    assert waiting_round(waits) == 1


def test_a_loop_that_vanished_is_not_there_yet_or_is_damaged_is_a_sentence(
    desk_of: DeskOf, waits: Path, tmp_path: Path
) -> None:
    empty, broken = tmp_path / "empty", tmp_path / "broken"
    empty.mkdir()
    shutil.copytree(waits, broken)
    (broken / "round-00" / "decision.json").write_text('{"round": 0, "pro')
    desk = desk_with(desk_of, waits, tmp_path / "gone", empty, broken)
    page = html.unescape(html_of(desk))
    assert "Round 1 waits for review" in page
    assert "The loop 'broken' is being written, or a file of it is damaged" in page
    assert "The folder of the loop 'gone' is not there" in page
    assert "empty: no loop there; begin one with" in page
    assert page.count('<section class="loop-one"') == 4
    assert str(tmp_path) not in page
    shutil.rmtree(waits)
    assert "The folder of the loop 'loop' is not there" in html.unescape(html_of(desk))


def test_where_there_is_no_loop_the_page_says_how_to_begin_one(desk_of: DeskOf) -> None:
    page = html_of(desk_with(desk_of))
    assert "vesalius improve run RECIPE.toml --out LOOP --review --ratings STORE/ratings.jsonl" in page
    chinese = page_of(desk_with(desk_of), OWNER, "zh")["html"]
    assert "此处没有改进循环" in chinese


def test_texts_of_prompts_are_escaped(desk_of: DeskOf, judged_loop: JudgedLoop) -> None:
    out = judged_loop(1, review=True)
    prompts = out / "round-01" / "prompts.jsonl"
    prompts.write_text(prompts.read_text().replace("Chest CT", "<img src=x>"))
    assert "<img src=x>" not in html_of(desk_with(desk_of, out))


def test_scripts_are_told_what_is_missing(served: Any) -> None:
    client = served.client()
    for action, told in (("/loop", {}), ("/veto", {"sample": "x"}), ("/approve_round", {"reason": "x"})):
        with pytest.raises(AppError, match="There is no loop 0; the demo was given 0"):
            client.predict(**told, api_name=action)


def test_every_word_of_the_tab_is_in_both_languages() -> None:
    assert all(key.startswith("loop.") and all(both) for key, both in WORDS.items())


def test_without_a_login_the_one_person_is_an_owner(desk_of: DeskOf, waits: Path) -> None:
    desk = desk_with(desk_of, waits)
    assert loops.approve_round(desk, find_account(desk.store, "local"))["by"] == "local"
