"""Comparing by script: rows that differ in one thing, and what two pictures differ in."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import httpx
import pytest
from PIL import Image

from vesalius.data.images.image import read_recipe
from vesalius.demo.compare.ladders import ladder, refusals, start_of
from vesalius.demo.create.choices import Menu
from vesalius.demo.orders import MAX_TEXT, Ask, Order
from vesalius.demo.store.jobs import claim_job, end_job, jobs_of
from vesalius.demo.store.pictures import file_of, find_picture
from vesalius.demo.tabs.compare import EXAMPLE

CT = "Chest CT with a 20 mm nodule in the left lung."


def test_a_row_is_one_job_whose_pictures_carry_their_labels(served: Any) -> None:
    client = served.client()
    row = client.predict(prompt=CT, change="size", steps=3, seed=9, low=12, high=36, api_name="/compare")
    assert row["labels"] == ["12 mm", "24 mm", "36 mm"]
    assert row["prompts"] == [CT.replace("20", label.split()[0]) for label in row["labels"]]
    job = jobs_of(served.desk.store, "local")[0]
    assert (job.order.kind, job.state, [a.label for a in job.order.asks]) == ("compare", "done", row["labels"])
    assert {a.seed for a in job.order.asks} == {9}
    for url in row["urls"]:
        assert httpx.get(served.url.rstrip("/") + url).headers["content-type"] == "image/png"
    first, second = (url.split("/")[-1].removesuffix(".png") for url in row["urls"][:2])
    found = client.predict(first=first, second=second, api_name="/difference")
    assert set(found) == {"unit", "mean_absolute", "largest", "mean", "changed"}
    assert found["largest"] >= found["mean_absolute"] >= 0
    assert client.predict(first=first, second=first, api_name="/difference")["largest"] == 0


def test_a_row_is_had_as_one_picture_by_script(served: Any, keep_picture: Any) -> None:
    ids = [keep_picture(served.desk.store, seed=n).id for n in range(5)]
    path = served.client().predict(pictures=ids, api_name="/compare_sheet")
    content = httpx.get(served.url.rstrip("/") + path).content
    with Image.open(io.BytesIO(content)) as sheet:
        assert (sheet.width, sheet.height) == (16 + 4 * (256 + 16), 16 + 2 * (256 + 64 + 16))
        assert sheet.text["Comment"] == "Synthetic: not for diagnosis"  # type: ignore[attr-defined]
        assert [p["seed"] for p in json.loads(sheet.text["Description"])["pictures"]] == list(range(5))  # type: ignore[attr-defined]
    assert httpx.get(f"{served.url}sheets/{ids[0]},nobodys.png").status_code == 404
    with pytest.raises(Exception, match="Name 1 to 8 pictures"):
        served.client().predict(pictures=[], api_name="/compare_sheet")


@pytest.mark.parametrize("change", ["right", "size", "normal", "finding", "count"])
def test_the_example_can_be_changed_alike_in_both_languages(change: Any) -> None:
    support = Menu(None).support
    starts = [start_of(text, seed=1, support=support) for text in EXAMPLE]
    assert starts[0].findings == starts[1].findings
    assert refusals(starts[0], support).keys() == refusals(starts[1], support).keys()
    assert len(ladder(starts[1], change, support, num=3, language="zh")) >= 2


def test_a_ladder_of_guidance_is_drawn_with_it(served: Any) -> None:
    row = served.client().predict(prompt=CT, change="guidance", steps=2, seed=4, low=1, high=5, api_name="/compare")
    store = served.desk.store
    pictures = [find_picture(store, "local", url.split("/")[-1].removesuffix(".png")) for url in row["urls"]]
    assert [read_recipe(file_of(store, p))["guidance"] for p in pictures] == [1.0, 5.0]
    assert row["labels"] == ["guidance 1", "guidance 5"]


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"prompt": ""}, "The prompt is empty"),
        ({"prompt": "CT " * MAX_TEXT}, "at most 4000 are kept"),
        ({"prompt": "a nodule"}, "names no modality"),
        ({"change": "colour"}, "is not known"),
        ({"change": "left"}, "says so already"),
        ({"steps": 99}, "expected 2 to 8"),
        ({"change": "size", "low": 1, "high": 5}, "of 12 to 45"),
        ({"seed": -1}, "The seed is -1"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_words(served: Any, sent: dict[str, Any], told: str) -> None:
    with pytest.raises(Exception, match=told):
        served.client().predict(**{"prompt": CT, "change": "right", **sent}, api_name="/compare")


def test_pictures_that_are_not_there_do_not_differ(served: Any) -> None:
    with pytest.raises(Exception, match="no longer here"):
        served.client().predict(first="x", second="y", api_name="/difference")


def test_guidance_of_one_picture_is_bounded_as_an_order_s_is() -> None:
    ask = Ask(prompt=CT, seed=1, guidance=99.0)
    with pytest.raises(ValueError, match="The guidance is 99"):
        Order(asks=(ask,), steps=2, guidance=3.0)
    order = Order(asks=(Ask(prompt=CT, seed=1, guidance=5.0), Ask(prompt=CT, seed=2)), steps=2, guidance=3.0)
    assert [order.guidance_of(a) for a in order.asks] == [5.0, 3.0]
    assert Order.from_json(order.to_json()) == order


def test_why_a_row_failed_is_told_to_the_script_in_its_language(undrawn: Any) -> None:
    demo = undrawn()
    store = demo.desk.store
    rows = [
        demo.client(headers={"accept-language": language}).submit(prompt=CT, change="seed", api_name="/compare")
        for language in ("en", "zh")
    ]
    end = time.monotonic() + 60
    while not all(row.done() for row in rows):
        assert time.monotonic() < end
        if (job := claim_job(store, "test")) is not None:
            end_job(store, job.id, "failed", "Out of memory; draw fewer\n内存不足；请减少数量", worker="test")
        time.sleep(0.02)
    assert "Out of memory; draw fewer" in str(rows[0].exception())
    assert "内存不足；请减少数量" in str(rows[1].exception())
