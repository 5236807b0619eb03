"""A store with pictures and a case, for tests of cases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vesalius.data.hounsfield import hu_png
from vesalius.data.image import png_bytes
from vesalius.data.record import Finding
from vesalius.demo.case import Case, CaseImage
from vesalius.demo.store.cases import save_case
from vesalius.demo.store.pictures import StoredPicture, add_picture
from vesalius.demo.store.schema import Store
from vesalius.inference.sample import Sample

ANSWER = ("Zyxoma", "spiculated", "wumpus", "quuxitis", "nodule", "xylograph", "plughgraphy")
"""Words that only the answer of `the_case` says; the prompts of its pictures say one."""
PROMPT = "Chest CT, lung window. Findings: a 12 mm nodule in the left lung."


def add_one(
    store: Store, account: str = "local", *, number: int = 0, job: str = "job", text: str = PROMPT,
    modality: str = "CT", units: bool = False, findings: tuple[Finding, ...] = (),
) -> StoredPicture:  # fmt: skip
    """A picture of noise with a recipe."""
    random = np.random.default_rng(number)
    image = random.integers(0, 256, (32, 48, 1), dtype=np.uint8)
    sample = Sample(
        file_name="images/x.png", text=text, modality=modality, seed=number, steps=4, guidance=3.0, findings=findings,
        height=32, width=48, base="tiny", base_digest="b" * 64,
    )  # fmt: skip
    hu = random.integers(-1000, 1000, (32, 48)).astype(np.float32)
    return add_picture(
        store, account=account, job=job, number=number, sample=sample, png=png_bytes(image, sample.recipe()),
        hu_png=hu_png(hu) if units else None, spacing=0.7 if units else None,
    )  # fmt: skip


def the_case(pictures: list[StoredPicture]) -> Case:
    """A case whose last picture belongs to the answer."""
    *question, last = (p.id for p in pictures)
    return Case(
        title="Zyxoma of the thumb", history="A 40-year-old sailor with a cough.",
        images=(
            *(CaseImage(picture=p, caption="Axial slice") for p in question),
            CaseImage(picture=last, caption="The xylograph shows it", in_answer=True),
        ),
        findings="A spiculated thing.", diagnosis="Zyxoma", differential=("wumpus", "Other"),
        discussion="It is quuxitis that matters.", level="resident", keywords=("plughgraphy",),
        references=("Zyxoma and you, 2020",),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A store with one case."""

    store: Store
    pictures: list[StoredPicture]
    case: Case


def kept_case(folder: Path, account: str = "local") -> Kept:
    """Two CT (one with units), an MRI, and the case of them."""
    store = Store(folder)
    pictures = [
        add_one(store, account, number=0), add_one(store, account, number=1, modality="MRI", text="Brain MRI, nodule."),
        add_one(store, account, number=2, units=True),
    ]  # fmt: skip
    return Kept(store=store, pictures=pictures, case=save_case(store, account, the_case(pictures)))
