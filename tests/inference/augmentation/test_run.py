"""Augmented datasets: what is drawn under which captions, and that nothing else of the dataset moves."""

from __future__ import annotations

import dataclasses
import json
import pickle
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from vesalius.cli.main import DONE, USAGE, main
from vesalius.data.check.run import CheckConfig, check_dataset
from vesalius.data.datasets.fields import value_of
from vesalius.data.datasets.shards import ExportConfig, export_shards
from vesalius.data.record import Record, load_records, write_dataset
from vesalius.data.texts.prompt import prompts_of
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.trainset import choose_trainset
from vesalius.inference import AugmentConfig, augment
from vesalius.inference.augmentation.run import Requests, augment_dataset, filling_shares, plan_augmentation
from vesalius.inference.sample import load_samples


@pytest.fixture(scope="module")
def augmented(phantoms: Path, tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("augmented") / "more"
    augment(phantoms, ratio=0.5, by="label", out=out, base=str(tiny_base), steps=1, json=True)
    return out


def config(folder: Path, out: Path, **changes: object) -> AugmentConfig:
    return dataclasses.replace(AugmentConfig(folder=folder, out=out, steps=1, json=True), **changes)  # type: ignore[arg-type]


def read_picture(path: Path) -> tuple[tuple[int, int], str]:
    """Size and mode of an image."""
    with Image.open(path) as image:
        return image.size, image.mode


def edited(phantoms: Path, folder: Path, **columns: object) -> Path:
    """The phantoms with columns of every record changed."""
    shutil.copytree(phantoms, folder)
    records = [dataclasses.replace(r, **columns) for r in load_records(folder)]  # type: ignore[arg-type]
    write_dataset(folder, records)
    return folder


def test_synthetic_records_are_of_training_captions_alone(phantoms: Path, augmented: Path) -> None:
    real = load_records(phantoms, "train")
    drawn = [r for r in load_records(augmented) if r.origin == "synthetic"]
    assert len(drawn) == round(0.5 * len(real))
    by_name = {r.file_name: r for r in real}
    for record in drawn:
        source = by_name[record.extra["prompted_by"]]
        assert record.text == prompts_of(source)[0]
        assert (record.label, record.modality, record.findings) == (source.label, source.modality, source.findings)
        assert (record.split, record.depth, record.patient_id) == ("train", 1, None)
        picture = read_picture(augmented / record.file_name)
        assert picture == ((32, 32), "I;16" if record.hounsfield else "RGB" if record.modality == "pathology" else "L")
    others = {prompts_of(r)[0] for s in ("val", "test") for r in load_records(phantoms, s)}
    assert not {r.text for r in drawn} & (others - {prompts_of(r)[0] for r in real})


def test_what_was_there_is_there_as_it_was(phantoms: Path, augmented: Path) -> None:
    before, after = ({r.file_name: r for r in load_records(f)} for f in (phantoms, augmented))
    for name, record in before.items():
        assert after[name] == record
        assert (augmented / name).read_bytes() == (phantoms / name).read_bytes()
    for split in ("val", "test"):
        assert [r.file_name for r in load_records(augmented, split)] == [
            r.file_name for r in load_records(phantoms, split)
        ]


def test_an_augmented_dataset_is_whole_and_says_how_it_was_made(augmented: Path) -> None:
    summary = check_dataset(CheckConfig(folder=augmented, json=True))
    assert summary.ok, summary.problems
    assert summary.origins["synthetic"] > 0
    made = json.loads((augmented / "manifest.json").read_text())["derived"]
    assert (made["verb"], made["ratio"], made["balance"]) == ("augment", 0.5, "label")
    assert "synthetic training records" in (augmented / "README.md").read_text()


def test_an_augmented_dataset_opens_as_an_imagefolder_and_trains(
    phantoms: Path, augmented: Path, tmp_path: Path
) -> None:
    import datasets

    opened = datasets.load_dataset("imagefolder", data_dir=str(augmented), cache_dir=str(tmp_path))
    num = len(load_records(augmented, "train"))
    assert len(opened["train"]) == num
    assert Counter(opened["train"]["origin"])["synthetic"] == num - len(load_records(phantoms, "train"))
    trainset = choose_trainset(FinetuneConfig(data=(augmented,), out=tmp_path / "run"))
    assert (len(trainset.train), trainset.depth) == (num, 1)


def test_the_rarer_a_value_the_more_of_it_is_drawn(phantoms: Path, augmented: Path) -> None:
    before, after = (Counter(r.label for r in load_records(f, "train")) for f in (phantoms, augmented))
    spread = [max(c.values()) - min(c.values()) for c in (before, after)]
    assert spread[1] < spread[0]
    added = {label: after[label] - before[label] for label in before}
    assert added[max(before, key=before.__getitem__)] <= min(added[k] for k, n in before.items() if n == 1)


@pytest.mark.parametrize(
    ("there", "num", "drawn"),
    [
        ({"a": 8, "b": 2}, 6, {"a": 0, "b": 6}),
        ({"a": 8, "b": 2}, 8, {"a": 1, "b": 7}),
        ({"a": 8, "b": 2, "c": 5}, 5, {"a": 0, "b": 4, "c": 1}),
        ({"a": 1}, 3, {"a": 3}),
    ],
)
def test_the_lowest_are_filled_first(there: dict[str, int], num: int, drawn: dict[str, int]) -> None:
    assert filling_shares(there, num) == drawn


def test_any_column_may_be_balanced_and_records_without_it_are_taken_over(
    phantoms: Path, tiny_base: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    shutil.copytree(phantoms, few)
    records = load_records(few)
    train = [r for r in records if r.split == "train"]
    sexes = {r.file_name: {"sex": "m" if i < 6 else "f"} for i, r in enumerate(train[:8])}
    write_dataset(few, [dataclasses.replace(r, extra={**r.extra, **sexes.get(r.file_name, {})}) for r in records])
    run = config(few, tmp_path / "out", base=str(tiny_base), balance="sex", ratio=4 / len(train))
    summary = augment_dataset(run)
    assert (summary.there, summary.drawn, summary.num_without) == ({"m": 6, "f": 2}, {"f": 4, "m": 0}, len(train) - 8)
    drawn = [r for r in load_records(tmp_path / "out") if r.origin == "synthetic"]
    assert [r.extra["sex"] for r in drawn] == ["f"] * 4
    assert len({r.sha256 for r in drawn}) == 4


def test_a_finding_is_balanced_by_whether_it_is_there(phantoms: Path, tiny_base: Path, tmp_path: Path) -> None:
    train = load_records(phantoms, "train")
    kind = Counter(f.kind for r in train for f in r.findings if f.present).most_common(1)[0][0]
    run = config(phantoms, tmp_path / "out", base=str(tiny_base), balance=f"finding:{kind}", ratio=4 / len(train))
    summary = augment_dataset(run)
    there = Counter(value_of(r, f"finding:{kind}") for r in train)
    assert summary.there == {value: num for value, num in there.items() if value}
    assert set(summary.there) == {kind, f"no {kind}"}
    assert summary.num_without == there[""]
    drawn = [r for r in load_records(tmp_path / "out") if r.origin == "synthetic"]
    assert Counter(value_of(r, f"finding:{kind}") for r in drawn) == Counter(summary.drawn)


def test_what_an_adapter_draws_is_one_generation_deeper_than_what_it_has_seen(
    phantoms: Path, tiny_base: Path, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model

    from vesalius.models.adapters.adapter import AdapterCard, write_adapter
    from vesalius.models.base import open_base

    base = open_base(str(tiny_base))
    wrapped = get_peft_model(base.pipeline.unet, LoraConfig(r=2, target_modules=["to_q"]))
    card = AdapterCard(base=base.name, base_digest=base.digest, data_digest="", depth=1, steps=1)
    write_adapter(tmp_path / "adapter", wrapped, card)
    run = config(phantoms, tmp_path / "out", base=str(tiny_base), adapter=(str(tmp_path / "adapter"),), ratio=0.05)
    summary = augment_dataset(run)
    drawn = [r for r in load_records(run.out) if r.origin == "synthetic"]
    assert [r.depth for r in drawn] == [2] * sum(summary.drawn.values())


def test_shards_are_refused_with_a_remedy(phantoms: Path, tmp_path: Path) -> None:
    export_shards(ExportConfig(folder=phantoms, out=tmp_path / "shards", json=True))
    with pytest.raises(ValueError, match="give the dataset folder that they were exported from"):
        augment_dataset(config(tmp_path / "shards", tmp_path / "out"))


def test_a_dry_run_counts_and_writes_nothing(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    line = ["augment", str(phantoms), "--ratio", "2", "--balance", "modality", "--out", str(out), "--dry-run"]
    assert main(line) == DONE
    told = capsys.readouterr().out
    there = Counter(r.modality for r in load_records(phantoms, "train"))
    plan = plan_augmentation(config(phantoms, out, ratio=2.0, balance="modality"))
    assert plan.drawn.keys() == there.keys()
    assert f"would add {2 * there.total()} synthetic" in told
    for modality, count in there.items():
        assert f"modality {modality}: {count} + {plan.drawn[modality]}" in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ratio": 0.0}, "--ratio 0: expected a number above 0, up to 20"),
        ({"ratio": 20.5}, "--ratio 20.5: expected"),
        ({"ratio": float("nan")}, "--ratio nan: expected"),
        ({"ratio": 0.001}, "makes no picture; raise it"),
        ({"balance": "colour"}, "no training record has the field 'colour'; balance by one of label, modality"),
        ({"steps": 0}, "--steps 0"),
    ],
)
def test_what_cannot_be_asked_is_told(changes: dict[str, object], told: str, phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=told):
        augment_dataset(config(phantoms, tmp_path / "out", **changes))
    assert not list(tmp_path.iterdir())


def test_a_dataset_without_training_records_or_with_an_empty_field_is_refused(phantoms: Path, tmp_path: Path) -> None:
    empty = edited(phantoms, tmp_path / "empty", label=None)
    with pytest.raises(ValueError, match="no training record has the field 'label'"):
        augment_dataset(config(empty, tmp_path / "out"))
    tested = tmp_path / "tested"
    shutil.copytree(phantoms / "test", tested / "test")
    with pytest.raises(ValueError, match=r"no training records to draw more of \(has: test\)"):
        augment_dataset(config(tested, tmp_path / "out"))
    drawn = edited(phantoms, tmp_path / "drawn", origin="synthetic")
    with pytest.raises(ValueError, match="no training records to draw more of"):
        augment_dataset(config(drawn, tmp_path / "out"))


def test_a_folder_that_is_taken_is_refused_before_anything_is_drawn(phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for out, told in ((tmp_path / "full", "not empty"), (phantoms / "inside", "lies inside")):
        with pytest.raises(ValueError, match=told):
            augment_dataset(config(phantoms, out))
    assert [p.name for p in tmp_path.iterdir()] == ["full"]


def test_the_same_line_does_nothing_where_all_is_done_and_another_is_refused(
    phantoms: Path, tiny_base: Path, tmp_path: Path
) -> None:
    run = config(phantoms, tmp_path / "out", base=str(tiny_base), ratio=0.1)
    summary = augment_dataset(run)
    stamp = (tmp_path / "out" / "manifest.json").stat().st_mtime_ns
    shutil.rmtree(summary.samples)  # the drawings may go once the dataset is whole
    assert augment_dataset(run) == summary
    assert (tmp_path / "out" / "manifest.json").stat().st_mtime_ns == stamp
    assert not summary.samples.exists()
    with pytest.raises(ValueError, match="other records or settings"):
        augment_dataset(dataclasses.replace(run, ratio=0.2))


def test_a_run_that_was_stopped_ends_with_the_same_bytes(phantoms: Path, tiny_base: Path, tmp_path: Path) -> None:
    run = config(phantoms, tmp_path / "out", base=str(tiny_base), ratio=0.2)
    summary = augment_dataset(run)

    def contents() -> dict[str, bytes]:
        return {str(p.relative_to(run.out)): p.read_bytes() for p in run.out.rglob("*") if p.is_file()}

    whole = contents()
    (run.out / "manifest.json").unlink()  # stopped while files were linked
    (run.out / "train" / "metadata.jsonl").unlink()
    assert augment_dataset(run) == summary
    assert contents() == whole
    shutil.rmtree(run.out)  # stopped while pictures were drawn
    rows = summary.samples / "metadata.jsonl"
    first, *rest = rows.read_text().splitlines(keepends=True)
    rows.write_text(first + rest[0][:50])
    kept = summary.samples / json.loads(first)["file_name"]
    stamp = kept.stat().st_mtime_ns
    assert augment_dataset(run) == summary
    assert contents() == whole
    assert kept.stat().st_mtime_ns == stamp


def test_a_caption_that_lacks_is_told_on_one_line(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mute = edited(phantoms, tmp_path / "mute", text="", caption=None)
    assert main(["augment", str(mute), "--out", str(tmp_path / "out"), "--dry-run"]) == USAGE
    assert "has a text to draw from" in capsys.readouterr().err


def test_of_a_record_in_greyscale_the_prompt_says_so(phantoms: Path, tmp_path: Path) -> None:
    grey = edited(phantoms, tmp_path / "grey", origin="real", hounsfield=False)
    plan = plan_augmentation(config(grey, tmp_path / "out"))
    assert {r.prompt.startswith("Greyscale") for r in plan.requests if r.modality == "CT"} == {True}
    assert all(isinstance(r, Record) for r in plan.sources)


def test_other_processes_plan_the_same_requests_anew(phantoms: Path, tmp_path: Path) -> None:
    asked = config(phantoms, tmp_path / "out")
    plan = plan_augmentation(asked)
    sent = pickle.dumps(Requests(asked, plan))
    assert len(sent) < 2000
    assert pickle.loads(sent)() == plan.requests


def test_it_is_drawn_with_the_scheduler_and_within_the_memory_that_are_asked_for(
    phantoms: Path, tiny_base: Path, tmp_path: Path
) -> None:
    asked: dict[str, object] = {"base": str(tiny_base), "ratio": 0.1, "scheduler": "euler"}
    run = config(phantoms, tmp_path / "more", memory="3GB", precision="fp32", attention="sdpa", **asked)
    summary = augment_dataset(run)
    assert summary.memory is not None
    assert summary.memory.budget == 3 * 10**9
    assert {s.scheduler for s in load_samples(summary.samples)} == {"euler"}
    for changes, message in (
        ({"scheduler": "eular"}, "did you mean 'euler'"),
        ({"memory": "3"}, "did you mean 3GB"),
        ({"memory": "1MB"}, "too little"),
        ({"attention": "xformers", "memory": "3GB"}, "xformers"),
    ):
        bad = config(phantoms, tmp_path / "none", dry_run=True, **{**asked, **changes})
        with pytest.raises(ValueError, match=message):
            augment_dataset(bad)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["more", "more-samples"]
