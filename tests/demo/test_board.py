"""Figures of pictures: alt text, label, badges, buttons."""

from __future__ import annotations

import pytest

from vesalius.demo.board import alt_text, badges, board, percent, picture_figure
from vesalius.demo.page import LABEL
from vesalius.demo.store.pictures import Check, StoredPicture
from vesalius.inference.sample import Sample

SAMPLE = Sample(
    file_name="a.png", text="CT <script>alert(1)</script> nodule", modality="CT", seed=7, steps=2, guidance=3.0,
    width=128, height=128,
)  # fmt: skip
YES = Check(attribute="side", asked="nodule, left", seen="left", said="yes", checker="phantom reader", error_rate=0.03)
NO = Check(attribute="size", asked="nodule, 22 mm", seen="46 mm", said="no", checker="phantom reader", error_rate=0.02)
UNKNOWN = Check(attribute="finding", asked="glaucoma", seen="no network", said="unsure", checker="")
UNRATED = Check(attribute="finding", asked="nodule", seen="nodule", said="unsure", checker="phantom reader")
WRONG = Check(
    attribute="finding", asked="viral pneumonia", seen="too often wrong", said="unsure", checker="witness",
    error_rate=0.3,
)  # fmt: skip


def picture(*checks: Check, label: str = "") -> StoredPicture:
    return StoredPicture(id="abc", account="local", job="j", number=0, sample=SAMPLE, checks=checks, label=label)


def test_a_figure_says_synthetic_in_the_alt_text_and_beside_the_picture() -> None:
    html = picture_figure(picture(), "en")
    assert f'alt="{LABEL}. Asked for: CT' in html
    assert f">{LABEL}</p>" in html
    assert 'src="/pictures/abc.png"' in html
    assert 'loading="lazy"' in html
    assert alt_text(picture(), "zh").startswith("合成图像：不可用于诊断。")


def test_what_people_wrote_is_text_and_no_markup() -> None:
    html = picture_figure(picture(label="<b>left</b>"), "en")
    assert "<script>" not in html
    assert "<b>" not in html


def test_every_action_is_a_button_or_a_link_that_the_keyboard_reaches() -> None:
    html = picture_figure(picture(), "en", actions=("recall", "to_case", "to_compare", "download", "dicom"))
    assert all(f'<button type="button" data-board="{a}">' in html for a in ("recall", "to_case", "to_compare"))
    assert 'href="/pictures/abc.png?download=1"' in html
    assert 'href="/pictures/abc.dcm"' in html
    assert "board-actions" not in picture_figure(picture(), "en", actions=())


def test_a_picture_that_must_not_tell_tells_nothing() -> None:
    html = picture_figure(picture(YES, label="left"), "en", actions=(), tells=False, src="/q/1.png")
    assert "nodule" not in html
    assert "left" not in html
    assert "seed" not in html
    assert "/pictures/" not in html
    assert LABEL in html


def test_a_badge_has_a_sign_a_word_and_the_checkers_own_error_rate() -> None:
    html = badges((YES, NO), "en")
    assert "✓</span> nodule, left: yes" in html
    assert "✗</span> nodule, 22 mm: no (46 mm)" in html
    assert "Looked at by phantom reader, which is wrong in 3 % of such images" in html
    assert html.count("<summary") == 2, "each opens by keyboard and by touch"


@pytest.mark.parametrize(("check", "words"), [
    (UNKNOWN, ("cannot be checked", "No network here has learnt")),
    (WRONG, ("cannot be checked", "wrong too often", "30 %")),
    (UNRATED, ("unsure", "never measured")),
])  # fmt: skip
def test_what_cannot_be_told_is_grey_and_says_why(check: Check, words: tuple[str, ...]) -> None:
    html = badges((check,), "en")
    assert "board-unsure" in html
    assert ">yes" not in html
    assert all(word in html for word in words)


def test_badges_are_in_chinese_too() -> None:
    html = badges((YES, NO), "zh")
    assert "肺结节，左侧: 符合" in html
    assert "46 毫米" in html


def test_an_error_rate_claims_no_more_than_was_measured() -> None:
    assert [percent(r) for r in (0.0, 0.004, 0.021, 0.25)] == ["< 1 %", "< 1 %", "2 %", "25 %"]


def test_pictures_that_nobody_looked_at_have_no_badges() -> None:
    assert "board-checks" not in board([picture()], "en")
