from __future__ import annotations

from pathlib import Path

from vesalius.data.record import Finding
from vesalius.eval.gates.scores import Case, JudgeReading
from vesalius.eval.obedience.page import sections
from vesalius.eval.obedience.questions import finding_answers, reader_answers
from vesalius.eval.obedience.seen import places_of, seen_in
from vesalius.eval.obedience.told import told_by_text
from vesalius.models.networks.judge import Judge


def case(text: str, modality: str = "CT", *findings: Finding) -> Case:
    return Case(path=Path("a.png"), text=text, modality=modality, findings=findings)


def test_what_a_text_states_is_asked_where_a_network_knows_it() -> None:
    own = Finding(kind="nodule", side="left")
    cases = [
        case("Chest CT with a 12 mm nodule in the right lung. No pleural effusion. Cardiomegaly."),
        case("Chest CT with several nodules."),
        case("Chest CT with a nodule on the right.", "CT", own),
        case("Chest CT."),
        case("胸部CT，左肺结节，无气胸。"),
    ]
    told = told_by_text(cases, ("CT/nodule", "CT/pleural effusion", "CT/pneumothorax", "MRI/mass"))
    assert told.cases[0].findings == (
        Finding(kind="nodule", side="right", size_mm=12.0), Finding(kind="pleural effusion", present=False)
    )  # fmt: skip
    assert [f.kind for f in told.cases[1].findings] == ["nodule"]
    assert told.cases[2].findings == (own,)
    assert told.cases[3].findings == ()
    assert told.cases[4].findings == (
        Finding(kind="nodule", side="left"), Finding(kind="pneumothorax", present=False)
    )  # fmt: skip
    assert told.by_text == (0, 1, 4)
    assert told.uncounted == {1}


def test_a_kind_of_another_part_of_the_body_is_not_asked_of_networks_that_learnt_it_elsewhere() -> None:
    texts = ["Cardiac MRI, heart failure with infarction.", "Brain MRI with an infarct.", "MRI with an infarct."]
    assert told_by_text([case(text, "MRI") for text in texts], ("MRI/infarct",)).by_text == (1, 2)
    texts = [
        "CT of the abdomen, pleural effusion.",
        "Pleural effusion, the heart is not enlarged.",
        "Chest CT: effusion.",
    ]
    assert told_by_text([case(text) for text in texts], ("CT/pleural effusion",)).by_text == (1, 2)
    assert told_by_text([case("Lung tissue with necrosis.", "pathology")], ("pathology/necrosis",)).by_text == (0,)


def test_of_several_no_count_is_asked() -> None:
    told = told_by_text([case("Chest CT with several nodules.")], ("CT/nodule",))
    measured = [(Finding(kind="nodule", side="left", count=3),)]
    asked = {a.attribute for a in reader_answers(told.cases, measured, told.uncounted)}
    assert asked == {"finding present"}
    assert "count" in {a.attribute for a in reader_answers(told.cases, measured)}


def test_a_class_of_real_images_is_a_kind_that_texts_name() -> None:
    names = ("MRI/mass", "MRI/mass/left", "MRI/brain/glioma", "MRI/brain/pituitary tumor", "CT/lung/normal")
    places = places_of(names)
    assert (places["MRI/mass"], places["MRI/glioma"], places["MRI/pituitary adenoma"]) == (0, 2, 3)
    assert not {"CT/normal", "MRI/left"} & set(places)


def test_captions_of_real_images_are_answered_by_the_heads_on_their_classes() -> None:
    import torch

    judge = Judge.load()
    reading = JudgeReading(judge)
    told = told_by_text([case("Brain MRI with a large meningioma.", "MRI")], places_of(judge.config.attributes))
    assert [f.kind for f in told.cases[0].findings] == ["meningioma"]
    rows = reading(torch.zeros(1, 3, 128, 128, dtype=torch.uint8))
    index = rows.shape[1] - len(judge.config.attributes) + judge.attribute_index["MRI/brain/meningioma"]
    for said in (0.9, 0.1):
        rows[0, index] = said
        (answer,) = finding_answers(seen_in({"judge": reading}, {"judge": rows}, told.cases), told.cases)
        assert (answer.attribute, answer.right) == ("finding present", said > 0.5)


def test_the_page_says_how_many_were_told_by_text() -> None:
    found = {"rows": [], "networks": {}, "gated_by": [], "num_samples": 8, "num_real": 9}
    words = " ".join(sections({**found, "told_by_text": {"samples": 3, "real": 4}})[0].text)
    assert "3 of 8 samples and 4 of 9 real images have no findings on record" in words
    assert "on record" not in " ".join(sections({**found, "told_by_text": {"samples": 0, "real": 0}})[0].text)
    assert "on record" not in " ".join(sections(found)[0].text)
