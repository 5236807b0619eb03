"""The tab 'About'."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from vesalius.data.record import Finding
from vesalius.demo.tabs.about import citation, support_table
from vesalius.models.support import Shown, Support


def test_numbers_of_training_images_are_told_and_few_are_marked() -> None:
    support = Support(
        shown=(
            Shown(modality="CT", organ="chest", findings=(Finding(kind="nodule", side="left"),), num_phantom=1200),
            Shown(modality="CT", organ="chest", findings=(Finding(kind="nodule", side="right"),), num_phantom=34),
            Shown(modality="fundus", organ="retina", findings=(Finding(kind="glaucoma"),), num_real=7),
        ),
        terms={}, words={},
    )  # fmt: skip
    english = support_table(support, "en")
    assert "<td>nodule</td><td>0</td><td>1,234</td>" in english
    assert "<td>glaucoma (few)</td><td>7</td><td>0</td>" in english
    assert 'tabindex="0"' in english, "a table that scrolls can be scrolled by keyboard"
    assert "青光眼" in support_table(support, "zh")
    assert "does not say" in support_table(None, "en")


def test_the_page_says_what_it_is_for_and_not_and_how_to_cite(served: Any) -> None:
    with urllib.request.urlopen(f"{served.url}config", timeout=30) as answer:
        config = json.loads(answer.read())
    told = json.dumps(config, ensure_ascii=False)
    assert "How to cite" in told
    assert served.desk.model.base_digest[:12] in told
    assert citation().startswith("@software{vesalius,")
    assert "What it is not for" in json.dumps(config["i18n_translations"])
