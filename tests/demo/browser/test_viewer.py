"""The viewer in a real browser, over phantoms whose every value is known."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vesalius.data.hounsfield import show
from vesalius.data.images.image import read_hu, read_image
from vesalius.data.record import Finding
from vesalius.demo.store.pictures import StoredPicture, file_of

pytestmark = pytest.mark.slow
NODULE = (Finding(kind="nodule", side="left", size_mm=30.0),)
SCRIPTS = ("viewer.js", "viewer_draw.js", "viewer_pixels.js", "viewer_words.js")
LABEL = "Synthetic: not for diagnosis"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def ct(served: Any, keep_picture: Any) -> tuple[StoredPicture, StoredPicture]:
    """A chest without and one with a nodule, of one patient."""
    store = served.desk.store
    return keep_picture(store, label="normal"), keep_picture(store, findings=NODULE, label="nodule")


@pytest.fixture
def opened(served: Any, browser: Any) -> Iterator[Open]:
    """Open pictures in the viewer, on a page that holds nothing but a button; errors of the page fail the test."""
    pages: list[Any] = []
    errors: list[str] = []

    def open_(pictures: list[Any], *, size: tuple[int, int] = (1280, 800), context: Any = None, **options: Any) -> Any:
        page = browser.new_page(
            viewport={"width": size[0], "height": size[1]}, has_touch=size[0] < 600, **(context or {})
        )
        pages.append(page)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(served.url + "login")
        page.evaluate("document.body.innerHTML = '<h1>A page</h1><button id=before>Open</button>'")
        page.add_style_tag(url="/assets/viewer.css")
        for name in SCRIPTS:
            page.add_script_tag(url=f"/assets/{name}")
        page.focus("#before")
        ids = [p if isinstance(p, str) else p.id for p in pictures]
        page.evaluate("([ids, options]) => vesalius.view(ids, options)", [ids, options])
        page.wait_for_function("!document.querySelector('.viewer-reading').textContent.startsWith('Loading')")
        settle(page)
        return page

    yield open_
    for page in pages:
        page.close()
    assert errors == []


def settle(page: Any) -> None:
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def spot(page: Any, column: float, row: float, *, size: int = 128, pane: int = 0) -> tuple[float, float]:
    """Where a place of a picture that fits its pane lies on the page; whole numbers are edges of pixels."""
    box = page.locator(".viewer-stage").nth(pane).bounding_box()
    scale = min(box["width"], box["height"]) / size
    return (
        box["x"] + box["width"] / 2 + (column - size / 2) * scale,
        box["y"] + box["height"] / 2 + (row - size / 2) * scale,
    )


def pixel(page: Any, column: int, row: int, *, size: int = 128, pane: int = 0) -> list[int]:
    """What the canvas shows at the middle of a pixel."""
    x, y = spot(page, column + 0.5, row + 0.5, size=size, pane=pane)
    return list(
        page.locator("canvas")
        .nth(pane)
        .evaluate(
            """(canvas, [x, y]) => { const box = canvas.getBoundingClientRect(), ratio = canvas.width / box.width;
            return [...canvas.getContext("2d").getImageData((x - box.x) * ratio, (y - box.y) * ratio, 1, 1).data]; }""",
            [x, y],
        )[:3]
    )


def reading(page: Any, pane: int = 0) -> str:
    settle(page)
    return str(page.locator(".viewer-reading").nth(pane).text_content()).replace("−", "-")


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    page.mouse.move(*end)
    page.mouse.up()
    settle(page)


def measures(page: Any) -> list[str]:
    settle(page)
    return [text.replace("−", "-") for text in page.locator(".viewer-measures li").all_text_contents()]


def press(page: Any, does: str) -> None:
    page.locator(f"dialog [data-does='{does}']").first.click()
    settle(page)


def test_the_value_under_the_cursor_is_the_file_s(opened: Open, served: Any, ct: Any) -> None:
    hu = read_hu(file_of(served.desk.store, ct[1], units=True))
    page = opened([ct[1]])
    for column, row in ((64, 64), (30, 70), (3, 5), (100, 61)):
        page.mouse.move(*spot(page, column + 0.5, row + 0.5))
        assert reading(page).startswith(f"{hu[row, column]:.0f} HU ({column}, {row})")


def test_presets_show_the_windows_that_the_project_knows(opened: Open, served: Any, ct: Any) -> None:
    hu = read_hu(file_of(served.desk.store, ct[0], units=True))
    page = opened([ct[0]])
    assert "W 1500 L -600" in reading(page)  # there is lung, so it opens as lung is read
    press(page, "smooth")
    for name, said in (
        ("soft tissue", "W 400 L 40"),
        ("bone", "W 1800 L 400"),
        ("brain", "W 80 L 40"),
        ("lung", "W 1500 L -600"),
    ):
        press(page, name)
        assert said in reading(page)
        assert page.locator(f"[data-does='{name}']").get_attribute("aria-pressed") == "true"
        for column, row in ((64, 50), (30, 70), (64, 100)):
            expected = int(show(hu, name)[row, column])
            assert pixel(page, column, row) == pytest.approx([expected] * 3, abs=1)


def test_dragging_changes_the_window_and_what_is_seen(opened: Open, ct: Any) -> None:
    page = opened([ct[0]])
    before = pixel(page, 30, 70)
    drag(page, spot(page, 64, 64), (spot(page, 64, 64)[0] + 50, spot(page, 64, 64)[1] - 40))
    width, level = map(int, re.findall(r"W (\d+) L (-?\d+)", reading(page))[0])
    assert (width, level) == (1800, -720)
    assert pixel(page, 30, 70) != before
    page.locator("[data-does='level']").fill("40")
    page.locator("[data-does='width']").fill("350")
    assert "W 350 L 40" in reading(page)
    press(page, "invert")
    press(page, "reset")
    assert "W 1500 L -600" in reading(page)
    assert pixel(page, 30, 70) == before


def test_the_wheel_magnifies_what_is_under_it(opened: Open, ct: Any) -> None:
    page = opened([ct[0]])
    page.mouse.move(*spot(page, 40.5, 70.5))
    before = reading(page)
    for _ in range(4):
        page.mouse.wheel(0, -100)
    after = reading(page)
    place, percent = (re.search(p, before) for p in (r"\((\d+), (\d+)\)", r"(\d+) %"))
    assert place is not None
    assert percent is not None
    assert place[0] in after
    assert int(re.findall(r"(\d+) %", after)[0]) == pytest.approx(int(percent[1]) * math.e, rel=0.03)
    press(page, "fit")
    assert reading(page).endswith(percent[0])


def test_keys_and_drags_move_the_picture(opened: Open, ct: Any) -> None:
    page = opened([ct[0]])
    for _ in range(5):
        page.keyboard.press("+")
    page.mouse.move(*spot(page, 64.5, 64.5))
    assert "(64, 64)" in reading(page)
    page.keyboard.press("ArrowRight")
    page.mouse.move(*spot(page, 64.6, 64.6))
    column = int(re.findall(r"\((\d+), 64\)", reading(page))[0])
    assert column == 64 + round(0.1 * 128 / 1.25**5)
    page.keyboard.press("p")
    page.keyboard.press("0")
    page.keyboard.press("+")
    drag(page, spot(page, 64, 64), (spot(page, 64, 64)[0] - 60, spot(page, 64, 64)[1]))
    page.mouse.move(*spot(page, 64.5, 64.5))
    box = page.locator(".viewer-stage").bounding_box()
    scale = 1.25 * min(box["width"], box["height"]) / 128
    assert int(re.findall(r"\((\d+), \d+\)", reading(page))[0]) == pytest.approx(64 + 60 / scale, abs=1)


def test_a_line_and_an_area_are_measured_in_millimetres(opened: Open, served: Any, ct: Any) -> None:
    hu = read_hu(file_of(served.desk.store, ct[1], units=True))
    page = opened([ct[1]])
    press(page, "line")
    drag(page, spot(page, 20, 40), spot(page, 50, 80))  # 30 and 40 pixels of 2.5 mm: 50 pixels, 125 mm
    [line] = measures(page)
    assert float(re.findall(r"([\d.]+) mm", line)[0]) == pytest.approx(125, abs=1)
    press(page, "ellipse")
    drag(page, spot(page, 50, 40), spot(page, 70, 60))
    area = measures(page)[1]
    assert float(re.findall(r"(\d+) mm²", area)[0]) == pytest.approx(math.pi * 10 * 10 * 2.5**2, rel=0.03)
    rows, columns = np.mgrid[:128, :128] + 0.5
    inside = hu[(rows - 50) ** 2 + (columns - 60) ** 2 <= 100]
    said = [float(n) for n in re.findall(r"mean (-?\d+) HU, SD (\d+), (-?\d+) to (-?\d+)", area)[0]]
    assert said[0] == pytest.approx(inside.mean(), abs=3)
    assert said[1] == pytest.approx(inside.std(), abs=3)
    press(page, "clear")
    assert measures(page) == []


def test_where_no_spacing_is_known_pixels_are_told(opened: Open, served: Any, keep_picture: Any) -> None:
    page = opened([keep_picture(served.desk.store, "MRI", spacing=None)])
    press(page, "line")
    drag(page, spot(page, 20, 40), spot(page, 50, 80))
    [line] = measures(page)
    assert float(re.findall(r"([\d.]+) px \(size of a pixel not known\)", line)[0]) == pytest.approx(50, abs=0.5)


def test_everything_can_be_done_by_keyboard(opened: Open, served: Any, ct: Any) -> None:
    page = opened([ct[0]])
    page.keyboard.press("3")
    assert "W 1800 L 400" in reading(page)
    page.keyboard.press("PageDown")
    assert "W 1800 L 490" in reading(page)
    page.keyboard.press("]")
    assert "W 1980 L 490" in reading(page)
    page.keyboard.press("l")
    page.keyboard.press("Enter")
    for key in ("Shift+ArrowRight",) * 3 + ("Shift+ArrowDown",) * 4:
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    assert measures(page) == ["1. Line: 125.0 mm"]
    page.keyboard.press("e")
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowUp")
    page.keyboard.press("Enter")
    assert float(re.findall(r"(\d+) mm²", measures(page)[1])[0]) == pytest.approx(math.pi * 25 * 6.25, abs=1)
    page.keyboard.press("Delete")
    assert measures(page) == []


def test_focus_stays_inside_until_escape_and_then_returns(opened: Open, ct: Any) -> None:
    page = opened([ct[0]])
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("document.activeElement.dataset.does || document.activeElement.className"))
        assert page.evaluate("!!document.activeElement.closest('dialog.viewer')")
    assert {"close", "window", "in", "lung", "level", "width", "invert", "viewer-stage"} <= seen
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")
    assert page.evaluate("document.activeElement.id") == "before"


def test_linked_panes_move_together_and_unlinked_ones_do_not(opened: Open, ct: Any) -> None:
    page = opened(list(ct), labels=["normal", "nodule"])
    page.mouse.move(*spot(page, 90.5, 70.5))
    page.mouse.wheel(0, -100)
    press(page, "bone")
    both = [reading(page, pane) for pane in (0, 1)]
    assert both[0].split(" · ")[1:] == both[1].split(" · ")[1:]
    assert "W 1800 L 400" in both[1]
    assert re.findall(r"\(.*\)", both[0]) == re.findall(r"\(.*\)", both[1])  # the cross is at one place in both
    press(page, "linked")
    page.locator(".viewer-stage").nth(1).focus()
    page.keyboard.press("1")
    assert "W 1500 L -600" in reading(page, 1)
    assert "W 1800 L 400" in reading(page, 0)


def test_a_picture_does_not_differ_from_itself(opened: Open, ct: Any) -> None:
    page = opened([ct[0], ct[0]], difference=True)
    assert page.locator(".viewer-remark").nth(1).text_content() == "no difference at all"
    brightest = """canvas => {
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height - 40).data;
        return data.reduce((most, value, i) => (i % 4 === 3 ? most : Math.max(most, value)), 0);
    }"""
    assert page.locator("canvas").nth(1).evaluate(brightest) == 0


def test_a_difference_is_signed_and_its_scale_has_numbers(opened: Open, served: Any, ct: Any) -> None:
    first, second = (read_hu(file_of(served.desk.store, each, units=True)) for each in ct)
    apart = second - first
    row, column = (int(n) for n in np.unravel_index(np.argmax(apart), apart.shape))
    page = opened(list(ct), difference=True)
    page.mouse.move(*spot(page, column + 0.5, row + 0.5, pane=1))
    assert reading(page, 1).startswith(f"+{apart[row, column]:.0f} HU")
    assert f"{np.abs(apart).max():.0f} HU" in page.locator(".viewer-remark").nth(1).text_content()
    press(page, "smooth")
    red, _, blue = pixel(page, column, row, pane=1)
    assert red > 150 > blue  # warm: there is more
    scale = page.locator(".viewer-scale").text_content()
    limit = re.findall(r"\+(\d+) HU", scale)[0]
    assert f"−{limit} HU" in scale
    page.locator("[data-does='range']").fill("100")
    settle(page)
    assert "+100 HU" in page.locator(".viewer-scale").text_content()


def test_pictures_of_another_size_have_no_difference(opened: Open, served: Any, ct: Any, keep_picture: Any) -> None:
    page = opened([ct[0], keep_picture(served.desk.store, size=64)], difference=True)
    assert page.locator(".viewer-remark").nth(1).text_content() == "Of another size, so there is no difference to show"


def test_colours_have_brightness_and_contrast(opened: Open, served: Any, keep_picture: Any) -> None:
    kept = keep_picture(served.desk.store, "pathology")
    image = read_image(file_of(served.desk.store, kept))
    page = opened([kept])
    press(page, "smooth")
    assert page.locator("[data-does='lung']").is_hidden()
    assert pixel(page, 60, 60) == image[60, 60].tolist()
    page.locator("[data-does='width']").fill("200")
    settle(page)
    expected = np.clip((image[60, 60].astype(float) - 127.5) * 2 + 127.5, 0, 255)
    assert pixel(page, 60, 60) == pytest.approx(expected.tolist(), abs=1)


def test_hidden_pictures_say_nothing_but_the_label(opened: Open, ct: Any) -> None:
    page = opened(list(ct), labels=["normal", "nodule"], hide=True)
    told = page.locator("dialog").evaluate(
        "d => d.outerHTML + [...d.querySelectorAll('[aria-label]')].map(e => e.ariaLabel).join(' ')"
    )
    assert "nodule" not in told
    assert "normal" not in told
    assert page.locator("canvas").first.get_attribute("aria-label") == LABEL
    assert page.locator(".viewer-label").all_text_contents() == [LABEL, LABEL]


def test_a_phone_shows_all_of_it_and_two_fingers_magnify(opened: Open, ct: Any, shots: Path) -> None:
    page = opened([ct[1]], size=(390, 844))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator(".viewer-label").is_visible()
    box = page.locator(".viewer-stage").bounding_box()
    assert box["height"] > 300
    before = int(re.findall(r"(\d+) %", reading(page))[0])
    touch = page.context.new_cdp_session(page)
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def fingers(kind: str, *points: tuple[float, float]) -> None:
        touch.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": a, "y": b, "id": i} for i, (a, b) in enumerate(points)]},
        )

    fingers("touchStart", (x - 30, y), (x + 30, y))
    fingers("touchMove", (x - 60, y), (x + 60, y))
    fingers("touchEnd")
    assert int(re.findall(r"(\d+) %", reading(page))[0]) == pytest.approx(2 * before, rel=0.1)
    fingers("touchStart", (x, y))
    fingers("touchMove", (x + 40, y))
    fingers("touchEnd")
    assert "W 1740 L -600" in reading(page)
    page.screenshot(path=shots / "viewer-phone.png")


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_axe_finds_nothing_serious(opened: Open, ct: Any, size: tuple[int, int], shots: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = opened(list(ct), size=size, labels=["normal", "nodule"], difference=True)
    page.screenshot(path=shots / f"viewer-difference-{size[0]}.png")
    found = Axe().run(page, context="dialog").response["violations"]
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found if v["impact"] in ("serious", "critical")] == []


def test_it_speaks_chinese_where_the_reader_does(opened: Open, ct: Any) -> None:
    page = opened([ct[0]], context={"locale": "zh-CN"})
    assert page.locator(".viewer-label").text_content() == "合成图像：不可用于诊断"
    assert page.locator("[data-does='lung']").text_content() == "肺窗"


def test_a_picture_that_is_gone_says_so(opened: Open) -> None:
    page = opened(["no-such-picture"])
    assert "cannot be shown (404)" in reading(page)
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")
