from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import Finding, Record, load_records, write_dataset
from vesalius.improve.config import ImproveConfig
from vesalius.improve.deciding import use
from vesalius.improve.deciding.reference import write_parts
from vesalius.improve.deciding.use import label_of, labelled, usefulness_facts
from vesalius.improve.material import Material, read_material


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("use") / "data"
    return write_phantoms(PhantomConfig(num=150, seed=4, size=32, out=out, val=0.4, test=0.3, json=True))


@pytest.fixture(scope="module")
def material(data: Path) -> Material:
    return read_material((data,))


@pytest.mark.parametrize("links", [True, False])
def test_parts_are_a_dataset_with_the_same_pictures(material: Material, tmp_path: Path, links: bool) -> None:
    folder = write_parts(tmp_path / "parts", {"train": material.train, "test": material.decide}, links=links)
    records = load_records(folder, "test")
    assert len(records) == len(material.decide)
    for record, (source, origin) in zip(records, material.decide, strict=True):
        assert (folder / record.file_name).read_bytes() == (source / origin.file_name).read_bytes()
        assert (folder / record.file_name).is_symlink() is links
    before = (folder / "manifest.json").stat().st_mtime_ns
    write_parts(folder, {}, links=links)
    assert (folder / "manifest.json").stat().st_mtime_ns == before


def record(label: str | None = None, *kinds: str) -> tuple[Path, Record]:
    findings = tuple(Finding(kind=k) for k in kinds)
    return Path(), Record(file_name="x.png", text="x", modality="CT", label=label, findings=findings)


@pytest.mark.parametrize(
    ("members", "samples", "told"),
    [
        ([record("a")] * 2 + [record("b")] * 2, [record("a")], "label"),
        ([record("a")] * 2 + [record("b")] * 2, [record()], None),
        ([record("a")] * 2 + [record("b")], [record("a")], None),
        ([record(None, "nodule", "mass")] * 3 + [record(None, "mass")] * 4, [record()], "finding:nodule"),
        ([record(None, "nodule")] * 4, [record()], None),
        ([record("a")] * 2 + [record("b")] * 2, [], None),
    ],
)
def test_what_a_classifier_tells_is_known_of_records_and_samples(
    members: list[tuple[Path, Record]], samples: list[tuple[Path, Record]], told: str | None
) -> None:
    assert label_of(members, [r for _, r in samples]) == told


def test_samples_have_the_label_of_the_caption_that_was_their_prompt() -> None:
    (folder, one), (_, other) = record("a"), record("b")
    assert labelled([record()[1]], [(folder, one)])[0].label == "a"
    assert labelled([record()[1]], [(folder, one), (folder, other)])[0].label is None


def test_accepted_samples_are_measured_on_the_deciding_half_alone(
    data: Path, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(use, "UPDATES", 2)  # what is learnt is no matter here
    monkeypatch.setattr(use, "SEEDS", 2)
    config = ImproveConfig(data=(data,), out=tmp_path / "loop", usefulness=True, json=True)
    accepted = tmp_path / "loop" / "round-01" / "accepted"
    (accepted / "train" / "images").mkdir(parents=True)
    records = []
    for number, (source, origin) in enumerate(material.train[:20]):
        name = f"train/images/{number}.png"
        with Image.open(source / origin.file_name) as image:
            image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(accepted / name)
        records.append(
            Record(
                file_name=name, text=origin.text, modality=origin.modality, findings=origin.findings, split="train",
                origin="synthetic", depth=1,
            )
        )  # fmt: skip
    write_dataset(accepted, records)
    facts, notes = usefulness_facts(config, accepted.parent, material)
    assert notes == []
    (fact,) = facts
    assert fact.group == "usefulness"
    assert fact.low <= fact.value <= fact.high
    assert -1 < fact.value < 1
    assert len(load_records(config.out / "reference-usefulness", "test")) == len(material.decide)


def test_what_cannot_be_measured_is_a_note(data: Path, material: Material, tmp_path: Path) -> None:
    config = ImproveConfig(data=(data,), out=tmp_path / "loop", usefulness=True, json=True)
    (tmp_path / "loop" / "round-01" / "accepted").mkdir(parents=True)
    facts, notes = usefulness_facts(config, tmp_path / "loop" / "round-01", material)
    assert facts == []
    assert "not measured" in notes[0]
