from __future__ import annotations

import dataclasses
import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records, write_dataset
from vesalius.eval.usefulness.config import UsefulnessConfig
from vesalius.eval.usefulness.data import Picture, Pool, Role, read_pool
from vesalius.eval.usefulness.plan import (
    choose_real,
    fitting_ratios,
    order_synthetic,
    plan_trainings,
    repeat_like,
)
from vesalius.eval.usefulness.seen import Seen
from vesalius.inference.sample import Sample, sample_lines

ASSUMED = Seen(kind="assumed", num=None, lines=())
CONFIG = UsefulnessConfig(samples=Path("s"), real=Path("r"), out=Path("o"), seeds=2)


def pool_of(counts: dict[tuple[Role, int], int], per_patient: int = 2) -> Pool:
    """So many pictures of each role and class; of a patient two real ones, of one class."""
    pictures, labels = [], []
    for (role, label), num in counts.items():
        for index in range(num):
            name = f"{role}-{label}-{index}"
            patient = "" if role == "synthetic" else f"{role}-{label}-{index // per_patient}"
            pictures.append(
                Picture(
                    path=Path(name), name=name, text="", role=role, modality="CT", label=str(label), patient=patient
                )
            )
            labels.append(label)
    return Pool(
        pictures=tuple(pictures), classes=tuple(sorted({str(v) for v in labels})), labels=np.array(labels),
        images=torch.zeros(len(labels), 3, 1, 1, dtype=torch.uint8), masks=None, tokens=None,
        digests=tuple(p.name for p in pictures), seen=ASSUMED, notes=(),
    )  # fmt: skip


POOL = pool_of(
    {("real", 0): 60, ("real", 1): 20, ("synthetic", 0): 30, ("synthetic", 1): 90, ("test", 0): 6, ("test", 1): 6}
)


def test_shares_of_the_real_patients_keep_patients_whole_lie_in_one_another_and_have_all_classes() -> None:
    for seed in range(3):
        few, some = (choose_real(POOL, share, seed).tolist() for share in (0.1, 0.5))
        assert set(few) < set(some) < set(choose_real(POOL, 1.0, seed).tolist())
        names = POOL.names(POOL.of("real"))
        for chosen in (few, some):
            assert sorted(POOL.names(chosen)) == sorted(n for n in names if n in set(POOL.names(chosen)))
        assert len(some) == 40
        assert {POOL.labels[i] for i in few} == {0, 1}
    assert choose_real(POOL, 0.1, 0).tolist() != choose_real(POOL, 0.1, 1).tolist()


def test_every_beginning_of_the_synthetic_images_has_their_shares_of_classes() -> None:
    order = order_synthetic(POOL, 0)
    assert sorted(order.tolist()) == POOL.of("synthetic").tolist()
    for num in (8, 40, 100):
        assert (POOL.labels[order[:num]] == 1).mean() == pytest.approx(0.75, abs=0.08)
    assert order.tolist() != order_synthetic(POOL, 1).tolist()


def test_repeated_real_images_have_the_classes_of_the_added_ones_each_as_often_as_any_other() -> None:
    real, added = choose_real(POOL, 1.0, 0), order_synthetic(POOL, 0)
    repeated = repeat_like(POOL, real, added, 0)
    assert set(repeated.tolist()) <= set(real.tolist())
    for label in (0, 1):
        assert (POOL.labels[repeated] == label).sum() == (POOL.labels[added] == label).sum()
        _, times = np.unique(repeated[POOL.labels[repeated] == label], return_counts=True)
        assert np.ptp(times) <= 1


def test_ratios_without_samples_enough_give_way_to_the_one_that_takes_all() -> None:
    assert fitting_ratios((0.25, 1, 10), 1000, 100) == [0.25, 1, 10]
    assert fitting_ratios((0.25, 1, 10), 500, 100) == [0.25, 1, 5]
    assert fitting_ratios((0.25, 1, 10), 104, 100) == [0.25, 1]
    assert fitting_ratios((1.0,), 7, 100) == [0.07]


def test_arms_of_one_seed_share_their_real_images_and_nest_their_synthetic_ones() -> None:
    trainings, notes = plan_trainings(CONFIG, POOL, {"name": "x"}, stages=True)
    again, _ = plan_trainings(CONFIG, POOL, {"name": "x"}, stages=True)
    assert [t.key for t in trainings] == [t.key for t in again]
    assert len({t.key for t in trainings}) == len(trainings)
    for share in {t.arm.share for t in trainings}:
        mixed = [t for t in trainings if (t.arm.share, t.arm.kind, t.seed) == (share, "both", 1)]
        for smaller, larger in pairwise(mixed):
            assert set(smaller.train.tolist()) < set(larger.train.tolist())
        for t in (t for t in trainings if t.arm.kind == "repeated" and t.arm.share == share):
            twin = next(o for o in trainings if dataclasses.replace(t.arm, kind="both") == o.arm and o.seed == t.seed)
            assert len(twin.train) == len(t.train)
            assert set(t.train.tolist()) == {i for i in twin.train.tolist() if POOL.pictures[i].role == "real"}
    assert any("needs more samples" in note for note in notes)


def test_a_key_is_of_all_that_decides_a_result() -> None:
    def first(config: UsefulnessConfig, pool: Pool, name: str = "x") -> str:
        return plan_trainings(config, pool, {"name": name}, stages=True)[0][0].key

    other = dataclasses.replace(POOL, digests=tuple(f"{d}?" if d == "real-0-3" else d for d in POOL.digests))
    same = first(dataclasses.replace(CONFIG, ratios=(1.0,), out=Path("elsewhere"), seeds=9), POOL)
    assert same == first(CONFIG, POOL)
    changed = [
        first(CONFIG, POOL, "y"), first(CONFIG, other), first(dataclasses.replace(CONFIG, updates=7), POOL),
        first(dataclasses.replace(CONFIG, size=32), POOL),
    ]  # fmt: skip
    assert len({same, *changed}) == 5


def test_a_share_that_holds_the_patients_of_a_larger_one_is_left_out() -> None:
    config = dataclasses.replace(CONFIG, shares=(0.1, 0.01, 0.005))
    trainings, notes = plan_trainings(config, POOL, {}, stages=False)
    assert {t.arm.share for t in trainings} == {1.0, 0.1, 0.01}
    assert any(note.startswith("0.5 % of the patients") for note in notes)
    assert "then" not in {t.arm.kind for t in trainings}


@pytest.fixture
def samples(phantoms: Path, tmp_path: Path) -> Path:
    """A samples folder drawn under the captions of training phantoms, as `vesalius generate` writes it."""
    folder = tmp_path / "samples"
    (folder / "images").mkdir(parents=True)
    drawn = []
    for record in load_records(phantoms, "train"):
        name = f"images/{Path(record.file_name).name}"
        (folder / name).write_bytes((phantoms / record.file_name).read_bytes())
        drawn.append(
            Sample(
                file_name=name, text=" ".join((record.caption or "").split()), modality=record.modality, seed=0,
                steps=1, guidance=1.0, findings=record.findings, base="nano",
            )
        )  # fmt: skip
    (folder / "metadata.jsonl").write_bytes(sample_lines(drawn))
    return folder


def test_samples_have_the_class_of_the_record_whose_caption_they_were_drawn_from(
    samples: Path, phantoms: Path, tmp_path: Path
) -> None:
    config = UsefulnessConfig(samples=samples, real=phantoms, out=tmp_path / "out", size=16, json=True)
    for label in ("label", "finding:consolidation", "modality"):
        pool = read_pool(dataclasses.replace(config, label=label))
        assert len(pool.of("synthetic")) > 10
        by_name = {Path(p.name).name: p.label for p in pool.pictures if p.role == "real"}
        told = [(p.label, by_name[Path(p.name).name]) for p in pool.pictures if p.role == "synthetic"]
        assert all(mine == theirs for mine, theirs in told)


def test_samples_whose_row_has_the_column_need_no_known_prompt(samples: Path, phantoms: Path, tmp_path: Path) -> None:
    path = samples / "metadata.jsonl"
    rows = [json.loads(line) | {"text": "A picture.", "label": "normal"} for line in path.read_text().splitlines()]
    config = UsefulnessConfig(samples=samples, real=phantoms, out=tmp_path / "out", size=16, json=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert {p.label for p in read_pool(config).pictures if p.role == "synthetic"} == {"normal"}
    path.write_text("".join(json.dumps(row | {"label": "unheard of"}) + "\n" for row in rows))
    with pytest.raises(ValueError, match="no sample is of"):
        read_pool(config)
    path.write_text("".join(json.dumps(row | {"label": ""}) + "\n" for row in rows))
    with pytest.raises(ValueError, match="no sample has the column 'label'"):
        read_pool(config)


def test_what_the_model_saw_is_counted_or_said_to_be_unknown(samples: Path, phantoms: Path, tmp_path: Path) -> None:
    config = UsefulnessConfig(samples=samples, real=phantoms, out=tmp_path / "out", size=16, json=True)
    pool = read_pool(config)
    everything = [p.sha256 for p in pool.pictures if p.role == "real"]
    assert pool.seen.kind == "assumed"
    assert pool.seen.num is not None
    assert "support.json" in " ".join(pool.seen.lines)
    assert pool.seen.behind(everything[:2], everything) >= len(everything)
    counted = read_pool(dataclasses.replace(config, train=phantoms)).seen
    assert counted.kind == "counted"
    assert counted.behind(everything[:2], everything) == counted.num == len(load_records(phantoms, "train"))
    assert f"Of the {len(everything)} real training images here it saw {len(everything)}" in counted.told(everything)
    others = write_phantoms(PhantomConfig(num=24, seed=900, size=32, out=tmp_path / "others", json=True))
    drawn = read_pool(dataclasses.replace(config, samples=others)).seen
    assert (drawn.kind, drawn.behind(everything[:2], everything)) == ("none", 2)


def test_a_dataset_is_no_sample_of_itself(phantoms: Path, tmp_path: Path) -> None:
    config = UsefulnessConfig(samples=phantoms, real=phantoms, out=tmp_path / "out", size=16, json=True)
    num = len(load_records(phantoms, "train"))
    told = rf"all {num} images that would be its samples are training images of .*; give a samples folder of `vesalius"
    with pytest.raises(ValueError, match=told):
        read_pool(dataclasses.replace(config, label="modality"))


def test_samples_without_masks_and_datasets_without_synthetic_records_are_refused(
    samples: Path, phantoms: Path, tmp_path: Path
) -> None:
    config = UsefulnessConfig(samples=samples, real=phantoms, out=tmp_path / "out", size=16, json=True)
    outlined = dataclasses.replace(config, task="segmentation", modality=("CT",))
    with pytest.raises(ValueError, match=r"samples: samples have no masks; give a dataset whose synthetic records do"):
        read_pool(outlined)
    photographed = shutil.copytree(phantoms, tmp_path / "real")
    write_dataset(photographed, [dataclasses.replace(r, origin="real") for r in load_records(phantoms)])
    with pytest.raises(ValueError, match="real: its training split holds no synthetic record; give a samples folder"):
        read_pool(dataclasses.replace(config, samples=photographed))
