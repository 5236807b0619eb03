"""The tab 'Rate' as browsers and scripts meet it: blinding, roles, and ratings that the loop heeds."""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from gradio_client.exceptions import AppError

from vesalius.data.images.image import png_bytes
from vesalius.data.record import load_records, write_json
from vesalius.demo import DemoConfig
from vesalius.demo.page import Desk
from vesalius.demo.rating.pool import open_pool
from vesalius.demo.rating.queue import find_turn
from vesalius.demo.rating.views import WORDS, answer_view, next_view, ticket_png
from vesalius.demo.server import make_app
from vesalius.demo.store.accounts import Account, add_account, enter, find_account
from vesalius.demo.store.pictures import add_picture
from vesalius.improve.candidates.pool import DIGEST, settle_pools, write_accepted
from vesalius.improve.config import ImproveConfig
from vesalius.improve.people.review import accepted_samples
from vesalius.inference.sample import Sample

PageOf = Callable[..., tuple[Desk, TestClient]]
GOOD: dict[str, Any] = {"realism": 4, "agreement": 3, "artefact": "none", "teach": True}
PASSWORD = "a long password"


def post(page: TestClient, path: str, **told: Any) -> Any:
    answer = page.post(path, json=told)
    return answer.json() if answer.status_code == 200 else (answer.status_code, answer.json())


def chunks(png: bytes) -> list[bytes]:
    """The names of a PNG's chunks."""
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append(png[at + 4 : at + 8])
        at += 12 + length
    return found


def origin_of(desk: Desk, ticket: str) -> str:
    with desk.store.read() as db:
        row = db.execute("SELECT json_extract(body, '$.origin') AS o FROM shown WHERE ticket = ?", [ticket]).fetchone()
    return str(row["o"])


def test_nothing_that_a_browser_gets_tells_a_real_picture_from_a_synthetic_one(page_of: PageOf) -> None:
    desk, page = page_of(real_share=0.5)
    keys, lengths, headers, kinds = set(), {}, set(), set()
    pool = open_pool(desk.config, desk.store)
    secrets = [str(desk.config.store), *(str(c.path) for c in (*pool.real.values(), *pool.synthetic.values()))]
    secrets += [*pool.real, *pool.synthetic, "phantom", "'origin'", "patient", "synthetic/", "real/"]
    view = post(page, "/rate/next", rater="Anna")
    while view["ticket"]:
        told = page.get(view["pictures"][0])
        kind = origin_of(desk, view["ticket"])
        kinds.add(kind)
        keys.add(tuple(sorted(view)))
        names = tuple(sorted((k, v) for k, v in told.headers.items() if k != "content-length"))
        headers.add(names)
        length = lengths.setdefault(told.content[25], set())  # by colour type: of pathology there are three channels
        length.add((kind, len(told.content)))
        assert set(chunks(told.content)) == {b"IHDR", b"IDAT", b"IEND"}
        text = f"{view['ticket']} {view['pictures']} {list(view)} {names}"
        assert not [s for s in secrets if s in text]
        assert told.headers["x-label"] == "Synthetic or real: not for diagnosis"
        view = post(page, "/rate/answer", ticket=view["ticket"], said=GOOD)
    assert kinds == {"synthetic", "phantom"}
    assert (len(keys), len(headers)) == (1, 1)
    assert not {"last-modified", "etag"} & {k for k, _ in headers.pop()}
    assert all(len({size for _, size in sizes}) == 1 for sizes in lengths.values())
    assert {k for sizes in lengths.values() for k, _ in sizes} == kinds


def test_of_patients_only_held_out_images_are_shown(page_of: PageOf, held_out: Path) -> None:
    desk, _ = page_of()
    splits = {r.sha256: r.split for r in load_records(held_out)}
    shown = {splits[d] for d in open_pool(desk.config, desk.store).real}
    assert shown == {"val", "test"}


def test_a_lost_made_up_or_anothers_ticket_is_refused(page_of: PageOf) -> None:
    desk, page = page_of(host="0.0.0.0")
    clients = {}
    for name in ("anna", "bert"):
        add_account(desk.store, Account(name=name, role="rater", level="resident"), PASSWORD)
        clients[name] = {"authorization": f"Bearer {enter(desk.store, name, PASSWORD)}"}
    told = page.post("/rate/next", json={}, headers=clients["anna"]).json()
    assert page.get(told["pictures"][0], headers=clients["anna"]).status_code == 200
    assert page.get(told["pictures"][0], headers=clients["bert"]).status_code == 404
    assert page.get(told["pictures"][0]).status_code == 401
    second = f"/rate/{told['ticket']}.2.png"
    for name in ("/rate/made-up.png", second, second.replace(".2", ".3"), "/rate/%2e%2e%2fstore.db.png"):
        assert page.get(name, headers=clients["anna"]).status_code == 404
    with pytest.raises(ValueError, match="This ticket has one picture; reload the page"):
        ticket_png(desk, find_account(desk.store, "anna"), told["ticket"], 1)
    said = {"ticket": told["ticket"], "said": GOOD}
    stolen = page.post("/rate/answer", json=said, headers=clients["bert"])
    assert stolen.status_code == 400
    assert "no longer yours" in stolen.json()["error"]
    assert page.post("/rate/answer", json=said).status_code == 401
    assert desk.store.ratings.read() == []
    assert page.post("/rate/answer", json=said, headers=clients["anna"]).status_code == 200
    (rating,) = desk.store.ratings.read()
    assert (rating.rater, rating.level) == ("anna", "resident")


def test_another_site_cannot_rate_in_someones_name(page_of: PageOf) -> None:
    desk, page = page_of()
    ticket = post(page, "/rate/next", rater="Anna")["ticket"]
    said = {"ticket": ticket, "said": GOOD}
    assert page.post("/rate/answer", json=said, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert page.post("/rate/answer", content="{}", headers={"content-type": "text/plain"}).status_code == 422
    assert desk.store.ratings.read() == []


def test_a_rater_hears_of_themselves_alone_and_an_owner_of_all(page_of: PageOf) -> None:
    desk, page = page_of(host="0.0.0.0", real_share=0.5)
    heads = {}
    for name, role in (("anna", "rater"), ("bert", "teacher"), ("olga", "owner")):
        add_account(desk.store, Account(name=name, role=role, level="fellow"), PASSWORD)  # type: ignore[arg-type]
        heads[name] = {"authorization": f"Bearer {enter(desk.store, name, PASSWORD)}"}
    for name in ("anna", "bert"):
        view = page.post("/rate/next", json={}, headers=heads[name]).json()
        for i in range(14):
            said = {**GOOD, "realism": 1 + (i + len(name)) % 5}
            view = page.post("/rate/answer", json={"ticket": view["ticket"], "said": said}, headers=heads[name]).json()
    for name in ("anna", "bert"):
        lines = page.get("/rate/agreement", headers=heads[name]).json()["lines"]
        assert len(lines) == 1
        assert "too few pictures twice" in lines[0]
    lines = " ".join(page.get("/rate/agreement", headers=heads["olga"]).json()["lines"])
    assert "28 ratings of" in lines
    assert "anna and bert: weighted kappa" in lines
    assert "Real against synthetic, all raters" in lines
    chinese = page.get("/rate/agreement", headers={**heads["olga"], "accept-language": "zh-CN,zh;q=0.9"}).json()
    assert "位评分者" in chinese["lines"][0]


def test_a_teacher_puts_pictures_of_their_own_to_rating_and_takes_them_back(page_of: PageOf) -> None:
    import numpy as np

    desk, page = page_of(rate=(), real=())
    assert post(page, "/rate/next", rater="Anna")["why"] == "nothing"
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 1), np.uint8)
    sample = Sample(
        file_name="x.png", text="Chest CT with a nodule.", modality="CT", seed=1, steps=1, guidance=1.0
    )  # fmt: skip
    mine = add_picture(desk.store, account="local", job="j", number=0, sample=sample, png=png_bytes(noise))
    other = add_picture(desk.store, account="someone", job="k", number=0, sample=sample, png=png_bytes(noise))
    assert page.get("/rate/put").json()["pictures"] == [{"id": mine.id, "text": sample.text, "on": False}]
    assert post(page, "/rate/put", pictures=[mine.id], on=True) == {"on": 1}
    status, told = post(page, "/rate/put", pictures=[other.id], on=True)
    assert (status, "someone else's" in told["error"]) == (400, True)
    view = post(page, "/rate/next")
    assert view["text"] == sample.text
    post(page, "/rate/answer", ticket=view["ticket"], said=GOOD)
    assert [r.sha256 for r in desk.store.ratings.read()] == [mine.sample.sha256]
    assert post(page, "/rate/put", pictures=[mine.id], on=False) == {"on": 0}
    assert post(page, "/rate/next")["why"] == "nothing"


@pytest.mark.parametrize(
    ("changes", "told"), [({}, "some are real"), ({"real": ()}, "All pictures"), ({"real_share": 0.0}, "All pictures")]
)
def test_a_rater_is_told_of_real_images_only_where_some_come(
    page_of: PageOf, changes: dict[str, Any], told: str
) -> None:
    _, page = page_of(**changes)
    words = page.get("/rate/opening").json()["words"]
    assert told in words["lead"]
    label = "Synthetic: not for diagnosis" if changes else "Synthetic or real: not for diagnosis"
    assert words["label"] == label
    assert label.lower() in words["alt"].lower()


def test_a_folder_that_is_none_is_told_at_the_start_and_one_that_vanished_to_the_owner(
    page_of: PageOf, drawn: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="no such dataset folder"):
        page_of(real=(tmp_path / "nowhere",))
    moved = tmp_path / "samples"
    moved.symlink_to(drawn)
    _, page = page_of(rate=(moved,), real=())
    ticket = post(page, "/rate/next", rater="Anna")["ticket"]
    moved.unlink()
    assert page.get(f"/rate/{ticket}.png").status_code == 404
    assert post(page, "/rate/next")["why"] == "nothing"
    opening = page.get("/rate/opening")
    assert "--rate cannot be read" in opening.json()["notes"][0]
    assert str(tmp_path) not in opening.text


def test_ratings_through_the_api_keep_a_sample_out_of_what_the_loop_learns_from(
    desk_of: Callable[..., Desk], judged_loop: Callable[..., Path]
) -> None:
    out = judged_loop(1)
    folder = out / "round-01"
    write_accepted(folder / "accepted", folder / "samples", accepted_samples(folder))
    desk = desk_of(rate=(folder / "samples",), real=())
    page = TestClient(make_app(desk), base_url="http://127.0.0.1")
    accepted = [s.sha256 for s in accepted_samples(folder)]
    view = post(page, "/rate/next", rater="Anna", level="resident")
    while view["ticket"]:
        with desk.store.read() as db:
            row = db.execute("SELECT json_extract(body, '$.sha256[0]') AS d FROM shown WHERE answered IS NULL")
            bad = row.fetchone()["d"] == accepted[1]
        view = post(page, "/rate/answer", ticket=view["ticket"], said={**GOOD, "realism": 2 if bad else 4})
    config = ImproveConfig(data=(out,), out=out, ratings=(desk.store.ratings.path,))
    write_json(out / "config.json", {})
    (pool,) = settle_pools(config, out, 1)
    assert [r.extra[DIGEST] for r in load_records(pool)] == [accepted[0], accepted[2]]
    told = (folder / "pool.json").read_text()
    assert "realism 2 of 5 by Anna, resident" in told


def test_scripts_rate_by_name(served: Any, tmp_path: Path) -> None:
    client = served.client()
    assert client.predict(rater="Script", level="other", api_name="/next_rating")["why"] == "nothing"
    with pytest.raises(AppError, match="no longer yours"):
        client.predict(ticket="made-up", realism=4, agreement=4, artefact="none", teach="yes", api_name="/rate")
    with pytest.raises(AppError, match="nothing to go back to"):
        client.predict(rater="Script", api_name="/withdraw_rating")
    with pytest.raises(AppError, match="'one', and two are a 'pair'"):
        client.predict(mode="three", rater="Script", api_name="/next_rating")
    with pytest.raises(AppError, match="someone else's"):
        client.predict(pictures=["made-up"], api_name="/put_to_rating")
    assert client.predict(api_name="/agreement")["lines"] == ["Nobody has rated yet."]


@pytest.mark.slow
def test_scripts_rate_withdraw_and_hear_of_agreement(
    serve: Any, tiny_base: Path, drawn: Path, tmp_path: Path, port: int
) -> None:
    config = DemoConfig(base=str(tiny_base), store=tmp_path / "store", port=port, device="cpu", rate=(drawn,))
    with serve(config) as demo:
        client = demo.client()
        view = client.predict(rater="Script", level="other", api_name="/next_rating")
        said = {"realism": 4, "agreement": 5, "artefact": "minor", "teach": "no", "comment": "x"}
        after = client.predict(ticket=view["ticket"], **said, api_name="/rate")
        assert (after["rated"], after["rater"]) == (1, "Script")
        again = client.predict(api_name="/withdraw_rating")
        assert (again["ticket"], again["said"]["teach"], again["said"]["comment"]) == (view["ticket"], False, "x")
        client.predict(ticket=view["ticket"], **said, api_name="/rate")
        pair = client.predict(mode="pair", api_name="/next_rating")
        assert len(pair["pictures"]) == 2
        client.predict(ticket=pair["ticket"], preference="tie", api_name="/rate")
        (one, two) = sorted(demo.desk.store.ratings.read(), key=lambda r: r.preference or "")
        assert (one.realism, one.teach, two.preference) == (4, False, "tie")
        assert "2 ratings of" in client.predict(api_name="/agreement")["lines"][0]


def test_a_real_dataset_is_shown_by_its_captions_at_the_size_of_synthetic_pictures(
    desk_of: Callable[..., Desk], drawn: Path, real_data: Path
) -> None:
    desk = desk_of(real=(real_data / "radiology",), real_share=0.75)
    pool = open_pool(desk.config, desk.store)
    assert {c.modality for c in pool.real.values()} >= {"CT", "MRI"}
    assert not [c for c in pool.real.values() if c.text.startswith("Greyscale")]
    began = time.monotonic()
    view = next_view(desk, find_account(desk.store, "local"), rater="Anna")
    assert view["ticket"]
    assert time.monotonic() - began < 2


def test_no_word_of_what_raters_read_tells_real_from_synthetic(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of(real_share=0.5)
    pool = open_pool(desk.config, desk.store)
    told: dict[str, set[str]] = {"synthetic": set(), "real": set()}
    who = find_account(desk.store, "local")
    view = next_view(desk, who, rater="Anna")
    while view["ticket"]:
        turn = find_turn(desk.store, "local:Anna", view["ticket"])
        assert turn.text == pool.told(pool.find(turn.sha256[0])) == view["text"]  # type: ignore[arg-type]
        told["synthetic" if turn.sha256[0] in pool.synthetic else "real"].add(view["text"])
        view = answer_view(desk, who, ticket=view["ticket"], said=GOOD)
    assert told["real"]
    assert told["real"] <= told["synthetic"]
    words = {kind: {w for text in texts for w in re.findall(r"\w+", text)} for kind, texts in told.items()}
    of_real = {w for c in pool.real.values() for w in re.findall(r"\w+", pool.told(c))}
    assert words["synthetic"] <= of_real
    assert not {c.text for c in pool.synthetic.values()} & {c.text for c in pool.real.values()}, "their own texts tell"
    alone = open_pool(desk_of(real=()).config, desk.store)
    assert {alone.told(c) for c in alone.synthetic.values()} == {c.text for c in alone.synthetic.values()}


def test_every_word_of_the_tab_is_in_both_languages() -> None:
    assert all(key.startswith("rate.") and all(both) for key, both in WORDS.items())


def test_what_is_no_answer_is_refused_in_a_sentence(page_of: PageOf) -> None:
    desk, page = page_of()
    for path, told in (
        ("next", {"mode": ["one"]}), ("next", {"rater": {"a": 1}}), ("next", {"rater": "A", "level": "king"}),
        ("answer", {"ticket": {"a": 1}, "said": GOOD}), ("answer", {"ticket": "x", "said": []}),
        ("answer", {"ticket": "x" * 200_000, "said": GOOD}), ("back", {"ticket": ["x"]}), ("back", {"rater": 7}),
        ("put", {"pictures": "x"}), ("put", {"pictures": [1]}),
    ):  # fmt: skip
        status, answer = post(page, f"/rate/{path}", **told)
        assert status == 400
        assert len(answer["error"]) < 300
    assert desk.store.ratings.read() == []
