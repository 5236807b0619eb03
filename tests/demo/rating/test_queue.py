"""The queue of ratings: what comes next, what is kept, and what a crash or a second tab may do to it."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vesalius.demo.rating import queue as rating
from vesalius.demo.rating.pool import BLOCK, Pool, in_order
from vesalius.demo.rating.queue import answer, find_turn, go_back, next_turn, progress, rater_key_of, rater_of, settle
from vesalius.demo.store.accounts import LOCAL, Account
from vesalius.demo.store.schema import Store
from vesalius.eval.readers.choice import Candidate

GOOD: dict[str, Any] = {"realism": 4, "agreement": 3, "artefact": "none", "teach": True}
ME = Account(name=LOCAL, role="owner")


def digest(kind: str, number: int) -> str:
    return f"{kind}{number:x}".encode().hex().rjust(64, "0")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    """400 synthetic pictures of 40 prompts and 200 real ones, which are one file."""
    path = tmp_path_factory.mktemp("pool") / "picture.png"
    Image.new("L", (16, 16)).save(path)

    def some(kind: str, origin: str, num: int, per: int) -> dict[str, Candidate]:
        return {
            digest(kind, i): Candidate(
                path=path, origin=origin, modality=("CT", "MRI")[i // per % 2], label="", text=f"Text {i // per}.",
                sha256=digest(kind, i), hounsfield=False,
            )
            for i in range(num)
        }  # fmt: skip

    synthetic = some("d", "synthetic", 400, 10)
    groups = {
        ("CT", f"Text {g}."): tuple(sorted(digest("d", 10 * g + i) for i in range(10))) for g in range(40)
    }  # fmt: skip
    return Pool(synthetic=synthetic, real=some("r", "real", 200, 10), groups=groups)


def lines(store: Store) -> list[dict[str, Any]]:
    return [json.loads(line) for line in store.ratings.path.read_text().splitlines()]


def body_of(store: Store, ticket: str) -> dict[str, Any]:
    with store.read() as db:
        row = db.execute("SELECT body FROM shown WHERE ticket = ?", [ticket]).fetchone()
    told: dict[str, Any] = json.loads(row["body"])
    return told


def test_of_400_pictures_one_in_four_is_real_and_one_in_ten_comes_again_long_after(store: Store, pool: Pool) -> None:
    rater = rater_of(store, ME, "Anna")
    places: dict[str, list[int]] = {}
    kinds = Counter[str]()
    with store.read() as db:
        db.execute("PRAGMA synchronous = OFF")  # as fast as memory
    for place in range(400):
        turn = next_turn(store, pool, rater, "one", real_share=0.25)
        assert turn is not None
        body = body_of(store, turn.ticket)
        kinds["repeat" if body["repeat"] else body["origin"]] += 1
        assert body["repeat"] == (body["sha256"][0] in places)
        places.setdefault(body["sha256"][0], []).append(place)
        with store.write() as db:  # as `answer` does, without its file
            db.execute("UPDATE shown SET answered = 1 WHERE ticket = ?", [turn.ticket])
    fresh = kinds["real"] + kinds["synthetic"]
    assert 0.25 - 4 * (0.1875 / fresh) ** 0.5 < kinds["real"] / fresh < 0.25 + 4 * (0.1875 / fresh) ** 0.5
    assert 16 < kinds["repeat"] < 64
    assert all(len(seen) <= 2 for seen in places.values())
    assert all(seen[1] - seen[0] > rating.GAP for seen in places.values() if len(seen) == 2)


def test_a_real_image_is_of_the_modality_and_kind_of_a_synthetic_one(store: Store, pool: Pool) -> None:
    drawn = next(iter(pool.synthetic.values()))
    found = pool.stand_in(drawn, set(), "seed")
    assert found is not None
    assert found.modality == drawn.modality
    others = {d for d, c in pool.real.items() if c.modality == drawn.modality}
    assert pool.stand_in(drawn, others, "seed") is None


def test_raters_meet_the_same_pictures_first_each_in_an_order_of_their_own(pool: Pool) -> None:
    one, other = (in_order(pool.synthetic, seed) for seed in ("a", "b"))
    assert one != other
    assert sorted(one) == sorted(other) == sorted(pool.synthetic)
    assert set(one[:BLOCK]) == set(other[:BLOCK])
    assert one == in_order(reversed(list(pool.synthetic)), "a")


def test_what_comes_next_is_the_same_in_every_tab_until_it_is_answered(store: Store, pool: Pool) -> None:
    rater = rater_of(store, ME, "Anna")
    turns = [next_turn(Store(store.folder), pool, rater, "one", real_share=0.25) for _ in range(3)]
    assert turns[0] is not None
    assert turns[0] == turns[1] == turns[2]
    answer(store, rater.key, turns[0].ticket, GOOD)
    after = next_turn(store, pool, rater, "one", real_share=0.25)
    assert after is not None
    assert after.ticket != turns[0].ticket


def test_a_double_tap_is_one_rating_and_the_second_tab_changes_nothing(store: Store, pool: Pool) -> None:
    rater = rater_of(store, ME, "Anna", "resident")
    turn = next_turn(store, pool, rater, "one", real_share=0.0)
    assert turn is not None
    for said in (GOOD, GOOD, {**GOOD, "realism": 1}):
        answer(store, rater.key, turn.ticket, said, rater.level)
    (found,) = store.ratings.read()
    assert (found.sha256, found.rater, found.level) == (turn.sha256[0], "Anna", "resident")
    assert (found.realism, found.agreement, found.artefact, found.teach) == (4, 3, "none", True)
    assert found.origin == "synthetic"
    assert found.time


def test_going_back_withdraws_and_asks_again_with_what_was_said(store: Store, pool: Pool) -> None:
    rater = rater_of(store, ME, "Anna")
    first = next_turn(store, pool, rater, "one", real_share=0.25)
    assert first is not None
    answer(store, rater.key, first.ticket, GOOD)
    assert go_back(store, rater.key) == first.ticket
    assert store.ratings.read() == []
    again = next_turn(store, pool, rater, "one", real_share=0.25)
    assert again is not None
    assert (again.ticket, again.said) == (first.ticket, GOOD)
    answer(store, rater.key, first.ticket, {**GOOD, "realism": 2})
    assert [r.realism for r in store.ratings.read()] == [2]
    with pytest.raises(ValueError, match="no longer yours"):
        go_back(store, rater.key, "made-up")
    go_back(store, rater.key)
    with pytest.raises(ValueError, match="nothing to go back to"):
        go_back(store, rater.key)


def test_a_crash_before_the_file_is_written_loses_nothing_and_doubles_nothing(
    store: Store, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rater = rater_of(store, ME, "Anna")
    turn = next_turn(store, pool, rater, "one", real_share=0.25)
    assert turn is not None
    with monkeypatch.context() as patch:
        patch.setattr(
            "vesalius.improve.people.rating_store.RatingStore.add", lambda *_: (_ for _ in ()).throw(OSError(28))
        )
        with pytest.raises(OSError):  # noqa: PT011 (the disk is full)
            answer(store, rater.key, turn.ticket, GOOD)
    assert store.ratings.read() == []
    settle(Store(store.folder))
    assert len(store.ratings.read()) == 1
    with store.write() as db:  # as if it had been killed between the file and its own note of that
        body = body_of(store, turn.ticket) | {"unwritten": [r.to_json() for r in store.ratings.read()]}
        db.execute("UPDATE shown SET body = ?", [json.dumps(body)])
    settle(store)
    assert (len(store.ratings.read()), len(lines(store))) == (1, 2)


def test_pairs_are_two_pictures_of_one_prompt_and_no_two_are_compared_twice(store: Store, pool: Pool) -> None:
    rater = rater_of(store, ME, "Anna")
    seen = set[frozenset[str]]()
    for said in ("first", "tie", "second") * 12:
        turn = next_turn(store, pool, rater, "pair", real_share=0.25)
        assert turn is not None
        one, other = (pool.synthetic[d] for d in turn.sha256)
        assert one.text == other.text == turn.text
        assert frozenset(turn.sha256) not in seen
        seen.add(frozenset(turn.sha256))
        answer(store, rater.key, turn.ticket, {"preference": said})
    told = store.ratings.read()
    assert Counter(r.preference for r in told) == {"first": 12, "tie": 12, "second": 12}
    assert {frozenset((r.sha256, r.other or "")) for r in told} == seen


def test_what_there_is_to_do_does_not_tell_what_was_just_shown(store: Store, pool: Pool) -> None:
    rater = rater_of(store, ME, "Anna")
    told = set()
    for _ in range(12):
        turn = next_turn(store, pool, rater, "one", real_share=0.25)
        assert turn is not None
        told.add(progress(store, pool, rater, "one", 0.25)["about"])
        answer(store, rater.key, turn.ticket, GOOD)
    assert len(told) == 1


def test_a_picture_that_was_taken_away_is_passed_over(store: Store, pool: Pool) -> None:
    rater = rater_of(store, ME, "Anna")
    turn = next_turn(store, pool, rater, "one", real_share=0.0)
    assert turn is not None
    fewer = Pool(synthetic={d: c for d, c in pool.synthetic.items() if d not in turn.sha256}, real={})
    after = next_turn(store, fewer, rater, "one", real_share=0.0)
    assert after is not None
    assert after.sha256 != turn.sha256
    with pytest.raises(ValueError, match="no longer yours"):
        answer(store, rater.key, turn.ticket, GOOD)


def test_when_all_is_seen_there_is_nothing_more(store: Store, pool: Pool) -> None:
    rater = rater_of(store, ME, "Anna")
    few = Pool(synthetic=dict(list(pool.synthetic.items())[:5]), real={})
    for _ in range(5):
        turn = next_turn(store, few, rater, "one", real_share=0.25)
        assert turn is not None
        answer(store, rater.key, turn.ticket, GOOD)
    assert next_turn(store, few, rater, "one", real_share=0.25) is None
    assert next_turn(store, few, rater, "pair", real_share=0.25) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"realism": 0}, "'realism' is not answered"), ({"realism": True}, "'realism' is not answered"),
        ({"realism": "4"}, "'realism' is not answered"), ({"agreement": None}, "'agreement' is not answered"),
        ({"artefact": "huge"}, "none, minor, major"), ({"teach": 1}, "say one of yes, no"),
        ({"comment": "x" * 501}, "501 characters"),
    ],
)  # fmt: skip
def test_what_is_no_judgement_is_not_kept(store: Store, pool: Pool, change: dict[str, Any], words: str) -> None:
    rater = rater_of(store, ME, "Anna")
    turn = next_turn(store, pool, rater, "one", real_share=0.25)
    assert turn is not None
    with pytest.raises(ValueError, match=words):
        answer(store, rater.key, turn.ticket, {**GOOD, **change})
    assert store.ratings.read() == []
    assert find_turn(store, rater.key, turn.ticket).said == {}


def test_a_comment_may_be_any_text_and_takes_one_line(store: Store, pool: Pool) -> None:
    rater = rater_of(store, ME, "安娜 🙂")
    for comment in ("very\nsmooth 🙂 <b>", "broken \ud800 half"):
        turn = next_turn(store, pool, rater, "one", real_share=0.25)
        assert turn is not None
        answer(store, rater.key, turn.ticket, {**GOOD, "comment": comment})
    assert {r.comment for r in store.ratings.read()} == {"very smooth 🙂 <b>", "broken ? half"}
    assert {r.rater for r in store.ratings.read()} == {"安娜 🙂"}


def test_a_ticket_is_good_for_its_rater_alone(store: Store, pool: Pool) -> None:
    anna, bert = (Account(name=name, role="rater", level="resident") for name in ("anna", "bert"))
    turn = next_turn(store, pool, rater_of(store, anna), "one", real_share=0.25)
    assert turn is not None
    assert rater_key_of(store, anna, turn.ticket) == "anna"
    for other in (bert, ME):
        with pytest.raises(ValueError, match="no longer yours"):
            rater_key_of(store, other, turn.ticket)
    with pytest.raises(ValueError, match="no longer yours"):
        answer(store, "bert", turn.ticket, GOOD)
    with pytest.raises(ValueError, match="by the name of your account"):
        rater_of(store, bert, "anna")


@pytest.mark.parametrize("name", ["", "x" * 41, "a\u202eb", "\ud800"])
def test_a_name_to_rate_by_is_short_and_can_be_read(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match=r"[Nn]ame"):
        rater_of(store, ME, name)


def test_the_name_and_level_that_were_given_last_are_kept(store: Store) -> None:
    rater_of(store, ME, "Anna", "resident")
    rater_of(store, ME, " Bert  B ")
    assert (rater_of(store, ME).name, rater_of(store, ME, "Anna").level) == ("Bert B", "resident")
    with pytest.raises(ValueError, match="student, resident"):
        rater_of(store, ME, "Anna", "king")


ACTS = st.lists(st.sampled_from(["rate", "rate", "rate", "again", "back", "reload", "crash"]), max_size=25)


@settings(max_examples=15, deadline=None)
@given(acts=ACTS, seed=st.integers(0, 99))
def test_whatever_a_rater_presses_the_file_says_what_the_page_was_told(
    pool: Pool, tmp_path_factory: pytest.TempPathFactory, acts: list[str], seed: int
) -> None:
    store = Store(tmp_path_factory.mktemp("any") / "store")
    with store.read() as db:
        db.execute("PRAGMA synchronous = OFF")
    rng, rater = random.Random(seed), rater_of(store, ME, "Anna")
    stands: list[tuple[str, int]] = []
    for act in acts:
        if act == "crash":
            store = Store(store.folder)
        elif act == "back" and stands:
            assert go_back(store, rater.key) == stands.pop()[0]
        elif act == "again" and stands:
            answer(store, rater.key, stands[-1][0], {**GOOD, "realism": 1})
        else:
            turn = next_turn(store, pool, rater, "one", real_share=0.25)
            assert turn is not None
            if act == "rate":
                step = rng.randint(1, 5)
                answer(store, rater.key, turn.ticket, {**GOOD, "realism": step})
                stands.append((turn.ticket, step))
    told = sorted((find_turn(store, rater.key, t).sha256[0], step) for t, step in stands)
    assert sorted((r.sha256, r.realism) for r in store.ratings.read()) == told
