"""Cases by the API and the routes."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from gradio_client import Client, handle_file

from vesalius.demo import DemoConfig, board
from vesalius.demo.cases.case import Case
from vesalius.demo.cases.routes import KINDS
from vesalius.demo.page import Desk
from vesalius.demo.store.accounts import Account, add_account, enter
from vesalius.demo.store.cases import delete_case, find_cases, keep_draft, save_case
from vesalius.demo.tabs import create
from vesalius.demo.tabs.cases import Actions
from vesalius.demo.tabs.cases_layout import lay_out
from vesalius.demo.tabs.cases_words import WORDS


@pytest.fixture
def picture(served: Any, keep_picture: Any) -> Iterator[Any]:
    """A picture in the shared demo of which no other has the bytes; it and all cases are gone afterwards."""
    picture = keep_picture(served.desk.store, seed=9041)
    yield picture
    for case in find_cases(served.desk.store, "local"):
        delete_case(served.desk.store, "local", case.id)
    with served.desk.store.write() as db:
        db.execute("DELETE FROM pictures WHERE id = ?", [picture.id])


def test_a_script_makes_finds_copies_exports_and_deletes_a_case(served: Any, picture: Any, tmp_path: Path) -> None:
    client = served.client()
    image = {"picture": picture.id, "caption": "A caption", "in_answer": False}
    case = client.predict(title="Zyxoma", history="Cough", images=[image], level="fellow", api_name="/save_case")
    assert case["images"] == [image]
    case = client.predict(
        id=case["id"], title="Changed", images=[image], updated=case["updated"], api_name="/save_case"
    )
    with pytest.raises(Exception, match="changed meanwhile"):
        client.predict(id=case["id"], title="Lost", updated=1.0, api_name="/save_case")
    with pytest.raises(Exception, match="The discussion has 100000 characters; at most 20000"):
        client.predict(discussion="x" * 100_000, api_name="/save_case")
    assert client.predict(id=case["id"], api_name="/case") == case
    copy = client.predict(id=case["id"], api_name="/duplicate_case")
    assert [c["id"] for c in client.predict(text="changed", modality="CT", api_name="/cases")] == [
        copy["id"], case["id"]
    ]  # fmt: skip
    for kind in KINDS:
        url = client.predict(id=case["id"], kind=kind, unknown=True, api_name="/export_case")
        answer = httpx.get(f"{served.url.rstrip('/')}{url}")
        assert answer.status_code == 200
        assert f'filename="unknown-case.{kind}"' in answer.headers["content-disposition"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
    with pytest.raises(Exception, match=r"Cases are exported as pptx, html, zip, dcm\.zip, not as 'exe'"):
        client.predict(id=case["id"], kind="exe", api_name="/export_case")
    url = client.predict(id=case["id"], kind="zip", api_name="/export_case")
    file = tmp_path / "case.zip"
    file.write_bytes(httpx.get(f"{served.url.rstrip('/')}{url}").content)
    assert zipfile.ZipFile(BytesIO(file.read_bytes())).testzip() is None
    again = client.predict(file=handle_file(str(file)), api_name="/import_case")
    assert (again["title"], again["images"]) == (case["title"], case["images"])
    with pytest.raises(Exception, match="gives its address with --pacs"):
        client.predict(id=case["id"], api_name="/send_case")
    assert client.predict(id=copy["id"], api_name="/delete_case") == copy["id"]
    with pytest.raises(Exception, match="no longer here, or is someone else's"):
        client.predict(id=copy["id"], api_name="/case")


def test_a_draft_is_offered_in_the_list_and_not_beside_the_case_that_is_open(desk_of: Callable[..., Desk]) -> None:
    desk = desk_of(rate=(), real=())
    with gr.Blocks():
        desk.links = {"to_case": gr.Textbox()}
        editor, _ = lay_out(desk)
    actions = Actions(desk, editor)

    def offered(**written: str) -> bool:
        values = [written.get(name, "") for name in ("id", "seen", "images", *editor.fields)]
        told = actions.enter("", "", "", False, None, *values)  # type: ignore[arg-type]
        hidden = actions.hide("", "", "", False, None, *values)  # type: ignore[arg-type]
        assert hidden[editor.draft]["visible"] == told[editor.draft]["visible"]
        return bool(told[editor.draft]["visible"])

    assert not offered()
    keep_draft(desk.store, "local", Case(title="Zyxoma"), seen=0.0)
    assert offered()
    assert not offered(title="Zyxoma")
    kept = save_case(desk.store, "local", Case(title="Another"))
    keep_draft(desk.store, "local", kept, seen=kept.updated)
    assert not offered(id=kept.id, title="Another")


@pytest.mark.parametrize("images", ["[", "{}", "[" * 60_000])
def test_pictures_that_cannot_be_read_are_refused_and_nothing_is_kept(
    desk_of: Callable[..., Desk], images: str
) -> None:
    desk = desk_of(rate=(), real=())
    with gr.Blocks():
        desk.links = {"to_case": gr.Textbox()}
        editor, _ = lay_out(desk)
    with pytest.raises(ValueError, match="The pictures of this case could not be read; reload the page"):
        Actions(desk, editor).save(False, None, "", "", images, *("" for _ in editor.fields))  # type: ignore[arg-type]
    assert find_cases(desk.store, "local") == []


def test_what_is_no_export_is_told(served: Any) -> None:
    answer = httpx.get(f"{served.url}cases/none.pptx")
    assert (answer.status_code, answer.text) == (404, "This case is no longer here, or is someone else's")
    assert "exported as pptx, html" in httpx.get(f"{served.url}cases/none.exe").text


def test_every_label_is_in_both_languages() -> None:
    assert all(key.startswith("cases.") and english and chinese for key, (english, chinese) in WORDS.items())


@pytest.mark.slow
def test_two_people_never_meet_each_others_cases(
    serve: Any, tiny_base: Path, tmp_path: Path, port: int, keep_picture: Any
) -> None:
    config = DemoConfig(base=str(tiny_base), store=tmp_path / "store", port=port, host="0.0.0.0", device="cpu")
    with serve(config) as demo:
        store = demo.desk.store
        headers = {}
        for name in ("anna", "eve"):
            add_account(store, Account(name=name), "long enough")
            headers[name] = {"authorization": f"Bearer {enter(store, name, 'long enough')}"}
        picture = keep_picture(store, account="anna")
        clients = {name: Client(demo.url, verbose=False, headers=each) for name, each in headers.items()}
        case = clients["anna"].predict(title="Secret", images=[{"picture": picture.id}], api_name="/save_case")
        eve = clients["eve"]
        assert eve.predict(text="secret", api_name="/cases") == []
        for api, values in (
            ("/case", {}), ("/duplicate_case", {}), ("/delete_case", {}), ("/export_case", {}), ("/send_case", {}),
            ("/save_case", {"updated": case["updated"], "title": "Mine now"}),
        ):  # fmt: skip
            with pytest.raises(Exception, match="someone else's"):
                eve.predict(id=case["id"], api_name=api, **values)
        with pytest.raises(Exception, match="someone else's"):
            eve.predict(images=[{"picture": picture.id}], api_name="/save_case")
        for kind in KINDS:
            url = f"{demo.url}cases/{case['id']}.{kind}"
            assert httpx.get(url).status_code == 401
            assert httpx.get(url, headers=headers["eve"]).status_code == 404
            assert httpx.get(url, headers=headers["anna"]).status_code == 200


def test_what_the_tab_points_to_is_called_so_there() -> None:
    for language in (0, 1):
        assert board.WORDS["board.to_case"][language] in WORDS["cases.none"][language]
        assert WORDS["cases.new"][language] in WORDS["cases.none"][language]
        assert create.WORDS["create.tab"][language] in WORDS["cases.no_recent"][language]
