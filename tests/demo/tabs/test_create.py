"""The tab 'Create' as scripts meet it: drawing, recalling, building prompts, and what is refused."""

from __future__ import annotations

import json
import math
import urllib.request
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from vesalius.data.images.image import read_image, read_recipe, write_png
from vesalius.demo.orders import MAX_TEXT
from vesalius.demo.page import LABEL
from vesalius.demo.store.accounts import LOCAL
from vesalius.demo.store.jobs import find_job, jobs_of
from vesalius.demo.store.pictures import file_of, find_picture
from vesalius.demo.tabs.create import Followed

PROMPT = "Chest CT with a nodule in the left lung."


@pytest.fixture(scope="module")
def client(served: Any, tmp_path_factory: pytest.TempPathFactory) -> Client:
    found: Client = served.client(download_files=str(tmp_path_factory.mktemp("downloads")))
    return found


def draw(client: Client, prompt: str = PROMPT, **changes: Any) -> dict[str, Any]:
    settings = {"num": 1, "seed": 3, "steps": 2, "guidance": 3.0}
    found: dict[str, Any] = client.predict(prompt=prompt, **{**settings, **changes}, api_name="/draw")
    return found


@pytest.fixture(scope="module")
def drawn(client: Client) -> dict[str, Any]:
    return draw(client, num=3, seed=11, negative="effusion")


def content(served: Any, picture: dict[str, Any]) -> bytes:
    with urllib.request.urlopen(served.url.rstrip("/") + picture["url"], timeout=30) as answer:
        found: bytes = answer.read()
    return found


def test_an_order_comes_back_as_labelled_pictures_with_recipes_and_checks(drawn: dict[str, Any]) -> None:
    assert (drawn["state"], drawn["label"], len(drawn["pictures"])) == ("done", LABEL, 3)
    recipes = [p["recipe"] for p in drawn["pictures"]]
    assert all(r["synthetic"] and r["text"] == PROMPT and r["modality"] == "CT" for r in recipes)
    assert [recipes[0]["seed"], len({r["seed"] for r in recipes})] == [11, 3]
    assert {c["asked"] for c in drawn["pictures"][0]["checks"]} >= {"CT", "nodule", "nodule, left"}
    assert {c["said"] for c in drawn["pictures"][0]["checks"]} <= {"yes", "no", "unsure"}


def test_a_picture_carries_its_recipe_and_the_label(served: Any, drawn: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content(served, drawn["pictures"][1]))
    inside = read_recipe(path)
    assert inside["seed"] == drawn["pictures"][1]["recipe"]["seed"]
    assert (inside["negative"], inside["steps"], inside["synthetic"]) == ("effusion", 2, True)
    assert inside["base_digest"] == served.desk.model.base_digest
    assert LABEL.encode() in path.read_bytes()


def test_the_seed_of_any_picture_draws_it_again_alone(served: Any, client: Client, drawn: dict[str, Any]) -> None:
    old = drawn["pictures"][2]
    again = draw(client, seed=old["recipe"]["seed"], negative="effusion")["pictures"][0]
    other = draw(client, seed=12, negative="effusion")["pictures"][0]
    assert content(served, again) == content(served, old) != content(served, other)


def test_a_script_hears_of_each_picture_as_soon_as_it_is_there(client: Client) -> None:
    job = client.submit(prompt=PROMPT, num=3, seed=5, steps=6, guidance=1.0, api_name="/draw")
    told = list(job)
    counts = [len(each["pictures"]) for each in told]
    assert counts == sorted(counts)
    assert (counts[-1], told[-1]["state"]) == (3, "done")
    assert len(set(counts)) > 2


def test_no_folder_of_the_server_is_told(served: Any, drawn: dict[str, Any], tiny_base: Path) -> None:
    with urllib.request.urlopen(f"{served.url}config", timeout=30) as answer:
        page = answer.read().decode()
    told = json.dumps(drawn) + page
    assert drawn["pictures"][0]["recipe"]["base"] == tiny_base.name
    assert str(tiny_base.parent) not in told
    assert str(served.desk.store.folder) not in told
    assert LABEL in page


@pytest.mark.parametrize(("changes", "message"), [
    ({"prompt": "A nodule in the left lung."}, "names no modality.*choose one under 'Modality'"),
    ({"prompt": "  "}, "prompt is empty"), ({"prompt": "😀"}, "names no modality"),
    ({"prompt": "CT " + "x" * 100_000}, f"at most {MAX_TEXT}"), ({"num": 9}, "9; expected"),
    ({"num": "many"}, "must be a number"), ({"seed": -1}, "-1"), ({"steps": 1000}, "1000"),
    ({"modality": "PET"}, "PET"), ({"guidance": "<b>high</b>"}, "must be a number"),
])  # fmt: skip
def test_what_cannot_be_drawn_is_refused_in_words(client: Client, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AppError, match=message) as error:
        draw(client, **changes)
    assert "Traceback" not in str(error.value)


def test_a_number_that_is_none_is_refused_even_where_json_lets_it_through(served: Any) -> None:
    body = json.dumps({"data": [PROMPT, "CT", math.nan, 1, 2, 3, ""]}).encode()
    ask = urllib.request.Request(f"{served.url}gradio_api/call/draw", body, {"content-type": "application/json"})
    with urllib.request.urlopen(ask, timeout=30) as answer:
        event = json.loads(answer.read())["event_id"]
    with urllib.request.urlopen(f"{served.url}gradio_api/call/draw/{event}", timeout=30) as answer:
        told = answer.read()
    assert b"finite number" in told
    assert b"Traceback" not in told


def test_html_in_a_prompt_is_words(client: Client, served: Any) -> None:
    text = "CT <img src=x onerror=alert(1)> with a nodule"
    found = draw(client, text)["pictures"][0]
    assert found["recipe"]["text"] == text
    assert find_picture(served.desk.store, LOCAL, found["id"]).sample.text == text
    with pytest.raises(AppError) as error:
        draw(client, PROMPT, modality="<script>")
    assert "<script>" not in str(error.value)


def test_a_chosen_modality_serves_a_prompt_without_one(client: Client) -> None:
    found = draw(client, "A nodule in the left lung.", modality="MRI")
    assert found["pictures"][0]["recipe"]["modality"] == "MRI"


def test_a_png_recalls_its_settings(served: Any, client: Client, drawn: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content(served, drawn["pictures"][1]))
    *settings, note = client.predict(path=handle_file(path), api_name="/recall")
    assert settings == [PROMPT, "CT", 1, drawn["pictures"][1]["recipe"]["seed"], 2, 3, "effusion"]
    assert "the same" in note
    foreign = tmp_path / "foreign.png"
    write_png(foreign, np.zeros((8, 8, 1), np.uint8), {**read_recipe(path), "base_digest": "0" * 64})
    assert "another base" in client.predict(path=handle_file(foreign), api_name="/recall")[-1]
    write_png(foreign, np.zeros((8, 8, 1), np.uint8), {**read_recipe(path), "steps": 5000})
    with pytest.raises(AppError, match=r"cannot be drawn here: The number of steps is 5000; expected 1 to"):
        client.predict(path=handle_file(foreign), api_name="/recall")


def test_files_that_recall_nothing_are_refused_and_not_kept(served: Any, client: Client, tmp_path: Path) -> None:
    plain, text = tmp_path / "plain.png", tmp_path / "text.png"
    write_png(plain, np.zeros((8, 8, 1), np.uint8))
    text.write_text("no picture")
    for path, message in ((plain, "carries no Vesalius recipe"), (text, "no PNG")):
        with pytest.raises(AppError, match=message):
            client.predict(path=handle_file(path), api_name="/recall")
    kept = [p for p in (served.desk.store.folder / "gradio").rglob("*") if p.name in ("plain.png", "text.png")]
    assert not kept
    large = tmp_path / "large.png"
    large.write_bytes(b"\x89PNG" + bytes(9 << 20))
    with pytest.raises(Exception, match=r"size|large|413|Payload"):
        client.predict(path=handle_file(large), api_name="/recall")


def test_a_prompt_is_built_in_words_of_the_training(client: Client) -> None:
    settings = {"modality": "CT", "organ": "chest", "finding": "nodule", "side": "left", "size": 22, "count": 1}
    english = client.predict(**settings, language="en", api_name="/build_prompt")
    chinese = client.predict(**settings, language="zh", api_name="/build_prompt")
    assert "nodule" in english
    assert "left" in english
    assert "结节" in chinese
    assert "左" in chinese
    for changes, message in (
        ({"finding": "glaucoma"}, "was not trained on this: finding 'glaucoma'"), ({"size": 400}, "size '400 mm'"),
        ({"language": "fr"}, "expected en or zh"), ({"count": 1.5}, "whole number"),
        ({"side": "x" * 200}, "at most 100"),
    ):  # fmt: skip
        with pytest.raises(AppError, match=message):
            client.predict(**{**settings, **changes}, api_name="/build_prompt")


def handler(served: Any, name: str) -> Any:
    """A private action of the page by its function's name."""
    from vesalius.demo.app import build_page

    page = build_page(type(served.desk)(**{**vars(served.desk), "links": {}, "tabs": None}))
    return next(f.fn for f in page.fns.values() if getattr(f.fn, "__name__", "") == name)


def request(language: str = "en") -> gr.Request:
    found = gr.Request(headers={"accept-language": language})
    found.session_hash = "one"
    return found


def test_pressing_twice_orders_once_and_another_order_can_follow(served: Any) -> None:
    order = handler(served, "order")
    settings = (PROMPT, "CT", 1, 41, 2, 1.0, "")
    first, second = (order(*settings, request())[0] for _ in range(2))
    assert first == second or find_job(served.desk.store, LOCAL, first).is_over
    other = order(PROMPT, "CT", 1, 42, 2, 1.0, "", request())[0]
    assert {first, other} <= {j.id for j in jobs_of(served.desk.store, LOCAL)}
    assert first != other


def test_a_built_prompt_never_replaces_ones_own_words_unasked(served: Any) -> None:
    pick = handler(served, "pick")
    sent = json.dumps({"wish": {"modality": "CT", "organ": "chest", "finding": "nodule", "side": "left"},
                       "text": "old words", "field": "side", "value": "right"})  # fmt: skip
    page, prompt, _ = pick(sent, "old words", request())
    assert "right" in prompt
    page, prompt, _ = pick(sent, "my own words", request())
    assert not isinstance(prompt, str)
    assert "Use these words" in page
    used = json.dumps({**json.loads(sent), "field": "use"})
    assert "left" in pick(used, "my own words", request())[1]


def test_a_page_follows_the_last_job_that_it_was_given() -> None:
    followed = Followed()
    with followed.page("session", "one") as first:
        assert first()
        with followed.page("session", "two") as second:
            assert second()
            assert not first()
        with followed.page("other", "two"):
            assert not first()
    assert followed.jobs == {}


def test_the_picture_of_another_is_not_recalled(served: Any, drawn: dict[str, Any]) -> None:
    recall = handler(served, "recall_picture")
    own = recall(f"{drawn['pictures'][0]['id']}#123", request())
    assert own[:2] == (PROMPT, "CT")
    with pytest.raises(gr.Error, match="no longer here, or is someone else's"):
        recall("another#1", request())


def test_files_and_pictures_agree(served: Any, drawn: dict[str, Any], tmp_path: Path) -> None:
    stored = find_picture(served.desk.store, LOCAL, drawn["pictures"][0]["id"])
    (tmp_path / "a.png").write_bytes(content(served, drawn["pictures"][0]))
    assert np.array_equal(read_image(tmp_path / "a.png"), read_image(file_of(served.desk.store, stored)))


def test_nothing_to_recall_from_is_told(client: Client) -> None:
    with pytest.raises(AppError, match="No file was sent; choose a PNG"):
        client.predict(path=None, api_name="/recall")
