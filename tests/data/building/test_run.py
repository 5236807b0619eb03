"""The front door: sources in, one whole dataset folder out, or one clear message and no manifest."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.run import BuildSummary, build_dataset
from vesalius.data.check.run import CheckConfig, check_dataset
from vesalius.data.record import load_records


def source(folder: Path, count: int = 20, **columns: Any) -> Path:
    """An image folder of `count` patients with two images each; columns may be functions of the patient's number."""
    folder.mkdir(parents=True)
    rows = []
    for i in range(count * 2):
        pixels = np.random.default_rng([i, *folder.name.encode()]).integers(0, 255, (24, 16)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        row = {"file_name": f"{i}.png", "text": f"Case {i}.", "modality": "CT", "patient_id": f"{folder.name}-{i // 2}"}
        rows.append(row | {k: v(i // 2) if callable(v) else v for k, v in columns.items()})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


def run(*sources: Path, out: Path, **fields: Any) -> BuildSummary:
    return build_dataset(BuildConfig(sources=sources, out=out, json=True, **fields))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def split_of(out: Path) -> dict[str, str]:
    return {str(r.patient_id): r.split for r in load_records(out)}


def test_built_folder_opens_with_datasets_and_passes_its_check(tmp_path: Path) -> None:
    import datasets

    datasets.disable_progress_bars()
    # Columns that are empty, numeric or mixed here and there: none may keep the folder from opening.
    one = source(
        tmp_path / "one", 30, age=lambda i: i if i % 2 else None, label="x", note=lambda i: i if i % 3 else "text"
    )
    two = source(tmp_path / "two", 10, view="PA")
    summary = run(one, two, out=tmp_path / "out")
    assert summary.num_records == 80
    assert not summary.quarantined
    opened = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    names = {"train": "train", "val": "validation", "test": "test"}
    assert {k: v.num_rows for k, v in opened.items()} == {names[k]: v for k, v in summary.splits.items()}
    assert opened["train"][0]["image"].mode == "L"
    assert check_dataset(CheckConfig(folder=tmp_path / "out", json=True)).ok
    record = next(r for r in load_records(tmp_path / "out") if r.text == "Case 3." and r.label == "x")
    assert record.extra["age"] == 1
    assert record.extra["note"] == 1


def test_equal_names_of_two_sources_do_not_collide(tmp_path: Path) -> None:
    run(source(tmp_path / "a", 3), source(tmp_path / "b", 3), out=tmp_path / "out")
    records = load_records(tmp_path / "out")
    assert len({r.file_name for r in records}) == 12
    assert all((tmp_path / "out" / r.file_name).is_file() for r in records)


def test_same_image_with_two_texts_makes_two_files(tmp_path: Path) -> None:
    folder = source(tmp_path / "a", 1)
    rows = (folder / "metadata.jsonl").read_text().replace("1.png", "0.png")
    (folder / "metadata.jsonl").write_text(rows)
    run(folder, out=tmp_path / "out")
    assert len({r.file_name for r in load_records(tmp_path / "out")}) == 2


def test_patients_stay_whole_and_keep_their_split_when_others_come(tmp_path: Path) -> None:
    one, two = source(tmp_path / "one", 40), source(tmp_path / "two", 40)
    run(one, out=tmp_path / "small", val=0.2, test=0.2)
    run(two, one, out=tmp_path / "large", val=0.2, test=0.2)
    small, large = split_of(tmp_path / "small"), split_of(tmp_path / "large")
    assert small == {k: large[k] for k in small}
    assert set(large.values()) == {"train", "val", "test"}
    by_patient: dict[str, set[str]] = {}
    for record in load_records(tmp_path / "large"):
        by_patient.setdefault(str(record.patient_id), set()).add(record.split)
    assert all(len(splits) == 1 for splits in by_patient.values())


def test_group_stands_in_for_a_missing_patient(tmp_path: Path) -> None:
    folder = source(tmp_path / "a", 40, patient_id=None, group_id=lambda i: f"slide-{i}")
    run(folder, out=tmp_path / "out", val=0.3, test=0.3)
    groups: dict[str, set[str]] = {}
    for record in load_records(tmp_path / "out"):
        groups.setdefault(record.extra["group_id"], set()).add(record.split)
    assert len(groups) == 40
    assert all(len(splits) == 1 for splits in groups.values())


def test_split_column_wins_and_a_divided_patient_is_noted(tmp_path: Path) -> None:
    folder = source(tmp_path / "a", 4, patient_id="p", split=lambda i: ("train", "dev", "test", "train")[i])
    summary = run(folder, out=tmp_path / "out")
    assert summary.splits == {"train": 4, "val": 2, "test": 2}
    assert "1 patient or group is in more than one split" in summary.notes[0]
    assert run(folder, out=tmp_path / "anew", resplit=True).splits == {"train": 8}


def test_patient_with_a_named_split_keeps_it_in_rows_that_name_none(tmp_path: Path) -> None:
    one = source(tmp_path / "a", 20, patient_id=lambda i: f"p{i}", split="test")
    two = source(tmp_path / "b", 40, patient_id=lambda i: f"p{i}")
    summary = run(two, one, out=tmp_path / "out")
    assert not summary.notes
    assert all(split_of(tmp_path / "out")[f"p{i}"] == "test" for i in range(20))
    assert summary.splits == run(two, one, out=tmp_path / "nothing", dry_run=True).splits


def test_train_is_never_empty(tmp_path: Path) -> None:
    folder = source(tmp_path / "a", 2)
    summary = run(folder, out=tmp_path / "out", val=0.0, test=0.9999)
    assert summary.splits == {"train": 2, "test": 2}
    assert "one was moved" in summary.notes[0]
    assert check_dataset(CheckConfig(folder=tmp_path / "out", json=True)).ok
    with pytest.raises(ValueError, match="none in train; correct their splits, or pass --resplit"):
        run(source(tmp_path / "b", 2, split="test"), out=tmp_path / "out2")
    assert not (tmp_path / "out2" / "manifest.json").exists()


def test_size_caps_the_longest_side_and_never_enlarges(tmp_path: Path) -> None:
    folder = source(tmp_path / "a", 1)
    run(folder, out=tmp_path / "s", size=12)
    run(folder, out=tmp_path / "l", size=100)
    for out, size in (("s", (8, 12)), ("l", (16, 24))):
        assert {Image.open(tmp_path / out / r.file_name).size for r in load_records(tmp_path / out)} == {size}


def test_grey_modality_is_stored_in_one_channel_and_colour_in_three(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)).save(folder / "a.png")
    (folder / "m.csv").write_text("path,text,modality\na.png,One,CT\na.png,Two,H&E\n")
    run(folder, out=tmp_path / "out")
    modes = {r.modality: Image.open(tmp_path / "out" / r.file_name).mode for r in load_records(tmp_path / "out")}
    assert modes == {"CT": "L", "pathology": "RGB"}


def test_dicom_names_and_ids_do_not_reach_the_dataset(tmp_path: Path) -> None:
    (tmp_path / "SMITH").mkdir()
    (tmp_path / "SMITH" / "JOHN.dcm").write_bytes(
        Path(str(get_testdata_file("CT_small.dcm", download=False))).read_bytes()
    )
    run(tmp_path / "SMITH", out=tmp_path / "out")
    blob = b"".join(name.encode() + content for name, content in tree(tmp_path / "out").items())
    for secret in (b"SMITH", b"JOHN", b"1CT1", b"CompressedSamples"):
        assert secret not in blob
    (record,) = load_records(tmp_path / "out")
    assert (record.text, record.hounsfield) == ("Axial CT slice.", True)


def bad_source(folder: Path) -> Path:
    source(folder, 5)
    with (folder / "metadata.jsonl").open("a") as file:
        for name, modality, text in (
            ("0.png", "CTT", "x"),
            ("gone.png", "CT", "x"),
            ("0.png", "CT", ""),
            ("bad.png", "CT", "x"),
        ):
            file.write(json.dumps({"file_name": name, "modality": modality, "text": text}) + "\n")
    (folder / "bad.png").write_bytes((folder / "0.png").read_bytes()[:90])
    return folder


def test_first_bad_row_stops_before_any_work(tmp_path: Path) -> None:
    folder = bad_source(tmp_path / "a")
    with pytest.raises(ValueError, match=r"metadata.jsonl:11: modality 'CTT' is not known; did you mean 'CT'\?"):
        run(folder, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_keep_going_sets_bad_rows_aside_with_reasons(tmp_path: Path) -> None:
    summary = run(bad_source(tmp_path / "a"), out=tmp_path / "out", keep_going=True)
    assert summary.num_records == 10
    assert sorted(r.row or 0 for r in summary.quarantined) == [11, 12, 13, 14]
    rows = [json.loads(line) for line in (tmp_path / "out" / "quarantine.jsonl").read_text().splitlines()]
    assert {r["row"] for r in rows} == {11, 12, 13, 14}
    assert "corrupt or truncated" in next(r["reason"] for r in rows if r["row"] == 14)
    assert check_dataset(CheckConfig(folder=tmp_path / "out", json=True)).ok
    again = run(tmp_path / "a", out=tmp_path / "out", keep_going=True)
    assert again.unchanged
    assert again.quarantined == summary.quarantined


def test_corrupt_image_stops_without_manifest_and_the_mended_source_goes_on(tmp_path: Path) -> None:
    folder = source(tmp_path / "a", 5)
    whole = (folder / "6.png").read_bytes()
    (folder / "6.png").write_bytes(whole[:90])
    with pytest.raises(ValueError, match=r"metadata.jsonl:7: .*6.png: corrupt or truncated image"):
        run(folder, out=tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.json").exists()
    (folder / "6.png").write_bytes(whole)
    summary = run(folder, out=tmp_path / "out")
    assert (summary.num_records, summary.num_reused) == (10, 6)
    run(folder, out=tmp_path / "fresh")
    assert tree(tmp_path / "out").keys() == tree(tmp_path / "fresh").keys()


def test_nothing_left_is_an_error_even_when_keeping_going(tmp_path: Path) -> None:
    folder = source(tmp_path / "a", 2, modality="CTT")
    with pytest.raises(ValueError, match=r"nothing is left to build from, 4 rows are bad; the first: .*:1: modality"):
        run(folder, out=tmp_path / "out", keep_going=True)
    blank = source(tmp_path / "b", 1)
    for name in ("0.png", "1.png"):
        Image.new("L", (8, 8), 7).save(blank / name)
    with pytest.raises(ValueError, match=r"all 2 images are bad; the first: .*blank, every pixel is 7"):
        run(blank, out=tmp_path / "out", keep_going=True)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_foreign_folders_and_other_settings_are_refused(tmp_path: Path) -> None:
    folder = source(tmp_path / "a", 3)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match="mine: is not empty and was not made by this command"):
        run(folder, out=tmp_path / "mine")
    run(folder, out=tmp_path / "out")
    with pytest.raises(ValueError, match="holds a dataset from other sources or settings"):
        run(folder, out=tmp_path / "out", seed=1)
    with pytest.raises(ValueError, match="lies inside the source"):
        run(folder, out=folder / "out")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ValueError, match="file: is a file"):
        run(folder, out=tmp_path / "file")
    with pytest.raises(ValueError, match=r"val 0.6 and test 0.5"):
        run(folder, out=tmp_path / "o", val=0.6, test=0.5)


def test_second_run_of_a_whole_dataset_changes_nothing(tmp_path: Path) -> None:
    folder = source(tmp_path / "a", 3)
    first = run(folder, out=tmp_path / "out")
    before = tree(tmp_path / "out")
    second = run(folder, out=tmp_path / "out")
    assert second.unchanged
    assert (second.num_records, second.splits) == (first.num_records, first.splits)
    assert tree(tmp_path / "out") == before
    rows = tmp_path / "out" / "train" / "metadata.jsonl"
    rows.write_text(rows.read_text() + "\n")
    with pytest.raises(ValueError, match=r"metadata.jsonl: changed since it was built"):
        run(folder, out=tmp_path / "out")


def test_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    summary = run(source(tmp_path / "a", 3), out=tmp_path / "out", dry_run=True)
    assert summary.dry_run
    assert summary.num_records == 6
    assert sum(summary.splits.values()) == 6
    assert not (tmp_path / "out").exists()


COMMAND = """
import sys
from pathlib import Path
from vesalius.data.building.run import build_dataset
from vesalius.data.building.config import BuildConfig
build_dataset(BuildConfig(sources=(Path(sys.argv[1]),), out=Path(sys.argv[2]), json=True))
"""


LIMITED = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n" + COMMAND


def test_write_limit_names_the_file_and_leaves_no_manifest(tmp_path: Path) -> None:
    folder = source(tmp_path / "a", 20)
    job = subprocess.run(
        [sys.executable, "-c", LIMITED, str(folder), str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert job.returncode == 1
    last = job.stderr.strip().splitlines()[-1]
    assert "no room to write this file; about" in last
    assert str(tmp_path / "out") in last
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert run(folder, out=tmp_path / "out").num_records == 40


def test_full_disk_names_the_file_and_the_space_needed(tmp_path: Path) -> None:
    if not shutil.which("unshare"):
        pytest.skip("no `unshare` to mount a small filesystem with")
    folder, small = source(tmp_path / "a", 60), tmp_path / "small"
    small.mkdir()
    script = (
        f'mount -t tmpfs -o size=160k none {small} && {sys.executable} -c "$CODE" {folder} {small}/out; ls {small}/out'
    )
    job = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"CODE": COMMAND},
    )
    if "mount" in job.stderr or "unshare" in job.stderr:
        pytest.skip("this machine lets no user mount a small filesystem")
    last = job.stderr.strip().splitlines()[-1]
    assert f"[Errno {errno.ENOSPC}]" in last
    assert "MB more are needed under" in last
    assert "choose another --out" in last
    assert "manifest.json" not in job.stdout


def test_real_data_builds_and_passes_its_check(tmp_path: Path) -> None:
    root = Path(os.environ.get("VESALIUS_REAL_DATA", Path(__file__).parents[4] / "shared" / "data"))
    if not (root / "ct" / "metadata.jsonl").is_file():
        pytest.skip("the shared data is not on this machine; set VESALIUS_REAL_DATA")
    summary = run(root / "ct", out=tmp_path / "out", size=64)
    assert summary.modalities == {"CT": summary.num_records}
    assert set(summary.splits) == {"train", "val", "test"}
    assert check_dataset(CheckConfig(folder=tmp_path / "out", json=True)).ok
