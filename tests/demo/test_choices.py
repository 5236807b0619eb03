"""What the page offers and what it greys out, by what the base was trained on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from vesalius.data.modality import modality_in
from vesalius.data.record import Finding
from vesalius.demo.app import EXAMPLES, build_app
from vesalius.demo.choices import examples, finding_choices, greyed_out, modality_choices, side_choices, wording
from vesalius.demo.config import DemoConfig
from vesalius.inference import Generator
from vesalius.models.support import Shown, Support, support_of


def shown(modality: str, organ: str, kind: str, side: Any = None, num: int = 50, example: str = "") -> Shown:
    return Shown(
        modality=modality, organ=organ, findings=(Finding(kind=kind, side=side),), num_real=num,
        example=example or f"{modality} with {kind} {side or ''}".strip(),
    )  # fmt: skip


SUPPORT = Support(
    shown=(
        shown("CT", "chest", "nodule", "left", example="Chest CT, nodule on the left."),
        shown("CT", "chest", "nodule", "right", 12),
        shown("CT", "chest", "pneumothorax", "left", 90),
        shown("X-ray", "chest", "pneumonia", None, 200, "Chest X-ray: pneumonia."),
        shown("pathology", "breast", "necrosis", None, 1),
    ),
    terms={"nodule": ("nodule",), "pneumothorax": ("pneumothorax",)},
    words={"CT": {"chest": 99, "nodule": 99, "left": 99}, "X-ray": {"chest": 200, "pneumonia": 200}},
)


def test_only_what_the_base_has_seen_is_offered_with_its_number_of_images() -> None:
    assert modality_choices(SUPPORT) == [
        ("X-ray (200 training images)", "X-ray"),
        ("CT (152 training images)", "CT"),
        ("pathology (1 training image, few)", "pathology"),
    ]
    assert [value for _, value in finding_choices(SUPPORT, "CT")] == ["pneumothorax", "nodule"]
    assert side_choices(SUPPORT, "CT", "nodule") == [
        ("any", ""),
        ("left (50 training images)", "left"),
        ("right (12 training images, few)", "right"),
    ]
    assert side_choices(SUPPORT, "X-ray", "pneumonia") == [("any", "")]


def test_the_rest_is_greyed_out_with_its_reason() -> None:
    html = greyed_out(SUPPORT, "X-ray", "pneumonia")
    assert 'title="no training image of fundus">fundus<' in html
    assert 'title="no training image of X-ray shows it">pneumothorax<' in html, "CT of the chest shows it"
    assert "necrosis" not in html, "no X-ray is of the breast"
    assert "pneumonia, left" not in html, "there is no side to choose from"
    assert 'names this side">nodule, bilateral<' in greyed_out(SUPPORT, "CT", "nodule")
    assert html.count('aria-disabled="true"') == html.count("<span")
    assert ">CT<" not in html


def test_a_choice_becomes_a_prompt_in_the_words_of_the_training() -> None:
    assert wording(SUPPORT, "CT", "nodule", "left") == "Chest CT, nodule on the left."
    assert wording(SUPPORT, "X-ray", "pneumonia", "") == "Chest X-ray: pneumonia."


def test_examples_are_those_that_the_base_can_draw() -> None:
    assert examples(None, EXAMPLES) == list(EXAMPLES)
    chosen = examples(SUPPORT, EXAMPLES)
    assert len(chosen) == 3
    assert chosen[0] == "Chest X-ray: pneumonia."
    assert {getattr(modality_in(e), "name", None) for e in chosen} == {"CT", "X-ray"}


@pytest.fixture(scope="module")
def page(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> gr.Blocks:
    """The page of a base that says what it has seen."""
    base = tmp_path_factory.mktemp("base") / "told"
    shutil.copytree(tiny_base, base)
    SUPPORT.save(base)
    return build_app(DemoConfig(base=str(base), device="cpu"), Generator(str(base), device="cpu"))


def component(app: gr.Blocks, label: str) -> Any:
    (found,) = (b for b in app.blocks.values() if getattr(b, "label", None) == label and isinstance(b, gr.Dropdown))
    return found


def test_the_page_offers_the_choices_of_its_base(page: gr.Blocks) -> None:
    assert component(page, "Finding").choices == [("pneumonia (200 training images)", "pneumonia")]
    side = component(page, "Side")
    assert (side.choices, side.interactive) == ([("any", "")], False)
    assert side.info == "No training image names a side."


def test_choosing_another_modality_changes_findings_sides_and_prompt(page: gr.Blocks) -> None:
    pick: Any = next(f.fn for f in page.fns.values() if getattr(f.fn, "__name__", "") == "pick")
    finding, side, off, prompt = pick("CT", "pneumonia")
    assert (finding["value"], side["interactive"]) == ("pneumothorax", True)
    assert "pneumothorax, right" in off
    assert prompt == "CT with pneumothorax left"
    assert pick("CT", "nodule")[3] == "Chest CT, nodule on the left."


def test_a_base_that_does_not_say_offers_everything(tiny_base: Path) -> None:
    app = build_app(DemoConfig(base=str(tiny_base), device="cpu"), Generator(str(tiny_base), device="cpu"))
    assert not [b for b in app.blocks.values() if getattr(b, "label", None) == "Finding"]


def test_an_adapter_of_the_users_own_may_have_taught_more(page: gr.Blocks, tiny_base: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_base, tmp_path / "told")
    SUPPORT.save(tmp_path / "told")
    assert support_of(str(tmp_path / "told")) == SUPPORT
    assert support_of(str(tmp_path / "told"), "nano-fast") == SUPPORT
    assert support_of(str(tmp_path / "told"), tmp_path / "run") is None
