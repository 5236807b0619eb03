"""Quizzes in a real browser: a learner's phone and keyboard, and the teacher's tab."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slow
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
DESK = {"viewport": {"width": 1280, "height": 800}}
WHY = "The round opacity lies in the right upper lobe."


@pytest.fixture(scope="module")
def house(undrawn: Callable[..., Any]) -> Any:
    return undrawn()


@pytest.fixture(scope="module")
def pictures(house: Any, keep_picture: Any) -> list[str]:
    return [keep_picture(house.desk.store, seed=n, size=128, text="Chest CT, nodule.").id for n in range(4)]


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    import os

    folder = Path(os.environ.get("VESALIUS_SCREENSHOTS", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def make(house: Any, pictures: list[str], **changes: Any) -> dict[str, Any]:
    base = {"explanation": WHY}
    choices = ["nodule", "pleural effusion", "pneumothorax"]
    circle = {"x": 0.3, "y": 0.41, "radius": 0.12}
    questions = [
        {**base, "kind": "single", "picture": pictures[0], "text": "What is seen?", "choices": choices, "right": [0]},
        {**base, "kind": "point", "picture": pictures[1], "text": "Where is the nodule?", "circle": circle},
        {**base, "kind": "normal", "picture": pictures[2], "text": "Is this picture normal?", "right": [1]},
        {**base, "kind": "text", "picture": pictures[3], "text": "What would you do next?"},
    ]
    told = {"title": "Chest CT, first look", "note": "Four questions.", "questions": questions, "shuffled": False}
    quiz: dict[str, Any] = httpx.post(f"{house.url}quizzes", json={**told, **changes}).json()
    return {**quiz, "url": f"{house.url}quiz/{quiz['token']}"}


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page in a context of its own; no error or refused content may come of it."""
    contexts, wrong = [], []

    def open_(url: str, **settings: Any) -> Any:
        context = browser.new_context(**{"locale": "en-GB", **settings})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if "Content Security Policy" in m.text else None)
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


def serious(page: Any, within: str | None = None) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=within).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in ("serious", "critical")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_goes_through_a_quiz_by_touch_over_a_reload_and_a_lost_network(
    house: Any, pictures: list[str], opened: Any, shots: Path, scheme: str
) -> None:
    quiz = make(house, pictures)
    page = opened(quiz["url"], color_scheme=scheme, **PHONE)

    def look(name: str) -> None:
        page.wait_for_function("[...document.images].every(i => i.complete && i.naturalWidth)")
        page.screenshot(path=shots / f"quiz-phone-{scheme}-{name}.png")
        assert serious(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    look("start")
    page.get_by_label("Name or nickname").fill("Ann")
    page.get_by_role("button", name="Start").tap()
    page.get_by_text("Question 1 of 4").wait_for()
    assert page.locator("img").get_attribute("alt") == "Picture 1 of 4. Synthetic: not for diagnosis"
    page.get_by_label("nodule").tap()
    look("single")
    page.get_by_role("button", name="Answer", exact=True).tap()
    page.get_by_text("✓ Right").wait_for()
    page.get_by_text(WHY).wait_for()
    look("told")

    page.reload()
    page.get_by_text("Question 2 of 4").wait_for()
    page.get_by_role("button", name="Larger").tap()
    page.get_by_role("button", name="Whole picture").tap()
    box = page.locator(".layer").bounding_box()
    page.touchscreen.tap(box["x"] + 0.31 * box["width"], box["y"] + 0.42 * box["height"])
    look("point")
    page.get_by_role("button", name="Answer", exact=True).tap()
    page.get_by_text("The green circle shows the right place").wait_for()
    page.get_by_text("✓ Right").wait_for()
    look("point-told")

    page.get_by_role("button", name="Next question").tap()
    page.context.set_offline(True)
    page.get_by_label("Normal", exact=True).tap()
    page.get_by_role("button", name="Answer", exact=True).tap()
    page.get_by_text("No connection").wait_for()
    look("offline")
    page.get_by_role("button", name="Next question").tap()
    page.get_by_label("Your answer").fill("Compare with older pictures.")
    page.get_by_role("button", name="Answer", exact=True).tap()
    page.get_by_role("button", name="See the result").tap()
    page.get_by_text("All questions are answered").wait_for()
    assert page.locator("#score").count() == 0  # two answers have not arrived
    page.context.set_offline(False)
    page.locator("#score").wait_for(timeout=30_000)
    assert page.locator("#score").inner_text() == "2 of 3"
    look("end")

    results = httpx.get(f"{house.url}quizzes/{quiz['id']}/results").json()
    assert [(r["learner"], r["score"], r["answered"]) for r in results["learners"]] == [("Ann", 2, 4)]
    page.reload()
    page.locator("#score").wait_for()


def test_the_keyboard_alone_suffices(house: Any, pictures: list[str], opened: Any, shots: Path) -> None:
    page = opened(make(house, pictures)["url"], **DESK)

    def press(*keys: str) -> None:
        for key in keys:
            page.keyboard.press(key)

    page.get_by_label("Name or nickname").wait_for()
    press("Tab", "Enter")
    page.get_by_text("Question 1 of 4").wait_for()
    press("Tab", "+", "+", "ArrowRight", "0")
    press("Tab", "Tab", "Tab", "Tab", "Space", "Enter")
    page.get_by_text("✓ Right").wait_for()
    press("Enter")
    page.get_by_text("Question 2 of 4").wait_for()
    press("Tab", *["ArrowLeft"] * 8, *["ArrowUp"] * 4, "Enter")
    page.get_by_text("✓ Right").wait_for()
    page.screenshot(path=shots / "quiz-desk-point.png")
    press("Enter", "Tab", "Tab", "Tab", "Tab", "Tab", "ArrowDown", "Enter")
    page.get_by_text("✓ Right").wait_for()
    press("Enter", "Tab", "Tab", "Tab", "Tab", "Tab")
    page.keyboard.type("Look again.")
    press("Tab", "Enter")
    page.get_by_text("This question is not scored").wait_for()
    press("Enter")
    page.locator("#score").wait_for()
    assert page.locator("#score").inner_text() == "3 of 3"


def test_a_quiz_that_tells_at_the_end_in_chinese(house: Any, pictures: list[str], opened: Any, shots: Path) -> None:
    quiz = make(house, pictures, tell="end", shuffled=True)
    page = opened(quiz["url"], **{**PHONE, "locale": "zh-CN"})
    page.get_by_role("button", name="开始").tap()
    for at in range(1, 5):
        page.get_by_text(f"第 {at} 题").wait_for()
        if page.get_by_role("radio").count():
            page.get_by_role("radio").first.check()
        elif page.get_by_label("您的回答").count():
            page.get_by_label("您的回答").fill("随访")
        else:
            page.locator(".stage").tap()
        assert WHY not in page.content()
        page.get_by_role("button", name="提交答案").tap()
    page.locator("#score").wait_for()
    assert page.get_by_text(WHY).count() == 4
    page.screenshot(path=shots / "quiz-phone-zh-end.png", full_page=True)


def test_a_closed_quiz_and_a_wrong_link_say_so(house: Any, pictures: list[str], opened: Any) -> None:
    quiz = make(house, pictures)
    page = opened(quiz["url"], **PHONE)
    page.get_by_role("button", name="Start").tap()
    page.get_by_label("nodule").tap()
    httpx.put(f"{house.url}quizzes/{quiz['id']}/open", json={"open": False})
    page.get_by_role("button", name="Answer", exact=True).tap()
    page.get_by_text("did not arrive before the quiz was closed").wait_for()
    assert "This quiz is closed" in opened(quiz["url"]).locator("#remark").inner_text()
    assert "There is no quiz" in opened(f"{house.url}quiz/{'x' * 32}").locator("#remark").inner_text()
    scriptless = opened(make(house, pictures)["url"], java_script_enabled=False)
    assert "needs JavaScript" in scriptless.locator("noscript").inner_text()


def test_nothing_moves_under_a_finger_when_a_slow_picture_comes(
    house: Any,
    pictures: list[str],
    opened: Any,
) -> None:
    page = opened(make(house, pictures)["url"], **PHONE)
    held: list[Any] = []
    page.route("**/picture/*", lambda route: held.append(route))  # a bare append takes no mark of Playwright's
    page.get_by_role("button", name="Start").tap()
    choice = page.get_by_label("nodule")
    before = choice.bounding_box()
    for route in held:
        route.continue_()
    page.unroute("**/picture/*")
    assert page.locator(".layer img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    assert before
    assert choice.bounding_box() == before


@pytest.mark.parametrize("width", [1280, 390])
def test_a_teacher_makes_a_quiz_shows_it_and_sees_results(
    house: Any, pictures: list[str], opened: Any, shots: Path, width: int
) -> None:
    for old in httpx.get(f"{house.url}quizzes").json():
        httpx.delete(f"{house.url}quizzes/{old['id']}")
    # The narrow page is the dark one.
    page = opened(house.url + ("" if width > 500 else "?__theme=dark"), viewport={"width": width, "height": 844})

    def look(name: str) -> None:
        page.wait_for_timeout(400)
        page.screenshot(path=shots / f"quiz-teacher-{width}-{name}.png")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert serious(page, ".quiz-screen" if page.locator(".quiz-screen").count() else ".quiz-desk") == []

    open_tab(page)
    page.get_by_role("button", name="New quiz").click()
    page.get_by_label("Title").fill("Chest <b>CT</b>")
    page.locator(".quiz-grid input").first.wait_for()
    for box in page.locator(".quiz-grid input").all()[:2]:
        box.check()
    look("pick")
    page.get_by_label("Diagnosis that they show").fill("nodule")
    page.get_by_label("Differential, one a line").fill("mass\ncyst")
    page.get_by_role("button", name="Add questions").click()
    page.get_by_role("heading", name="Question 2").wait_for()
    second = page.get_by_role("region", name="Question 2")
    second.get_by_label("Kind").select_option("point")
    frame = second.locator(".quiz-picture")
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.42 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.up()
    assert second.get_by_label("radius, %").input_value() in ("11", "12", "13")
    look("edit")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("2 questions, 0 learners").wait_for()
    look("list")
    page.get_by_role("button", name="Show link").click()
    address = page.locator(".quiz-address").inner_text()
    page.wait_for_function("document.querySelector('.quiz-screen img').naturalWidth > 0")
    look("link")
    page.get_by_role("button", name="Close this view").click()
    page.get_by_role("button", name="Results").click()
    page.get_by_text("Nobody has started yet").wait_for()
    secret = "s" * 32
    httpx.put(f"{address}/sittings/{secret}", json={"name": "<img src=x onerror=alert(1)>"})
    choices = httpx.get(f"{address}/sittings/{secret}").json()["questions"]
    number = next(q["number"] for q in choices if q["kind"] == "single")
    place = next(q["choices"].index("mass") for q in choices if q["kind"] == "single")
    httpx.put(f"{address}/sittings/{secret}/answers/{number}", json={"said": [place]})
    httpx.put(f"{address}/sittings/{secret}/answers/{1 - number}", json={"said": {"x": 0.3, "y": 0.4}})
    page.get_by_text("<img src=x onerror=alert(1)>").wait_for()  # by itself, and as text
    page.get_by_text("mass (1)").wait_for()
    look("results")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download as CSV").click()
    assert "mass" in Path(download.value.path()).read_text("utf-8-sig")
    with page.context.expect_page() as preview:
        page.get_by_role("button", name="Back to your quizzes").click()
        page.get_by_role("link", name="Preview").click()
    preview.value.get_by_text("Question 1 of 2 · Preview").wait_for()
    preview.value.close()
    page.get_by_role("button", name="Close", exact=True).click()
    page.get_by_text(re.compile("^closed$")).wait_for()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("No quiz yet").wait_for()


def open_tab(page: Any) -> None:
    """Of a narrow page too, whose later tabs are in a menu."""
    page.get_by_role("tab", name="Create").wait_for()
    page.wait_for_timeout(500)  # until it is settled which tabs there is room for
    if not page.get_by_role("tab", name="Quiz").is_visible():
        page.locator(".overflow-menu > button").click()
        page.locator(".overflow-dropdown button", has_text="Quiz").click()
    else:
        page.get_by_role("tab", name="Quiz").click()
